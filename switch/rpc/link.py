"""The links to the nodes: each kept open, each with its own connection.

A link is DOWN until there is a connection, CONNECTED until both sides have said hello, READY, and
DRAINING once either side said GoAway: then nothing new is taken, what is in flight is finished, and
a new session is opened. A node that names another ledger than the configuration is refused, loudly,
for as long as it does: it could not stand in for the nodes it is configured beside.

Nothing is decided here. What is seen is told to an observer; what follows from it is the routing
table's affair. When a session is lost the observer hears of it first and what was in flight is
settled afterwards, in the same turn of the loop: whoever then looks for another node already finds
this one down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from random import Random
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import grpc

from payswitch.processor.v1 import processor_pb2
from switch.clock import Clock
from switch.core.message import NodeAnswer, Unanswered
from switch.core.routing import NodeSettings
from switch.core.sending import Sending
from switch.rpc.edge import Spawn, total
from switch.rpc.frame import BYTES_MAX
from switch.rpc.probe import Probe, ProbeSettings
from switch.rpc.session import CALL_ENDED, LastFrame, Session, cut, raise_if_cancelled
from switch.rpc.transport import ChannelSecurity, open_channel

if TYPE_CHECKING:
    from switch.rpc.edge import Malformed
    from switch.rpc.session import Call

    Method = grpc.aio.StreamStreamMultiCallable[
        processor_pb2.LinkRequest, processor_pb2.LinkResponse | Malformed
    ]

__all__ = [
    "LastFrame",
    "Link",
    "LinkObserver",
    "LinkSettings",
    "LinkStage",
    "LinkTimes",
    "NodeLinks",
]

_METHOD = "/payswitch.processor.v1.NodeService/Link"
_READY = grpc.ChannelConnectivity.READY


class LinkObserver(Protocol):
    """Who is told what is seen of nodes. Called from the loop; must not block."""

    def link_ready(self, node: str, accepts_repeat: bool, /) -> None:
        """Both sides said hello: the link can carry payments."""
        ...

    def link_refused(self, node: str, why: str, /) -> None:
        """The node is not the one that is configured, and is sent nothing: tell a person."""
        ...

    def link_draining(self, node: str, /) -> None:
        """The link takes nothing new."""
        ...

    def link_lost(self, node: str, why: str, /) -> None:
        """The session ended. Told before what was in flight on it is settled."""
        ...

    def echo_answered(self, node: str, /) -> None:
        """The node answered an echo."""
        ...

    def health_checked(self, node: str, ok: bool, /) -> None:
        """The node's health service said yes; or said no, or nothing in time."""
        ...

    def late_answer(self, node: str, answer: NodeAnswer, /) -> None:
        """The node answered something that is not in flight on its link (any more)."""
        ...


class LinkStage(IntEnum):
    """How far a link has come; the numbers are those of the operators' protocol."""

    DOWN = 1
    CONNECTED = 2
    READY = 3
    DRAINING = 4


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """One node's link."""

    node: NodeSettings
    security: ChannelSecurity


@dataclass(frozen=True, slots=True)
class LinkTimes:
    """Times of a link, in seconds."""

    hello_timeout_s: float = 3.0
    """How long a node may take to say hello."""
    echo_idle_s: float = 5.0
    """An echo is sent when nothing else was for this long."""
    reopen_min_s: float = 0.1
    """Back-off before a session is opened again; doubles while that fails, with jitter."""
    reopen_max_s: float = 1.0
    refused_s: float = 10.0
    """How long a node that is not the configured one is left alone."""
    drain_timeout_s: float = 30.0
    """How long a draining session may take to answer what is in flight."""


class Hello(NamedTuple):
    """How the switch introduces itself on one session."""

    session: int
    frame: processor_pb2.LinkRequest


class Greeter:
    """Numbers the sessions of an epoch, over all nodes."""

    __slots__ = ("_epoch", "_session", "_switch_id")

    def __init__(self, switch_id: str, epoch: int) -> None:
        """Begin with session 1."""
        self._switch_id = switch_id
        self._epoch = epoch
        self._session = 0

    def hello(self, node: str) -> Hello:
        """Return the first word on a new session."""
        self._session += 1
        said = processor_pb2.Hello(
            switch_id=self._switch_id, epoch=self._epoch, session=self._session, node=node
        )
        return Hello(self._session, processor_pb2.LinkRequest(frame_number=1, hello=said))


