"""A terminal's reversal: the second, shorter story.

    accept      remember who asked
    look        by its own id (a repeat is answered as before), then at its payment
    decide      a running payment is cancelled in its own story; any other is decided in the core
    commit      the terminal's wish and what is owed, together
    answer      owed means custody: the forwarder keeps sending

One wish at a time: reversals are rare, and two of one payment must not cross. While one is decided,
requests for its payment wait, so that an Authorize cannot slip between the look and the commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from switch.clock import Clock
from switch.core.message import (
    OwedReversal,
    PaymentKey,
    Refused,
    ReversalAnswer,
    ReversalRequest,
    StoredPayment,
)
from switch.core.payment import Wish
from switch.core.reversal import decide
from switch.errors import JournalInDoubt, JournalUnavailable
from switch.flow import Flow
from switch.ports import Journal


class Reversals:
    """Takes reversals from terminals."""

    __slots__ = ("_clock", "_flow", "_journal", "_owe", "_pending")

    def __init__(
        self, flow: Flow, journal: Journal, clock: Clock, owe: Callable[[OwedReversal], None]
    ) -> None:
        """Wire the ports; ``owe`` is told of every reversal once it is durable."""
        self._flow = flow
        self._journal = journal
        self._clock = clock
        self._owe = owe
        self._pending: dict[PaymentKey, list[Wish]] = {}
        """By a reversal's own id: those that came under it while it is decided."""

    async def reverse(self, request: ReversalRequest) -> ReversalAnswer | Refused:
        """Reverse a payment; the caller may leave, the reversal goes on."""
        told: asyncio.Future[ReversalAnswer | Refused] = asyncio.get_running_loop().create_future()

        def tell(answer: ReversalAnswer | Refused) -> None:
            told.set_result(answer)
            self._next(request.key)

        self._begin(Wish(request, tell))
        return await asyncio.shield(told)

    def _begin(self, wish: Wish) -> None:
        """Let a wish be decided; one whose id is being decided waits until that is durable."""
        waiting = self._pending.get(wish.request.key)
        if waiting is None:
            self._pending[wish.request.key] = []
            self._flow.wishes.put(wish)
        else:
            waiting.append(wish)

    def _next(self, key: PaymentKey) -> None:
        for wish in self._pending.pop(key):
            self._begin(wish)

    async def run(self) -> None:
        """Pump: decide what terminals wish."""
        while True:
            for wish in await self._flow.wishes.take():
                try:
                    await self._take(wish)
                except JournalUnavailable:
                    wish.tell(Refused("JOURNAL_UNAVAILABLE", "the journal cannot be written"))
                except JournalInDoubt:
                    wish.tell(Refused("OUTCOME_UNKNOWN", "the reversal may be written or not"))

    async def _take(self, wish: Wish) -> None:
        request = wish.request
        known = await self._known(request)
        if known is not None:
            wish.tell(known)
            return
        payment = self._flow.running(request.original)
        if payment is not None:
            self._flow.void(payment, wish)
            return
        with self._flow.held(request.original):
            wish.tell(await self._decide(request))

    async def _known(self, request: ReversalRequest) -> ReversalAnswer | Refused | None:
        found = await self._journal.find_reversal(request.key)
        if found is None:
            return None
        original, answer = found
        if original != request.original:
            return Refused("REQUEST_ID_REUSED", "another reversal has this request_id")
        answer.replayed = True
        return answer

    async def _decide(self, request: ReversalRequest) -> ReversalAnswer | Refused:
        stored = (await self._journal.find([request.original]))[0]
        claim = decide(request, stored, self._clock.utc_ms())
        if isinstance(claim, Refused):
            return claim
        (in_the_way,) = await self._journal.commit([claim])
        assert not isinstance(in_the_way, StoredPayment), "the payment was held"
        if claim.owed is not None:
            self._owe(claim.owed)
        return claim.answer
