"""Store-and-forward: keeps sending what is owed until it is acknowledged.

Everything happens in one pump, which takes all that waits (what became owed, what nodes said, and
the ring of its alarm), commits once for all that is acknowledged and once for all that is about to
be sent, and hands the messages over. What it holds in memory is a copy of the journal's list: after
a crash it begins with that list and nothing is lost, not even the repeat mark.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from switch.clock import Clock, Wake
from switch.core.backlog import Backlog, BacklogSettings
from switch.core.evidence import Evidence, Kind
from switch.core.message import (
    Event,
    NodeAnswer,
    OwedReversal,
    Reversal,
    ReversalAcknowledged,
    ReversalParked,
    ReversalSent,
)
from switch.core.processor import Processor
from switch.core.routing import Permit, RoutingTable
from switch.core.sending import Sending
from switch.dispatcher import Dispatcher
from switch.errors import JournalInDoubt, JournalUnavailable
from switch.inbox import Inbox
from switch.ports import Journal
from switch.telemetry import Counters, log


class _Heard(NamedTuple):
    """What came back for a reversal."""

    owed: OwedReversal
    node: str
    event: Event
    evidence: Evidence
    late: bool
    """We had stopped waiting for it, and put the reversal back."""


class _Ring(NamedTuple):
    """The alarm rang."""


class Forwarder:
    """Sends reversals until their ledgers acknowledge them."""

    __slots__ = (
        "_acknowledged",
        "_backlog",
        "_clock",
        "_counters",
        "_dispatcher",
        "_inbox",
        "_journal",
        "_processors",
        "_routing",
        "_settings",
        "_wake",
    )

    def __init__(
        self,
        *,
        settings: BacklogSettings,
        backlog: Backlog,
        processors: Mapping[str, Processor],
        journal: Journal,
        routing: RoutingTable,
        dispatcher: Dispatcher,
        clock: Clock,
        counters: Counters,
    ) -> None:
        """Wire the ports."""
        self._settings = settings
        self._backlog = backlog
        self._processors = processors
        self._acknowledged: set[bytes] = set()
        """Those whose acknowledgement came late, while they are sent again or about to be."""
        self._journal = journal
        self._routing = routing
        self._dispatcher = dispatcher
        self._clock = clock
        self._counters = counters
        self._inbox: Inbox[OwedReversal | _Heard | _Ring] = Inbox()
        self._wake = Wake(clock, self._ring)

    def owe(self, owed: OwedReversal) -> None:
        """Take over a reversal whose being owed is durable."""
        self._inbox.put(owed)

    def owed_count(self) -> int:
        """Return how many are owed, parked ones left out."""
        return len(self._backlog)

    async def run(self) -> None:
        """Pump: begin with what the journal says is owed, then go on for ever."""
        for owed in await self._journal.owed():
            self._backlog.owe(owed)
            if owed.ledger not in self._routing.ledgers:
                log().error("owed_to_unknown_ledger", ledger=owed.ledger)
        self._inbox.put(_Ring())
        while True:
            batch = await self._inbox.take()
            heard: list[_Heard] = []
            for item in batch:
                if isinstance(item, OwedReversal):
                    self._backlog.owe(item)
                elif isinstance(item, _Heard):
                    heard.append(item)
            try:
                await self._settle(heard)
                await self._send()
            except (JournalUnavailable, JournalInDoubt):
                # The journal has stopped for good, and with it this process takes no payments.
                # Nothing is lost: it is owed in the journal, and the next process begins there.
                log().error("reversals_wait_for_the_journal", owed=len(self._backlog))
                return
            self._wake.at(self._backlog.next_at(self._clock.now()))

    async def _settle(self, heard: list[_Heard]) -> None:
        """Write down what was acknowledged, put back what was not."""
        now, at_ms = self._clock.now(), self._clock.utc_ms()
        records: list[ReversalAcknowledged | ReversalParked] = []
        done: list[OwedReversal] = []
        for item in heard:
            owed = item.owed
            name = owed.reversal_reference
            if owed in done or not self._backlog.holds(owed):
                continue
            if name in self._acknowledged:
                if not item.late:
                    done.append(owed)
            elif item.evidence.kind is Kind.APPROVED:
                code = item.event.response_code if isinstance(item.event, NodeAnswer) else ""
                records.append(
                    ReversalAcknowledged(owed.reversal_reference, item.node, code, at_ms)
                )
                self._counters.acknowledged += 1
                if item.late:
                    self._acknowledged.add(name)
                else:
                    done.append(owed)
            elif item.late:
                continue
            elif item.evidence.why == "malformed":
                records.append(ReversalParked(owed.reversal_reference, "malformed", at_ms))
                done.append(owed)
                log().error("reversal_parked", ledger=owed.ledger, why="malformed")
            else:
                if owed.sends >= self._settings.page_after_sends:
                    log().error("reversal_unacknowledged", ledger=owed.ledger, sends=owed.sends)
                self._backlog.failed(owed, now)
        if records:
            await self._journal.commit(records)
        for owed in done:
            self._done(owed)

    def _done(self, owed: OwedReversal) -> None:
        self._acknowledged.discard(owed.reversal_reference)
        self._backlog.done(owed)

    async def _send(self) -> None:
        """Write down what is about to be sent, then hand it over."""
        now = self._clock.now()
        granted: list[tuple[OwedReversal, Permit]] = []
        refused: list[OwedReversal] = []
        for owed in self._backlog.due(now):
            if owed.reversal_reference in self._acknowledged:
                self._done(owed)
                continue
            permit = self._routing.admit_reversal(owed.ledger, now)
            if isinstance(permit, Permit):
                granted.append((owed, permit))
            else:
                refused.append(owed)
        for owed in reversed(refused):
            self._backlog.no_node(owed, now)
        if not granted:
            return
        at_ms = self._clock.utc_ms()
        await self._journal.commit(
            [ReversalSent(owed.reversal_reference, at_ms) for owed, _ in granted]
        )
        now = self._clock.now()
        for owed, permit in granted:
            repeat = owed.sends > 0
            owed.sends += 1
            message = Reversal(
                owed.reference,
                owed.reversal_reference,
                repeat,
                owed.full,
                owed.amount,
                owed.reason,
            )
            sending = self._dispatcher.prepare(
                message, permit, now + self._timeout_s(permit), _Listener(self, owed)
            )
            self._dispatcher.send(sending, now)

    def _timeout_s(self, permit: Permit) -> float:
        return self._processors[permit.node.settings.processor].node_timeout_s

    def _ring(self) -> None:
        self._inbox.put(_Ring())

    def heard(
        self, owed: OwedReversal, sending: Sending, event: Event, evidence: Evidence, *, late: bool
    ) -> None:
        """Take what came back for a reversal."""
        node = sending.permit.node.settings.name
        self._inbox.put(_Heard(owed, node, event, evidence, late))


class _Listener:
    """Awaits one sending of a reversal.

    Its first event settles the sending. If that was our own impatience, an acknowledgement may
    still come, and is as good as any: a ledger that is slower than we wait would else be asked for
    ever.
    """

    __slots__ = ("_forwarder", "_heard", "_owed")

    def __init__(self, forwarder: Forwarder, owed: OwedReversal) -> None:
        self._forwarder = forwarder
        self._owed = owed
        self._heard = False

    def __call__(self, sending: Sending, event: Event, evidence: Evidence, /) -> None:
        self._forwarder.heard(self._owed, sending, event, evidence, late=self._heard)
        self._heard = True