class Link:
    """The link to one node."""

    def __init__(
        self,
        node: NodeSettings,
        channel: grpc.aio.Channel,
        greeter: Greeter,
        observer: LinkObserver,
        clock: Clock,
        randomness: Random,
        spawn: Spawn,
        times: LinkTimes,
    ) -> None:
        """Begin DOWN; ``run`` opens it."""
        self.stage = LinkStage.DOWN
        self.last_frame = LastFrame(0, 0)
        self._name = node.name
        self._ledger = node.ledger
        self._channel = channel
        self._greeter = greeter
        self._observer = observer
        self._clock = clock
        self._randomness = randomness
        self._spawn = spawn
        self._times = times
        self._open = cast(
            "Method",
            channel.stream_stream(
                _METHOD,
                request_serializer=processor_pb2.LinkRequest.SerializeToString,
                response_deserializer=total(processor_pb2.LinkResponse.FromString, 2 * BYTES_MAX),
            ),
        )
        self._session: Session | None = None
        self._unplaced: dict[int, Sending] = {}
        """Offered while no session takes anything; settled in the loop's next turn."""
        self._told = ""
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()

    # --- what is sent ------------------------------------------------------------------------

    def offer(self, sending: Sending) -> None:
        """Append to the session, if one takes it; it is never settled within this call."""
        session = self._session
        if session is not None and not session.draining:
            session.offer(sending)
            return
        if not self._unplaced:
            asyncio.get_running_loop().call_soon(self._return_unplaced)
        self._unplaced[sending.number] = sending

    def forget(self, sending: Sending) -> None:
        """Do not write it if it is unwritten; do not match its answer if it is written."""
        self._unplaced.pop(sending.number, None)
        if self._session is not None:
            self._session.forget(sending)

    def recall(self) -> list[Sending]:
        """Take back what is unwritten: each is settled as NOT_SENT, and all are returned."""
        taken = self._session.take_back() if self._session is not None else []
        _settle(taken, Unanswered.NOT_SENT)
        return taken

    def request_echo(self) -> None:
        """Send an echo at once, if the link is ready."""
        if self._session is not None and not self._session.draining:
            self._session.request_echo()

    def newest_frame(self) -> LastFrame:
        """Return the newest frame of the newest session; zeros before the first."""
        return self.last_frame if self._session is None else self._session.last_frame

    def _return_unplaced(self) -> None:
        unplaced = list(self._unplaced.values())
        self._unplaced.clear()
        _settle(unplaced, Unanswered.NOT_SENT)

    # --- the life of a link ------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the link open, session after session, until ``close``."""
        backoff_s = self._times.reopen_min_s
        try:
            while not self._closing:
                await self._reach()
                wait_s = await self._serve(backoff_s)
                await self._clock.sleep(wait_s * (0.5 + 0.5 * self._randomness.random()))
                backoff_s = min(2 * wait_s, self._times.reopen_max_s)
        finally:
            self.stage = LinkStage.DOWN
            if self._session is not None:
                # Cancelled: the switch is gone, and what was in flight is recovery's.
                self._session.end()
            self._idle.set()
            await self._channel.close()

    async def close(self, grace_s: float) -> None:
        """Open no more; say GoAway, and let what is in flight be answered within ``grace_s``."""
        self._closing = True
        if self._session is not None:
            self._drain(self._session, grace_s, say_so=True)
        await self._idle.wait()

    async def _reach(self) -> None:
        """Wait for a connection."""
        state = self._channel.get_state(try_to_connect=True)
        while state is not _READY:
            await self._channel.wait_for_state_change(state)
            state = self._channel.get_state(try_to_connect=True)

    async def _serve(self, backoff_s: float) -> float:
        """Open a session and serve it to its end; return how long to wait before the next."""
        self.stage = LinkStage.CONNECTED
        hello = self._greeter.hello(self._name)
        call = self._open()
        try:
            back = await self._greet(call, hello)
            if back.ledger != self._ledger:
                self._refuse(back.ledger)
                return self._times.refused_s
            session = self._begin(call, hello, back)
            why = await self._listen(session)
        except CALL_ENDED as error:
            why = _said(error)
        except asyncio.CancelledError:
            raise_if_cancelled()
            why = "the node took too long, and the stream was cut"
        finally:
            call.cancel()
        greeted = self._session is not None
        self._lose(why)
        return self._times.reopen_min_s if greeted else backoff_s

    async def _greet(self, call: Call, hello: Hello) -> processor_pb2.HelloBack:
        hello_by = self._clock.now() + self._times.hello_timeout_s
        alarm = self._clock.alarm(hello_by, partial(cut, call))
        try:
            await call.write(hello.frame)
            frame = await call.read()
        finally:
            alarm.cancel()
        if (
            not isinstance(frame, processor_pb2.LinkResponse)
            or frame.frame_number != 1
            or not frame.HasField("hello_back")
        ):
            raise _HelloMissing
        return frame.hello_back

    def _refuse(self, ledger: str) -> None:
        self.stage = LinkStage.DOWN
        self._observer.link_refused(
            self._name,
            f"the node stands before ledger {ledger[:64]!r}, the configuration says "
            f"{self._ledger!r}",
        )

    def _begin(self, call: Call, hello: Hello, back: processor_pb2.HelloBack) -> Session:
        session = Session(
            self._name, hello.session, call, self._observer, self._clock, self._times.echo_idle_s
        )
        self._session = session
        self._idle.clear()
        self._told = ""
        self.stage = LinkStage.READY
        self._spawn(session.write(), f"link writer {self._name}")
        self._observer.link_ready(self._name, back.accepts_repeat)
        if self._closing:
            self._drain(session, self._times.drain_timeout_s, say_so=True)
        return session

    async def _listen(self, session: Session) -> str:
        while True:
            go_away, why = await session.read()
            if not go_away:
                return why
            self._drain(session, self._times.drain_timeout_s, say_so=False)

    def _drain(self, session: Session, timeout_s: float, *, say_so: bool) -> None:
        first = not session.draining
        session.drain(timeout_s, say_so=say_so and first)
        if first:
            self.stage = LinkStage.DRAINING
            self._observer.link_draining(self._name)
            self.recall()

    def _lose(self, why: str) -> None:
        self.stage = LinkStage.DOWN
        session, self._session = self._session, None
        if session is None:
            # A node that is never ready fails again and again; it is told of when that changes.
            if why != self._told:
                self._told = why
                self._observer.link_lost(self._name, why)
            return
        self.last_frame = session.last_frame
        unsent, unanswered = session.end()
        self._observer.link_lost(self._name, why)
        _settle(unsent, Unanswered.NOT_SENT)
        _settle(unanswered, Unanswered.LINK_LOST)
        self._idle.set()


