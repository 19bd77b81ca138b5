"""The operators' service reads what the desk shows, and promises nothing it does not keep."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import grpc
import pytest

from payswitch.operator.v1 import operator_pb2, operator_pb2_grpc
from switch.core.audit import AuditEntry, AuditRecord
from switch.core.breaker import BreakerState
from switch.core.identity import format_uuid
from switch.core.message import (
    Answer,
    Kind,
    OwedReversal,
    PaymentKey,
    PaymentState,
    ReversalReason,
    ReversalStatus,
    StoredAttempt,
    StoredPayment,
)
from switch.core.money import Money
from switch.core.operations import PaymentView, StandingIntent
from switch.core.routing import NodeSnapshot
from switch.core.snapshot import Intent, LinkState
from switch.core.transaction import AttemptState
from switch.rpc.health import HealthServicer
from switch.rpc.link import LinkStage
from switch.rpc.operator import NodeView, OperatorServicer, SwitchStatus
from switch.rpc.server import PortSettings, operator_port
from tests.rpc.conftest import PLAIN, Faults, Supervisor, new_request_id
from tests.rpc.nodes import node_settings
from tests.rpc.test_terminal import refusal_of

if TYPE_CHECKING:
    Stub = operator_pb2_grpc.OperatorServiceAsyncStub

REQUEST_ID = bytes.fromhex("01a3185c50007123812345678 9abcdef".replace(" ", ""))
AT_MS = 1_800_000_000_123


def owed(number: int, ledger: str = "ledger-a") -> OwedReversal:
    return OwedReversal(
        reversal_reference=bytes([number] * 16),
        reference=bytes([number + 100] * 16),
        key=PaymentKey("T-0001", REQUEST_ID),
        ordinal=0,
        ledger=ledger,
        full=True,
        amount=Money(1250, "EUR"),
        reason=ReversalReason.TIMED_OUT,
        owed_at_ms=AT_MS,
        sends=3,
        parked="malformed",
    )


def view(*, answered: bool) -> PaymentView:
    amount = Money(1250, "EUR")
    answer = Answer(
        approved=False,
        response_code="91",
        approved_amount=amount.nothing(),
        authorization_code="",
        processor="",
        retrieval_reference_number="",
        replayed=True,
        reversal=ReversalStatus.OWED,
        reversed_amount=amount,
        processing_s=None,
    )
    attempt = StoredAttempt(
        ordinal=0,
        reference=bytes(16),
        ledger="ledger-a",
        processor="alpha",
        node="alpha-1",
        state=AttemptState.OWED,
        doubted=True,
        node_answer_code="",
        approved_amount_minor=0,
    )
    stored = StoredPayment(
        PaymentKey("T-0001", REQUEST_ID),
        bytes(16),
        PaymentState.CONCLUDED if answered else PaymentState.RUNNING,
        amount,
        answer if answered else None,
        [attempt],
    )
    return PaymentView(
        stored, Kind.PURCHASE, "411111", "1111", "M", "5411", "DE", 2, False, "v7", 0, AT_MS, None
    )


class FakeDesk:
    def __init__(self) -> None:
        self.found: list[PaymentView] = [view(answered=True)]
        self.asked: list[tuple[object, ...]] = []

    def nodes(self) -> Sequence[NodeView]:
        seen = NodeSnapshot(
            name="alpha-1",
            intent=Intent.DRAINED,
            link=LinkState.READY,
            breaker=BreakerState.HALF_OPEN,
            why="stalled",
            since=1.0,
            usable=True,
            hold_down=False,
            in_flight=3,
            limit=128,
            answered=1000,
            in_doubt=1,
            rate_per_s=12.5,
            p50_s=0.0125,
            p99_s=1.5,
        )
        standing = StandingIntent("alpha-1", 2, 4, "ada", "slow", AT_MS, AT_MS + 1000)
        common = {"breaker_age_s": 2.5, "last_frame_number": 77, "in_doubt_count": 9}
        return [
            NodeView(
                settings=node_settings("alpha-1", 7001),
                seen=seen,
                stage=LinkStage.DRAINING,
                standing=standing,
                health="SERVING",
                **common,  # type: ignore[arg-type] # three fields of two types
            ),
            NodeView(
                settings=node_settings("alpha-2", 7002),
                seen=seen._replace(intent=Intent.ENABLED),
                stage=LinkStage.CONNECTED,
                standing=None,
                health="",
                **common,  # type: ignore[arg-type] # three fields of two types
            ),
        ]

    async def status(self) -> SwitchStatus:
        return SwitchStatus("switch-1", 7, 12.5, *range(1, 13))

    async def owed(self) -> Sequence[OwedReversal]:
        return [owed(1), owed(2, "ledger-b"), owed(3)]

    async def payments(self, request_id: bytes, terminal_id: str = "") -> Sequence[PaymentView]:
        self.asked.append((request_id, terminal_id))
        return self.found

    async def audit(self, from_number: int, limit: int) -> Sequence[AuditRecord]:
        self.asked.append((from_number, limit))
        entry = AuditEntry(AT_MS, "ada", False, "node.intent", "alpha-1", '{"reason":"slow"}')
        return [AuditRecord(5, entry, bytes(32))]


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk()


@pytest.fixture
async def operator(desk: FakeDesk, supervisor: Supervisor, faults: Faults) -> AsyncIterator[Stub]:
    port = operator_port(
        PortSettings("127.0.0.1:0", PLAIN),
        OperatorServicer(desk, supervisor.spawn),
        HealthServicer(),
        faults.report,
    )
    number = await port.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{number}") as channel:
        yield operator_pb2_grpc.OperatorServiceStub(channel)
    await port.stop(None)
    assert faults.seen == []


async def test_nodes_are_shown_as_ordered_as_seen_and_as_applied(operator: Stub) -> None:
    first, second = (await operator.ListNodes(operator_pb2.ListNodesRequest())).nodes
    assert (first.name, first.ledger, first.address) == ("alpha-1", "ledger-a", "127.0.0.1:7001")
    assert first.intent == operator_pb2.NODE_INTENT_DRAINED
    assert (first.intent_version, first.intent_actor, first.intent_reason) == (4, "ada", "slow")
    assert first.intent_time.ToMilliseconds() == AT_MS
    assert first.intent_expiry.ToMilliseconds() == AT_MS + 1000
    assert first.link == operator_pb2.LINK_STATE_DRAINING
    assert first.breaker == operator_pb2.BREAKER_STATE_HALF_OPEN
    assert first.breaker_reason == "stalled"
    assert first.breaker_age.ToMilliseconds() == 2500
    assert (first.in_flight, first.limit, first.answered_count) == (3, 128, 1000)
    assert (first.in_doubt_count, first.rate, first.last_frame_number) == (9, 12.5, 77)
    assert (first.p50.ToMilliseconds(), first.p99.ToMilliseconds()) == (12, 1500)
    assert second.intent == operator_pb2.NODE_INTENT_ENABLED
    assert second.link == operator_pb2.LINK_STATE_CONNECTED
    assert not second.HasField("intent_time")


async def test_orders_for_nodes_are_not_promised_yet(operator: Stub) -> None:
    order = operator_pb2.SetNodeIntentRequest(nodes=["alpha-1"], reason="slow")
    status, reason, _ = await refusal_of(operator.SetNodeIntent(order))
    assert (status, reason) == (grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED")


async def test_what_is_owed_is_shown_oldest_first(operator: Stub) -> None:
    shown = await operator.ListOwed(operator_pb2.ListOwedRequest())
    assert shown.total_count == 3
    first = shown.reversals[0]
    assert first.reversal_reference == "01" * 16
    assert first.reference == "65" * 16
    assert first.request_id == format_uuid(REQUEST_ID)
    assert (first.amount.amount_minor, first.full, first.message_reason) == (1250, True, 4021)
    assert (first.sends, first.parked_reason) == (3, "malformed")
    assert first.owed_since.ToMilliseconds() == AT_MS
    shown = await operator.ListOwed(operator_pb2.ListOwedRequest(ledger="ledger-a", page_size=1))
    assert (len(shown.reversals), shown.total_count) == (1, 2)


async def test_a_payment_is_shown_with_its_attempts(operator: Stub, desk: FakeDesk) -> None:
    asked = operator_pb2.GetPaymentRequest(terminal_id="T-0001", request_id=format_uuid(REQUEST_ID))
    shown = await operator.GetPayment(asked)
    assert desk.asked == [(REQUEST_ID, "T-0001")]
    assert (shown.state, shown.response_code) == ("concluded", "91")
    assert shown.configuration_version == "v7"
    [attempt] = shown.attempts
    assert (attempt.state, attempt.processor, attempt.reference) == ("owed", "alpha", "00" * 16)
    desk.found = [view(answered=False)]
    shown = await operator.GetPayment(asked)
    assert (shown.state, shown.response_code) == ("running", "")
    assert not shown.HasField("approved_amount")


async def test_a_payment_must_be_named(operator: Stub, desk: FakeDesk) -> None:
    asked = operator_pb2.GetPaymentRequest(request_id=new_request_id())
    desk.found = []
    assert (await refusal_of(operator.GetPayment(asked)))[1] == "PAYMENT_UNKNOWN"
    desk.found = [view(answered=True), view(answered=True)]
    assert (await refusal_of(operator.GetPayment(asked)))[1] == "FIELD_INVALID"
    asked.request_id = "x"
    assert (await refusal_of(operator.GetPayment(asked)))[1] == "REQUEST_ID_INVALID"


async def test_the_audit_chain_is_shown_in_pages(operator: Stub, desk: FakeDesk) -> None:
    shown = await operator.ListAuditRecords(operator_pb2.ListAuditRecordsRequest(from_number=5))
    [record] = shown.records
    assert (record.number, record.actor, record.action) == (5, "ada", "node.intent")
    assert (record.subject, record.hash) == ("alpha-1", bytes(32))
    assert not record.authenticated
    await operator.ListAuditRecords(operator_pb2.ListAuditRecordsRequest(page_size=1000))
    assert desk.asked == [(5, 100), (0, 1000)]
    for wrong in (
        operator_pb2.ListAuditRecordsRequest(page_size=1001),
        operator_pb2.ListAuditRecordsRequest(page_size=-1),
        operator_pb2.ListAuditRecordsRequest(from_number=-1),
    ):
        assert (await refusal_of(operator.ListAuditRecords(wrong)))[1] == "FIELD_INVALID"


async def test_counters_are_shown(operator: Stub) -> None:
    shown = await operator.GetStatus(operator_pb2.GetStatusRequest())
    assert (shown.switch_id, shown.epoch, shown.uptime.ToMilliseconds()) == ("switch-1", 7, 12500)
    counts = [value for field, value in shown.ListFields() if field.name.endswith("_count")]
    assert counts == list(range(1, 13))


def test_the_states_of_the_core_have_the_numbers_of_the_protocol() -> None:
    for states, prefix, numbers in (
        (Intent, "NODE_INTENT", operator_pb2.NodeIntent),
        (BreakerState, "BREAKER_STATE", operator_pb2.BreakerState),
        (LinkStage, "LINK_STATE", operator_pb2.LinkState),
    ):
        for state in states:
            assert numbers.keys()[state] == f"{prefix}_{state.name}"
