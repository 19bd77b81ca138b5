"""The terminals' service: one path behind two doors.

A unary call is a frame of one. Both doors check what comes, hand it to the story, and wait to be
told; neither can stop what it began, because a payment belongs to the switch from the moment it is
accepted. A caller that leaves takes only its own wait with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from payswitch.terminal.v1 import terminal_pb2, terminal_pb2_grpc
from switch.clock import Clock
from switch.core.message import (
    Answer,
    AuthorizationRequest,
    PaymentKey,
    Refused,
    Reply,
    ReversalAnswer,
    ReversalRequest,
    StoredPayment,
)
from switch.core.processor import CardKey
from switch.rpc.edge import Context, Spawn, own, refuse
from switch.rpc.response import (
    authorization_response,
    authorize_response,
    card_keys_response,
    reverse_response,
)
from switch.rpc.stream import PaymentStream
from switch.rpc.validation import Rejected, Rules

T = TypeVar("T")


class Story(Protocol):
    """What happens behind the doors."""

    def accept(self, requests: Sequence[AuthorizationRequest], reply: Reply, /) -> None:
        """Take payments; ``reply`` is called once for each, now or later, from the loop."""
        ...

    async def reverse(self, request: ReversalRequest, /) -> ReversalAnswer | Refused:
        """Take a reversal."""
        ...

    async def find(self, key: PaymentKey, /) -> StoredPayment | Refused:
        """Read a payment, its timeline included."""
        ...

    def card_keys(self, bin_digits: str, merchant_id: str, currency: str, /) -> list[CardKey]:
        """Read the keys to seal to, in route order."""
        ...


@dataclass(frozen=True, slots=True)
class TerminalSettings:
    """Bounds of the terminals' service."""

    stream_unanswered_max: int = 1024
    """Payments one stream may have unanswered before nothing more is read from it."""


class TerminalServicer(terminal_pb2_grpc.TerminalServiceServicer):
    """TerminalService."""

    def __init__(
        self, story: Story, rules: Rules, clock: Clock, spawn: Spawn, settings: TerminalSettings
    ) -> None:
        """Serve ``story``; tasks that must outlive a call are begun with ``spawn``."""
        self._story = story
        self._rules = rules
        self._clock = clock
        self._spawn = spawn
        self._settings = settings
        self._streams: set[PaymentStream] = set()

    @property
    def stream_count(self) -> int:
        """Return how many streams are open."""
        return len(self._streams)

    def finish(self) -> None:
        """End every stream after its last answer; for a switch that goes down."""
        for stream in self._streams:
            stream.finish()

    async def Authorize(
        self, request: terminal_pb2.AuthorizeRequest, context: Context
    ) -> terminal_pb2.AuthorizeResponse:
        """Authorize one payment."""
        checked = self._rules.authorize(request, self._clock.utc_ms(), context.time_remaining())
        if isinstance(checked, Rejected):
            await refuse(context, *checked)
        # A plain future and no task: a caller that leaves cancels the future, and nothing else
        # hangs on it.
        answered: asyncio.Future[Answer | Refused]
        answered = asyncio.get_running_loop().create_future()

        def reply(_: AuthorizationRequest, outcome: Answer | Refused) -> None:
            if not answered.done():
                answered.set_result(outcome)

        self._story.accept([checked], reply)
        outcome = await answered
        if isinstance(outcome, Refused):
            await refuse(context, outcome)
        return authorize_response(terminal_pb2.AuthorizeResponse(), checked.request_id, outcome)

    async def AuthorizeStream(  # type: ignore[override] # reader and writer, not an iterator
        self, request_iterator: object, context: Context
    ) -> None:
        """Authorize frames of payments."""
        stream = PaymentStream(
            context,
            self._rules,
            self._clock,
            self._story.accept,
            self._settings.stream_unanswered_max,
        )
        self._streams.add(stream)
        try:
            await stream.run(self._spawn)
        finally:
            self._streams.discard(stream)

    async def Reverse(
        self, request: terminal_pb2.ReverseRequest, context: Context
    ) -> terminal_pb2.ReverseResponse:
        """Reverse a payment."""
        checked = self._rules.reverse(request, self._clock.utc_ms(), context.time_remaining())
        if isinstance(checked, Rejected):
            await refuse(context, *checked)
        outcome = await self._own(self._story.reverse(checked), "reverse")
        if isinstance(outcome, Refused):
            await refuse(context, outcome)
        return reverse_response(checked, outcome)

    async def GetAuthorization(
        self, request: terminal_pb2.GetAuthorizationRequest, context: Context
    ) -> terminal_pb2.GetAuthorizationResponse:
        """Say what is known of a payment."""
        key = self._rules.payment_key(request, self._clock.utc_ms())
        if isinstance(key, Rejected):
            await refuse(context, *key)
        found = await self._own(self._story.find(key), "find")
        if isinstance(found, Refused):
            await refuse(context, found)
        return authorization_response(found)

    async def GetCardKeys(
        self, request: terminal_pb2.GetCardKeysRequest, context: Context
    ) -> terminal_pb2.GetCardKeysResponse:
        """Say which keys to seal to."""
        query = self._rules.card_keys(request, self._clock.utc_ms())
        if isinstance(query, Rejected):
            await refuse(context, *query)
        return card_keys_response(self._story.card_keys(*query))

    async def _own(self, work: Coroutine[Any, Any, T], name: str) -> T:
        return await own(self._spawn, work, name)
