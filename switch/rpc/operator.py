"""The operators' service: what is ordered, what is seen, what applies, and what is owed.

It reads through one port, the desk, and changes nothing yet: orders for nodes are answered
UNIMPLEMENTED until they are durable, audited and in force when they are acknowledged. A promise
that is not kept is worse than none.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from payswitch.operator.v1 import operator_pb2, operator_pb2_grpc
from switch.core.audit import AuditRecord
from switch.core.identity import INVALID, format_uuid, parse_uuid7
from switch.core.message import OwedReversal, Refused, StoredAttempt
from switch.core.operations import PaymentView, StandingIntent
from switch.core.routing import NodeSettings, NodeSnapshot
from switch.rpc.edge import Context, Spawn, own, refuse
from switch.rpc.link import LinkStage
from switch.rpc.response import fill_duration, fill_money, timestamp
from switch.rpc.validation import Rejected, Violation

T = TypeVar("T")

PAGE_SIZE = 100
PAGE_SIZE_MAX = 1000


@dataclass(slots=True)
class NodeView:
    """One node as operators see it."""

    settings: NodeSettings
    seen: NodeSnapshot
    breaker_age_s: float
    stage: LinkStage
    last_frame_number: int
    standing: StandingIntent | None
    """The order its intent comes from; None: none was ever given."""
    in_doubt_count: int
    """Sendings that ended in doubt at it, since the start."""
    health: str
    """What the last check said."""


@dataclass(slots=True)
class SwitchStatus:
    """The switch as a whole, since its start."""

    switch_id: str
    epoch: int
    uptime_s: float
    accepted: int
    approved: int
    declined: int
    refused: int
    replayed: int
    failed_over: int
    repeated: int
    in_doubt: int
    owed: int
    """Now."""
    acknowledged: int
    late_answers: int
    running: int
    """Now."""


class Desk(Protocol):
    """What operators can read."""

    def nodes(self) -> Sequence[NodeView]:
        """Read the nodes, in the order of the configuration."""
        ...

    async def status(self) -> SwitchStatus:
        """Read the counters."""
        ...

    async def owed(self) -> Sequence[OwedReversal]:
        """Read all reversals that are owed, oldest first."""
        ...

    async def payments(self, request_id: bytes, terminal_id: str = "", /) -> Sequence[PaymentView]:
        """Read the payments under a request id, of one terminal or of all."""
        ...

    async def audit(self, from_number: int, limit: int, /) -> Sequence[AuditRecord]:
        """Read the audit chain from a number on."""
        ...


class OperatorServicer(operator_pb2_grpc.OperatorServiceServicer):
    """OperatorService."""

    def __init__(self, desk: Desk, spawn: Spawn) -> None:
        """Read from ``desk``; what it reads is not cut short when a caller leaves."""
        self._desk = desk
        self._spawn = spawn

    async def ListNodes(
        self, request: operator_pb2.ListNodesRequest, context: Context
    ) -> operator_pb2.ListNodesResponse:
        """Show the nodes."""
        return operator_pb2.ListNodesResponse(nodes=map(_node, self._desk.nodes()))

    async def SetNodeIntent(
        self, request: operator_pb2.SetNodeIntentRequest, context: Context
    ) -> operator_pb2.SetNodeIntentResponse:
        """Refuse: orders are not carried out yet."""
        await refuse(context, Refused("UNIMPLEMENTED", ""))

    async def ListOwed(
        self, request: operator_pb2.ListOwedRequest, context: Context
    ) -> operator_pb2.ListOwedResponse:
        """Show what is owed."""
        size = await _page_size(context, request.page_size)
        owed = await self._own(self._desk.owed(), "owed")
        if request.ledger:
            owed = [reversal for reversal in owed if reversal.ledger == request.ledger]
        return operator_pb2.ListOwedResponse(
            reversals=map(_owed_reversal, owed[:size]), total_count=len(owed)
        )

    async def GetPayment(
        self, request: operator_pb2.GetPaymentRequest, context: Context
    ) -> operator_pb2.GetPaymentResponse:
        """Show one payment."""
        request_id = parse_uuid7(request.request_id)
        if request_id is None:
            await refuse(context, *_invalid("request_id", "a UUIDv7", reason=INVALID))
        found = await self._own(self._desk.payments(request_id, request.terminal_id), "payment")
        if not found:
            await refuse(context, Refused("PAYMENT_UNKNOWN", ""))
        if len(found) > 1:
            await refuse(context, *_invalid("terminal_id", "needed: several used this request_id"))
        return _payment(found[0])

    async def ListAuditRecords(
        self, request: operator_pb2.ListAuditRecordsRequest, context: Context
    ) -> operator_pb2.ListAuditRecordsResponse:
        """Show a part of the audit chain."""
        size = await _page_size(context, request.page_size)
        if request.from_number < 0:
            await refuse(context, *_invalid("from_number", "0 or more"))
        records = await self._own(self._desk.audit(request.from_number, size), "audit")
        return operator_pb2.ListAuditRecordsResponse(records=map(_audit_record, records))

    async def GetStatus(
        self, request: operator_pb2.GetStatusRequest, context: Context
    ) -> operator_pb2.GetStatusResponse:
        """Show the counters."""
        return _status(await self._own(self._desk.status(), "status"))

    async def _own(self, work: Coroutine[Any, Any, T], name: str) -> T:
        return await own(self._spawn, work, name)


async def _page_size(context: Context, asked: int) -> int:
    if not 0 <= asked <= PAGE_SIZE_MAX:
        await refuse(context, *_invalid("page_size", f"0 to {PAGE_SIZE_MAX}"))
    return asked or PAGE_SIZE


def _invalid(field: str, description: str, reason: str = "FIELD_INVALID") -> Rejected:
    return Rejected(Refused(reason, f"{field}: {description}."), (Violation(field, description),))


def _node(view: NodeView) -> operator_pb2.Node:
    settings, seen = view.settings, view.seen
    node = operator_pb2.Node(
        name=settings.name,
        processor=settings.processor,
        ledger=settings.ledger,
        address=settings.address,
        tier=settings.tier,
        intent=operator_pb2.NodeIntent.values()[seen.intent],
        link=operator_pb2.LinkState.values()[view.stage],
        breaker=operator_pb2.BreakerState.values()[seen.breaker],
        breaker_reason=seen.why,
        usable=seen.usable,
        in_flight=seen.in_flight,
        limit=seen.limit,
        answered_count=seen.answered,
        in_doubt_count=view.in_doubt_count,
        rate=seen.rate_per_s,
        last_frame_number=view.last_frame_number,
        health=view.health,
    )
    fill_duration(node.breaker_age, view.breaker_age_s)
    fill_duration(node.p50, seen.p50_s)
    fill_duration(node.p99, seen.p99_s)
    standing = view.standing
    if standing is not None:
        node.intent_version = standing.version
        node.intent_actor = standing.actor
        node.intent_reason = standing.reason
        node.intent_time.CopyFrom(timestamp(standing.at_ms))
        if standing.expires_ms is not None:
            node.intent_expiry.CopyFrom(timestamp(standing.expires_ms))
    return node


def _owed_reversal(owed: OwedReversal) -> operator_pb2.OwedReversal:
    told = operator_pb2.OwedReversal(
        reversal_reference=owed.reversal_reference.hex(),
        reference=owed.reference.hex(),
        ledger=owed.ledger,
        terminal_id=owed.key.terminal_id,
        request_id=format_uuid(owed.key.request_id),
        full=owed.full,
        message_reason=owed.reason,
        sends=owed.sends,
        owed_since=timestamp(owed.owed_at_ms),
        parked_reason=owed.parked,
    )
    fill_money(told.amount, owed.amount)
    return told


def _payment(view: PaymentView) -> operator_pb2.GetPaymentResponse:
    stored = view.stored
    told = operator_pb2.GetPaymentResponse(
        terminal_id=stored.key.terminal_id,
        request_id=format_uuid(stored.key.request_id),
        state=stored.state.name.lower(),
        attempts=map(_attempt, stored.attempts),
        configuration_version=view.configuration_version,
        accepted_time=timestamp(view.claimed_ms),
    )
    fill_money(told.amount, stored.amount)
    if stored.answer is not None:
        told.response_code = stored.answer.response_code
        fill_money(told.approved_amount, stored.answer.approved_amount)
    return told


def _attempt(attempt: StoredAttempt) -> operator_pb2.PaymentAttempt:
    return operator_pb2.PaymentAttempt(
        reference=attempt.reference.hex(),
        ledger=attempt.ledger,
        processor=attempt.processor,
        state=attempt.state.name.lower(),
        response_code=attempt.node_answer_code,
    )


def _audit_record(record: AuditRecord) -> operator_pb2.AuditRecord:
    entry = record.entry
    return operator_pb2.AuditRecord(
        number=record.number,
        time=timestamp(entry.at_ms),
        actor=entry.actor,
        authenticated=entry.authenticated,
        action=entry.action,
        subject=entry.subject,
        detail_json=entry.detail_json,
        hash=record.hash,
    )


def _status(status: SwitchStatus) -> operator_pb2.GetStatusResponse:
    told = operator_pb2.GetStatusResponse(
        switch_id=status.switch_id,
        epoch=status.epoch,
        accepted_count=status.accepted,
        approved_count=status.approved,
        declined_count=status.declined,
        refused_count=status.refused,
        replayed_count=status.replayed,
        failed_over_count=status.failed_over,
        repeated_count=status.repeated,
        in_doubt_count=status.in_doubt,
        owed_count=status.owed,
        reversals_acknowledged_count=status.acknowledged,
        late_answer_count=status.late_answers,
        running_count=status.running,
    )
    fill_duration(told.uptime, status.uptime_s)
    return told
