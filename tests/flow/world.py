"""A switch without a network: the real story over a journal in memory and scripted links."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from switch.clock import Clock
from switch.core.backlog import Backlog, BacklogSettings
from switch.core.budget import BudgetSettings, FailoverBudget
from switch.core.choice import ChoiceSettings
from switch.core.identity import fingerprint
from switch.core.message import (
    Answer,
    Authorization,
    AuthorizationRequest,
    Claimed,
    Envelope,
    Kind,
    OpenRepeat,
    PaymentKey,
    Record,
    Refused,
    Reversal,
    ReversalReason,
    ReversalRequest,
    StoredPayment,
)
from switch.core.money import Money
from switch.core.processor import Processor
from switch.core.route import Route, RouteBook
from switch.core.routing import NodeSettings, RoutingSettings, RoutingTable
from switch.core.sending import Sending
from switch.dispatcher import Dispatcher, DispatcherSettings
from switch.flow import Flow, FlowSettings
from switch.forwarder import Forwarder
from switch.observer import Observer
from switch.reversals import Reversals
from switch.store.memory import MemoryDisk, MemoryJournal
from switch.telemetry import Counters
from switch.testing import ScriptedLinks, VirtualClock, node_answer

COMMIT_S = 0.002
"""How long a commit takes in these tests."""


class WatchedJournal:
    """The journal in memory, slowed, and with a memory of what was durable when."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.inner: MemoryJournal
        self.durable: list[Record] = []
        self.fail_with: Exception | None = None

    async def commit(self, records: Sequence[Record]) -> list[Claimed | StoredPayment | None]:
        if self.fail_with is not None:
            raise self.fail_with
        await self._clock.sleep(COMMIT_S)
        if self.fail_with is not None:
            raise self.fail_with
        results = await self.inner.commit(records)
        self.durable += records
        return results

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def of(self, kind: type[Record]) -> list[Any]:
        return [r for r in self.durable if isinstance(r, kind)]


class WatchedLinks(ScriptedLinks):
    """Links that check at their border: no byte to a node unless its reference is durable."""

    def __init__(self, journal: WatchedJournal) -> None:
        super().__init__()
        self._journal = journal

    def offer(self, sending: Sending) -> None:
        message = sending.message
        durable = {getattr(r, "reference", None) for r in self._journal.durable}
        if isinstance(message, Authorization):
            assert message.reference in durable, "an authorization left before it was durable"
            if message.repeat:
                assert any(
                    isinstance(r, OpenRepeat) and r.reference == message.reference
                    for r in self._journal.durable
                ), "a repeat left before its doubt was durable"
        super().offer(sending)


