"""A front end of one ledger: NodeService, without the process around it.

It keeps no money and no outcome, only which links it knows and whom it owes an answer. Everything
that must outlive it is the host's.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc
from grpc_health.v1 import health_pb2  # type: ignore[import-untyped] # it has no stubs
from grpc_health.v1.health import aio as health  # type: ignore[import-untyped] # it has no stubs

from clients.simulator.behaviour import NORMAL, Behaviour
from clients.simulator.books import Books, HostAway
from clients.simulator.card import KeyRing
from clients.simulator.latency import Latency
from clients.simulator.message import (
    Answer,
    Authorize,
    Inquire,
    Item,
    Origin,
    Reverse,
    Welcome,
)
from clients.simulator.outcome import ORDINARY, Crash, outcome_of
from clients.simulator.rule import authorization_fault, inquiry_fault, reversal_fault
from clients.simulator.saying import sayings
from clients.simulator.session import Newest
from clients.simulator.stream import STALE_SESSION, Context, Ending, Place, Stream
from payswitch.processor.v1 import processor_pb2 as pb
from payswitch.processor.v1 import processor_pb2_grpc

SERVICE = "payswitch.processor.v1.NodeService"
CRASH_AFTER_CLAIM_S = 0.1
DRAIN_S = 5.0


@dataclass(frozen=True)
class Profile:
    """How a node is set up."""

    name: str
    keys: KeyRing | None = None
    """None: envelopes stay closed and every key is known."""
    accepts_repeat: bool = True
    wants_sign_on: bool = False


class Waiting:
    """An item that the ledger has been asked about."""

    __slots__ = ("node", "outcome", "read_ns", "reference", "repeat", "sending_number", "stream")

    def __init__(
        self, node: Node, stream: Stream, item: pb.Item, reference: bytes, place: Place
    ) -> None:
        self.node = node
        self.stream = stream
        self.sending_number = item.sending_number
        self.reference = reference
        self.read_ns = place.read_ns
        self.outcome = ORDINARY
        self.repeat = False

    def answered(self, answer: Answer) -> None:
        """Pass the ledger's answer on."""
        self.node.answer(self, answer)


