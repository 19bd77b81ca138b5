"""The operators' desk: what they may read of the switch, gathered from the rooms that know it.

Intent (what was ordered), observed (what is seen) and effective (what applies) are kept apart, so
that nobody mistakes one for another. Nothing here is on the way of a payment.
"""

from __future__ import annotations

from collections.abc import Sequence

from switch.clock import Clock
from switch.core.audit import AuditRecord
from switch.core.message import OwedReversal
from switch.core.operations import PaymentView, StandingIntent
from switch.core.routing import RoutingTable
from switch.flow import Flow
from switch.rpc.link import NodeLinks
from switch.rpc.operator import NodeView, SwitchStatus
from switch.store.sqlite import SqliteJournal
from switch.telemetry import Counters


class OperatorDesk:
    """Reads for operators."""

    def __init__(
        self,
        *,
        switch_id: str,
        journal: SqliteJournal,
        routing: RoutingTable,
        links: NodeLinks,
        flow: Flow,
        counters: Counters,
        clock: Clock,
        standing: dict[str, StandingIntent],
    ) -> None:
        """Read from these rooms; ``standing`` are the orders in force, by node."""
        self._switch_id = switch_id
        self._journal = journal
        self._routing = routing
        self._links = links
        self._flow = flow
        self._counters = counters
        self._clock = clock
        self._standing = standing
        self._started_at = clock.now()

    def nodes(self) -> Sequence[NodeView]:
        """Read the nodes, in the order of the configuration."""
        now = self._clock.now()
        views = []
        for name, node in self._routing.nodes.items():
            seen = node.snapshot(now)
            views.append(
                NodeView(
                    settings=node.settings,
                    seen=seen,
                    breaker_age_s=now - seen.since,
                    stage=self._links.stage(name),
                    last_frame_number=self._links.last_frame(name).frame_number,
                    standing=self._standing.get(name),
                    in_doubt_count=node.doubted_count,
                    health="serving" if node.health.up else "not serving",
                )
            )
        return views

    async def status(self) -> SwitchStatus:
        """Read the counters."""
        counters = self._counters
        stored = await self._journal.counts()
        return SwitchStatus(
            switch_id=self._switch_id,
            epoch=self._journal.epoch,
            uptime_s=self._clock.now() - self._started_at,
            accepted=counters.accepted,
            approved=counters.approved,
            declined=counters.declined,
            refused=counters.refused,
            replayed=counters.replayed,
            failed_over=counters.failed_over,
            repeated=counters.repeated,
            in_doubt=counters.in_doubt,
            owed=stored.owed,
            acknowledged=counters.acknowledged,
            late_answers=counters.late_answers,
            running=self._flow.running_count(),
        )

    async def owed(self) -> Sequence[OwedReversal]:
        """Read all reversals that are owed, oldest first."""
        return await self._journal.owed()

    async def payments(self, request_id: bytes, terminal_id: str = "") -> Sequence[PaymentView]:
        """Read the payments under a request id, of one terminal or of all."""
        return await self._journal.payments(request_id, terminal_id)

    async def audit(self, from_number: int, limit: int) -> Sequence[AuditRecord]:
        """Read the audit chain from a number on."""
        return await self._journal.audit(from_number, limit)