class World:
    """One switch with its nodes, and the terminals' side of it."""

    def __init__(
        self,
        nodes: Sequence[NodeSettings],
        processors: dict[str, Processor],
        *,
        disk: MemoryDisk | None = None,
        routing: RoutingSettings | None = None,
        backlog: BacklogSettings | None = None,
    ) -> None:
        self.clock = VirtualClock()
        self.counters = Counters()
        self.journal = WatchedJournal(self.clock)
        self.disk = disk or MemoryDisk()
        self.links = WatchedLinks(self.journal)
        now = self.clock.now()
        chance = random.Random(7)
        self.routing = RoutingTable(nodes, routing or RoutingSettings(), chance, now)
        self.dispatcher = Dispatcher(processors, self.clock, DispatcherSettings())
        self.dispatcher.connect(self.links)
        pace = backlog or BacklogSettings()
        self.forwarder = Forwarder(
            settings=pace,
            backlog=Backlog(pace, chance),
            processors=processors,
            journal=self.journal,
            routing=self.routing,
            dispatcher=self.dispatcher,
            clock=self.clock,
            counters=self.counters,
        )
        self.flow = Flow(
            switch_id="s1",
            configuration_version="test",
            settings=FlowSettings(),
            choices=ChoiceSettings(),
            routes=RouteBook((Route(tuple(processors)),)),
            processors=processors,
            routing=self.routing,
            budget=FailoverBudget(BudgetSettings(), now),
            journal=self.journal,
            dispatcher=self.dispatcher,
            clock=self.clock,
            counters=self.counters,
            owe=self.forwarder.owe,
        )
        self.reversals = Reversals(self.flow, self.journal, self.clock, self.forwarder.owe)
        self.usable: dict[str, bool] = {}
        self.observer = Observer(
            self.routing,
            self.dispatcher,
            self.clock,
            self.flow.late_answers,
            self.usable.__setitem__,
        )
        self.observer.connect(self)
        self.dead: set[str] = set()
        self.told: list[tuple[AuthorizationRequest, Answer | Refused, float]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[World]:
        """Start as the switch does: journal, recovery, pumps; then every node is ready."""
        self.journal.inner = await MemoryJournal.open(self.disk, "s1")
        await self.journal.inner.recover(self.clock.utc_ms())
        async with asyncio.TaskGroup() as group:
            pumps = [
                group.create_task(pump)
                for pump in (
                    self.flow.intend(),
                    self.flow.conclude(),
                    self.flow.look_up(),
                    self.flow.late_answers.run(),
                    self.reversals.run(),
                    self.forwarder.run(),
                )
            ]
            for name in self.routing.nodes:
                self.observer.link_ready(name, accepts_repeat=True)
            yield self
            for pump in pumps:
                pump.cancel()

    # --- terminals ---

    def send(self, *requests: AuthorizationRequest) -> None:
        """Send requests as one frame."""

        def reply(request: AuthorizationRequest, verdict: Answer | Refused) -> None:
            self.told.append((request, verdict, self.clock.now()))

        self.flow.accept(list(requests), reply)

    async def ask(self, request: AuthorizationRequest) -> Answer | Refused:
        """Send one request and wait for what is told."""
        told: asyncio.Future[Answer | Refused] = asyncio.get_running_loop().create_future()
        self.flow.accept([request], lambda _, verdict: told.set_result(verdict))
        return await told

    def verdicts(self) -> list[Answer | Refused]:
        """Return what was told so far, in order."""
        return [verdict for _, verdict, _ in self.told]

    # --- nodes ---

    def node_does(self, node: str, what: Callable[[Sending], None]) -> None:
        """Say what a node does with each sending."""
        self.links.behaviour[node] = what

    def node_answers(self, node: str, code: str = "00", after_s: float = 0.005) -> None:
        """Let a node answer authorizations with a code, and acknowledge reversals."""

        def what(sending: Sending) -> None:
            asyncio.get_running_loop().call_later(
                after_s, lambda: self.answer(sending, node_answer(sending, code))
            )

        self.node_does(node, what)

    def answer(self, sending: Sending, said: Any) -> None:
        """Let a node answer a sending now."""
        waiting = self.links.written.get(sending.permit.node.settings.name, [])
        if sending in waiting:
            waiting.remove(sending)
            sending.settle(sending, said)

    def request_echo(self, node: str) -> None:
        """Let a living node answer an echo."""
        if node not in self.dead:
            asyncio.get_running_loop().call_later(0.001, self.observer.echo_answered, node)

    def revive(self, node: str) -> None:
        """Let a killed node come back."""
        self.dead.discard(node)
        self.observer.link_ready(node, accepts_repeat=True)

    def kill(self, node: str) -> None:
        """End a node's link, as kill -9 does."""
        self.dead.add(node)
        self.observer.link_lost(node, "killed")
        self.links.lose(node)

    def authorizations(self, node: str | None = None) -> list[Sending]:
        """Return all authorizations handed over, to one node or all."""
        return [
            s
            for s in self.links.history
            if isinstance(s.message, Authorization) and node in (None, s.permit.node.settings.name)
        ]

    def reversals_sent(self) -> list[Reversal]:
        """Return all reversals handed over."""
        return [s.message for s in self.links.history if isinstance(s.message, Reversal)]


def shared(**settings: Any) -> World:
    """Return a world with a primary and a backup before one ledger."""
    return World(
        [
            NodeSettings("a1", "acme", "main", "-", tier=0, limit=32),
            NodeSettings("a2", "acme", "main", "-", tier=1, limit=32),
        ],
        {"acme": Processor("acme")},
        **settings,
    )


def separate(**settings: Any) -> World:
    """Return a world whose primary and backup have a ledger each."""
    return World(
        [
            NodeSettings("a1", "acme", "left", "-", tier=0, limit=32),
            NodeSettings("a2", "acme", "right", "-", tier=1, limit=32),
        ],
        {"acme": Processor("acme")},
        **settings,
    )


def payment(number: int = 1, *, minor: int = 1250, **changes: Any) -> AuthorizationRequest:
    """Return a valid request; equal numbers are equal payments."""
    request_id = bytes.fromhex(f"018bcfe5687b7000800000000000{number:04x}")
    text = request_id.hex()
    amount = Money(minor, "EUR")
    made = AuthorizationRequest(
        key=PaymentKey("T1", request_id),
        request_id=f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}",
        kind=Kind.PURCHASE,
        amount=amount,
        bin="411111",
        last_four="1111",
        envelopes={"acme": Envelope("k1", b"sealed"), "beta": Envelope("k1", b"sealed")},
        entry_mode=1,
        merchant_id="M1",
        merchant_category_code="5411",
        country="DE",
        terminal_time_ms=0,
        accepts_partial=True,
        timeout_s=3.0,
        fingerprint=fingerprint(amount, Kind.PURCHASE, "411111", "1111", "M1"),
    )
    return replace(made, **changes)


def reversal_of(
    original: AuthorizationRequest, number: int = 9, *, minor: int | None = None
) -> ReversalRequest:
    """Return a terminal's reversal of a payment."""
    request_id = bytes.fromhex(f"018bcfe5687b700090000000000{number:05x}")
    return ReversalRequest(
        key=PaymentKey("T1", request_id),
        original=original.key,
        amount=None if minor is None else Money(minor, "EUR"),
        reason=ReversalReason.CANCELLED,
        timeout_s=3.0,
    )