class Node(processor_pb2_grpc.NodeServiceServicer):
    """A front end: its streams, its books, and how it behaves."""

    def __init__(self, profile: Profile, socket: Path, latency: Latency) -> None:
        self.profile = profile
        self.behaviour: Behaviour = NORMAL
        self.health = health.HealthServicer()
        self.has_ledger = asyncio.Event()
        self._latency = latency
        self._loop = asyncio.get_running_loop()
        self._books = Books(socket, profile.name, self._ledger_changed)
        self._connecting = asyncio.create_task(self._books.keep_connected())
        self._ledger = ""
        self._newest = Newest()
        self._streams: set[Stream] = set()
        self._all_ended = asyncio.Event()
        self._all_ended.set()
        self._is_draining = False
        self._reporting: asyncio.Task[None] | None = None

    # -- the service

    async def Link(  # type: ignore[override] # the stubs know no servicer that reads by itself
        self, request_iterator: object, context: Context
    ) -> None:
        """Serve one link."""
        stream = Stream(self)
        self._streams.add(stream)
        self._all_ended.clear()
        try:
            await stream.run(context)
        finally:
            self._streams.discard(stream)
            if not self._streams:
                self._all_ended.set()

    async def drain(self) -> None:
        """Take no more items; return when all streams have ended, or the time is up."""
        self._is_draining = True
        await self._report()
        for stream in self._streams:
            stream.go_away(f"{self.profile.name} is going down")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._all_ended.wait(), DRAIN_S)
        self._connecting.cancel()

    # -- what a stream asks of its node

    async def admit(self, stream: Stream, hello: pb.Hello) -> pb.HelloBack:
        """Let a link in that is newer than any seen; end the older ones of its switch."""
        if self._is_draining or not self.has_ledger.is_set():
            why = "going down" if self._is_draining else "the ledger is away"
            raise Ending(grpc.StatusCode.UNAVAILABLE, "NODE_UNAVAILABLE", why)
        if not hello.switch_id or max(stream.link) >= 2**63:
            text = "Hello names a switch, an epoch and a session, both below 2^63"
            raise Ending(grpc.StatusCode.INVALID_ARGUMENT, "HELLO_INVALID", text)
        stale = Ending(
            grpc.StatusCode.FAILED_PRECONDITION,
            STALE_SESSION,
            f"a link of {hello.switch_id} as new as this one, or newer, was seen",
        )
        if not self._newest.admit(hello.switch_id, stream.link):
            raise stale
        for other in self._streams:
            if other is not stream and other.switch_id == hello.switch_id:
                other.end(stale)
        try:
            await self._books.open_session(hello.switch_id, *stream.link)
        except HostAway as away:
            text = "the ledger is away"
            raise Ending(grpc.StatusCode.UNAVAILABLE, "NODE_UNAVAILABLE", text) from away
        return pb.HelloBack(ledger=self._ledger, accepts_repeat=self.profile.accepts_repeat)

    async def before_frame(self) -> None:
        """Return when a frame may be looked at."""
        await self.behaviour.before_frame()

    def take(self, stream: Stream, item: pb.Item, place: Place) -> None:
        """Start an item, or answer why not."""
        kind = item.WhichOneof("message")
        if kind == "echo":
            self._refuse(stream, item, b"", pb.DISPOSITION_PROCESSED, "", place)
        elif kind in {"sign_on", "sign_off"}:
            stream.signed_on = kind == "sign_on"
            self._refuse(stream, item, b"", pb.DISPOSITION_PROCESSED, "", place)
        elif kind == "authorization":
            self._authorize(stream, item, place)
        elif kind == "reversal":
            self._reverse(stream, item, place)
        elif kind == "inquiry":
            self._inquire(stream, item, place)
        else:
            self._refuse(stream, item, b"", pb.DISPOSITION_MALFORMED, "asks nothing", place)

    # -- items

    def _authorize(self, stream: Stream, item: pb.Item, place: Place) -> None:
        asked = item.authorization
        fault = authorization_fault(asked, sealed=self.profile.keys is not None)
        if not self._may_start(stream, item, asked.reference, fault, place):
            return
        outcome = outcome_of(asked.amount.amount_minor)
        first = not asked.repeat
        if first and outcome.crash is Crash.BEFORE_CLAIM:
            die()
        refusal: int = outcome.refusal
        code, minor = outcome.decision(asked.amount.amount_minor, asked.accepts_partial_approval)
        keys = self.profile.keys
        if keys is not None:
            if not keys.knows(asked.key_id, time.time()):
                refusal = pb.DISPOSITION_KEY_UNKNOWN
            elif card_fault := keys.fault(asked):
                code, minor = card_fault, 0
        waiting = Waiting(self, stream, item, asked.reference, place)
        waiting.outcome = outcome
        waiting.repeat = asked.repeat
        question = Authorize(
            self._books.next_number(),
            asked.reference,
            _origin(stream, item, place),
            asked.repeat,
            _start_by_ns(item, place),
            asked.terminal_id,
            asked.request_id,
            asked.kind,
            asked.amount.amount_minor,
            asked.amount.currency,
            code,
            minor,
            self.behaviour.issuer_delay_s(self._latency()) + outcome.decided_after_ms / 1000,
            refusal,
            outcome.refusal_once,
        )
        self._ask(question, waiting)
        if first and outcome.crash is Crash.AFTER_CLAIM:
            self._loop.call_later(CRASH_AFTER_CLAIM_S, die)

    def _reverse(self, stream: Stream, item: pb.Item, place: Place) -> None:
        asked = item.reversal
        if not self._may_start(stream, item, asked.reference, reversal_fault(asked), place):
            return
        question = Reverse(
            self._books.next_number(),
            asked.reference,
            _origin(stream, item, place),
            asked.repeat,
            _start_by_ns(item, place),
            asked.reversal_reference,
            asked.full,
            asked.amount.amount_minor,
            asked.amount.currency,
            asked.message_reason,
        )
        self._ask(question, Waiting(self, stream, item, asked.reference, place))

    def _inquire(self, stream: Stream, item: pb.Item, place: Place) -> None:
        asked = item.inquiry
        if not self._may_start(stream, item, asked.reference, inquiry_fault(asked), place):
            return
        question = Inquire(
            self._books.next_number(),
            asked.reference,
            _origin(stream, item, place),
            _start_by_ns(item, place),
        )
        self._ask(question, Waiting(self, stream, item, asked.reference, place))

    def _may_start(
        self, stream: Stream, item: pb.Item, reference: bytes, fault: str, place: Place
    ) -> bool:
        """Tell whether an item may go to the ledger; answer it where it may not."""
        if item.sending_number >= 2**63:
            fault = "sending_number is below 2^63"
        if fault:
            self._refuse(stream, item, reference, pb.DISPOSITION_MALFORMED, fault, place)
            return False
        detail = self.behaviour.refuses(item)
        if not stream.is_taking():
            detail = "this link takes no more items"
        elif self.profile.wants_sign_on and not stream.signed_on:
            detail = "this link has not signed on"
        elif not self._books.can_ask():
            detail = "too much is in flight here"
        if detail:
            self._refuse(stream, item, reference, pb.DISPOSITION_NOT_PROCESSED, detail, place)
        return not detail

    def _refuse(
        self,
        stream: Stream,
        item: pb.Item,
        reference: bytes,
        disposition: pb.Disposition.ValueType,
        detail: str,
        place: Place,
    ) -> None:
        """Answer an item without the ledger."""
        result = pb.ItemResult(
            sending_number=item.sending_number,
            reference=reference,
            disposition=disposition,
            detail=detail,
        )
        stream.begin()
        self._say(stream, self.behaviour.answers(result), place.read_ns)

    def _ask(self, question: Item, waiting: Waiting) -> None:
        waiting.stream.begin()
        self._books.ask(question, waiting.answered)

    # -- answers

    def answer(self, waiting: Waiting, answer: Answer) -> None:
        """Say what the ledger said, as the amount and the behaviour will have it."""
        result = pb.ItemResult(
            sending_number=waiting.sending_number,
            reference=waiting.reference,
            disposition=cast("pb.Disposition.ValueType", answer.disposition),
        )
        if answer.response_code:
            result.response_code = answer.response_code
            if answer.authorization_code:
                result.approved_amount_minor = answer.approved_minor
                result.authorization_code = answer.authorization_code
        if answer.detail:
            result.detail = answer.detail
        if waiting.outcome is ORDINARY and self.behaviour is NORMAL:
            waiting.stream.put(result, waiting.read_ns)
            waiting.stream.settle()
            return
        if waiting.outcome.crash is Crash.AFTER_DECISION and not waiting.repeat:
            die()
        said = [
            (after_s + later_s, last)
            for after_s, first in sayings(waiting.outcome, result, repeat=waiting.repeat)
            for later_s, last in self.behaviour.answers(first)
        ]
        self._say(waiting.stream, said, waiting.read_ns)

    def _say(
        self, stream: Stream, said: Sequence[tuple[float, pb.ItemResult]], read_ns: int
    ) -> None:
        """Say results now or later; the first of them settles the item."""
        if not said:
            stream.settle()
        settle: Callable[[], None] = stream.settle
        for after_s, result in said:
            if after_s > 0:
                self._loop.call_later(after_s, _say_now, stream, result, read_ns, settle)
            else:
                _say_now(stream, result, read_ns, settle)
            settle = _nothing

    # -- the ledger comes and goes

    def _ledger_changed(self, welcome: Welcome | None) -> None:
        if welcome is None:
            self.has_ledger.clear()
            for stream in self._streams:
                text = "the ledger went away"
                stream.end(Ending(grpc.StatusCode.UNAVAILABLE, "NODE_UNAVAILABLE", text))
        else:
            self._ledger = welcome.ledger
            self._newest.learn(welcome.newest)
            self.has_ledger.set()
        self._reporting = self._loop.create_task(self._report())

    async def _report(self) -> None:
        """Tell the health service."""
        well = self.has_ledger.is_set() and not self._is_draining
        serving = health_pb2.HealthCheckResponse.SERVING
        status = serving if well else health_pb2.HealthCheckResponse.NOT_SERVING
        await self.health.set("", status)
        await self.health.set(SERVICE, status)


def _say_now(
    stream: Stream, result: pb.ItemResult, read_ns: int, settle: Callable[[], None]
) -> None:
    stream.put(result, read_ns)
    settle()


def _nothing() -> None:
    """Settle nothing: the item was settled by an earlier saying."""


def _origin(stream: Stream, item: pb.Item, place: Place) -> Origin:
    epoch, session = stream.link
    return Origin(stream.switch_id, epoch, session, place.frame_number, item.sending_number)


def _start_by_ns(item: pb.Item, place: Place) -> int:
    """Return the monotonic instant after which an item is not started; 0 for never."""
    if not item.HasField("time_to_live"):
        return 0
    bound = item.time_to_live
    return max(1, place.read_ns + bound.seconds * 1_000_000_000 + bound.nanos)


def die() -> None:
    """End this process as a fault would."""
    os.kill(os.getpid(), signal.SIGKILL)