class _HelloMissing(grpc.RpcError):
    """The node's first word was none."""


def _settle(sendings: Iterable[Sending], event: Unanswered) -> None:
    for sending in sendings:
        sending.settle(sending, event)


def _said(error: Exception) -> str:
    """Return why a call ended, in words that can be printed."""
    if isinstance(error, grpc.aio.AioRpcError):
        text = f"{error.code().name}: {error.details() or ''}"
    elif isinstance(error, _HelloMissing):
        text = "the node did not say hello"
    else:
        text = type(error).__name__
    return "".join(c if c.isprintable() else " " for c in text[:200])


class NodeLinks:
    """The links to all nodes: the port through which sendings leave."""

    def __init__(
        self,
        links: Sequence[LinkSettings],
        *,
        switch_id: str,
        epoch: int,
        observer: LinkObserver,
        clock: Clock,
        randomness: Random,
        spawn: Spawn,
        times: LinkTimes | None = None,
        probing: ProbeSettings | None = None,
    ) -> None:
        """Prepare the links; ``start`` opens them."""
        self._spawn = spawn
        self._links: dict[str, Link] = {}
        self._probes: dict[str, Probe] = {}
        greeter = Greeter(switch_id, epoch)
        for link in links:
            node = link.node
            channel = open_channel(node.address, link.security)
            self._links[node.name] = Link(
                node, channel, greeter, observer, clock, randomness, spawn, times or LinkTimes()
            )
            self._probes[node.name] = Probe(
                node.name, channel, observer, clock, randomness, probing or ProbeSettings()
            )

    def start(self) -> None:
        """Open the links, and begin to check the nodes' health."""
        for name, link in self._links.items():
            self._spawn(link.run(), f"link {name}")
        for name, probe in self._probes.items():
            self._spawn(probe.check(), f"health check {name}")
            self._spawn(probe.watch(), f"health watch {name}")

    def offer(self, sending: Sending) -> None:
        """Append to the link of the sending's node; it is settled later, never in this call."""
        self._links[sending.permit.node.settings.name].offer(sending)

    def forget(self, sending: Sending) -> None:
        """Do not write it if it is unwritten; do not match its answer if it is written."""
        self._links[sending.permit.node.settings.name].forget(sending)

    def recall(self, node: str) -> list[Sending]:
        """Take back what is unwritten: each is settled as NOT_SENT, and all are returned."""
        return self._links[node].recall()

    def last_frame(self, node: str) -> LastFrame:
        """Return the newest frame of the node's newest session; zeros before the first."""
        return self._links[node].newest_frame()

    def stage(self, node: str) -> LinkStage:
        """Return how far the node's link has come."""
        return self._links[node].stage

    def request_echo(self, node: str) -> None:
        """Send an echo at once, if the link is ready."""
        self._links[node].request_echo()

    async def close(self, grace_s: float) -> None:
        """Say GoAway on every link, and let what is in flight be answered within ``grace_s``.

        Afterwards the tasks that keep the links are to be cancelled.
        """
        await asyncio.gather(*(link.close(grace_s) for link in self._links.values()))
