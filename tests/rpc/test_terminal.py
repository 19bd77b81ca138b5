"""The unary calls: what a terminal is answered, and by which status."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from payswitch.money.v1 import money_pb2
from payswitch.terminal.v1 import terminal_pb2, terminal_pb2_grpc
from switch.core.identity import parse_uuid7
from switch.core.message import (
    Answer,
    AuthorizationRequest,
    Kind,
    PaymentKey,
    PaymentState,
    Refused,
    ReversalAnswer,
    ReversalReason,
    ReversalStatus,
    StoredPayment,
    TimelineEvent,
)
from switch.core.money import Money
from switch.core.processor import CardKey
from switch.core.response_code import Advice
from switch.errors import REASONS, JournalInDoubt, JournalUnavailable
from tests.rpc.conftest import (
    FakeStory,
    Faults,
    Supervisor,
    approval,
    new_request_id,
    payment,
    until,
)

if TYPE_CHECKING:
    Stub = terminal_pb2_grpc.TerminalServiceAsyncStub


def euros(amount_minor: int) -> money_pb2.Money:
    return money_pb2.Money(amount_minor=amount_minor, currency="EUR")


SERVICE = "/payswitch.terminal.v1.TerminalService"


def details_of(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """Return the details of a status by their type; each type stands once."""
    [packed] = [v for k, v in error.trailing_metadata() or () if k == "grpc-status-details-bin"]
    status = status_pb2.Status.FromString(packed)
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    found = {}
    for detail in status.details:
        kind = getattr(error_details_pb2, detail.TypeName().rsplit(".", 1)[1])
        message = kind()
        assert detail.Unpack(message)
        assert kind.__name__ not in found
        found[kind.__name__] = message
    return found


async def refusal_of(call: Any) -> tuple[grpc.StatusCode, str, dict[str, Any]]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    details = details_of(refused.value)
    info = details["ErrorInfo"]
    assert info.domain == "payswitch"
    return refused.value.code(), info.reason, details


async def test_a_payment_is_answered_in_full(terminal: Stub, story: FakeStory) -> None:
    request = payment()
    response = await terminal.Authorize(request)
    assert response == terminal_pb2.AuthorizeResponse(
        request_id=request.request_id,
        status=terminal_pb2.AUTHORIZATION_STATUS_APPROVED,
        response_code="00",
        reason="Approved",
        retry_advice=terminal_pb2.RETRY_ADVICE_NONE,
        approved_amount=euros(1250),
        authorization_code="A1B2C3",
        processor="alpha",
        retrieval_reference_number="123456000001",
        replayed=False,
        reversal=terminal_pb2.REVERSAL_STATUS_NONE,
        reversed_amount=euros(0),
        processing_duration=Duration(nanos=12_500_000),
    )
    [asked] = story.accepted
    assert asked.key == PaymentKey("T-0001", parse_uuid7(request.request_id) or b"")
    assert asked.kind is Kind.PURCHASE
    assert asked.timeout_s == 3.0


async def test_a_decline_is_an_ordinary_answer(terminal: Stub, story: FakeStory) -> None:
    def declined(request: AuthorizationRequest) -> Answer:
        return Answer(
            False, "41", request.amount.nothing(), "", "alpha", "123456000001", True,
            ReversalStatus.OWED, request.amount, None,
        )  # fmt: skip

    story.outcome = declined
    response = await terminal.Authorize(payment())
    assert response.status == terminal_pb2.AUTHORIZATION_STATUS_DECLINED
    assert response.reason == "Lost card"
    assert response.retry_advice == terminal_pb2.RETRY_ADVICE_NOT_WITH_THIS_CARD
    assert response.replayed
    assert response.reversal == terminal_pb2.REVERSAL_STATUS_OWED
    assert not response.HasField("processing_duration")


@pytest.mark.parametrize("reason", REASONS)
async def test_every_reason_has_its_status_and_its_details(
    terminal: Stub, story: FakeStory, reason: str
) -> None:
    story.outcome = lambda _: Refused(reason, "")
    row = REASONS[reason]
    status, told, details = await refusal_of(terminal.Authorize(payment()))
    assert status is grpc.StatusCode[row.status]
    assert told == reason
    assert ("RetryInfo" in details) == (row.retry_after_s is not None)


async def test_a_delay_of_its_own_goes_before_that_of_the_reason(
    terminal: Stub, story: FakeStory
) -> None:
    story.outcome = lambda _: Refused("OVERLOADED", "Busy, try again in 7.5 s.", 7.5)
    _, _, details = await refusal_of(terminal.Authorize(payment()))
    delay = details["RetryInfo"].retry_delay
    assert (delay.seconds, delay.nanos) == (7, 500_000_000)


async def test_broken_rules_are_named_by_their_fields_and_nothing_is_echoed(
    terminal: Stub, story: FakeStory
) -> None:
    request = payment(country="Utopia", amount=euros(0))
    status, reason, details = await refusal_of(terminal.Authorize(request))
    assert (status, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    violations = details["BadRequest"].field_violations
    assert [v.field for v in violations] == ["country", "amount.amount_minor"]
    assert "Utopia" not in repr(details)
    assert story.frames == []


@pytest.mark.parametrize("method", ["Authorize", "Reverse", "GetAuthorization", "GetCardKeys"])
@pytest.mark.parametrize("raw", [b"\xff\xff\xff", bytes([10, 5, 255, 254, 253, 252, 251])])
async def test_bytes_that_are_no_message_are_refused_as_such(
    channel: grpc.aio.Channel, method: str, raw: bytes
) -> None:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        f"{SERVICE}/{method}"
    )
    status, reason, _ = await refusal_of(call(raw))
    assert (status, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED")


async def test_a_unary_message_has_at_most_64_kib(channel: grpc.aio.Channel) -> None:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        f"{SERVICE}/Authorize"
    )
    status, reason, _ = await refusal_of(call(bytes(64 * 1024 + 1)))
    assert (status, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED")


async def test_a_caller_that_leaves_cancels_no_payment(
    terminal: Stub, story: FakeStory, faults: Faults
) -> None:
    story.held = True
    call = terminal.Authorize(payment())
    await until(lambda: len(story.waiting) == 1)
    call.cancel()
    await asyncio.sleep(0.02)
    story.answer_all()
    await asyncio.sleep(0.02)
    assert faults.seen == []


async def test_a_deadline_caps_what_the_terminal_would_wait(
    terminal: Stub, story: FakeStory
) -> None:
    await terminal.Authorize(payment(timeout={"seconds": 2}), timeout=1.0)
    await terminal.Authorize(payment(timeout={"seconds": 2}), timeout=60.0)
    await terminal.Authorize(payment(timeout={"seconds": 60}))
    first, second, third = (request.timeout_s for request in story.accepted)
    assert 0.5 < first < 1.05
    assert (second, third) == (2.0, 3.0)


async def test_a_deadline_that_passes_cancels_no_payment(
    terminal: Stub, story: FakeStory, faults: Faults
) -> None:
    story.held = True
    with pytest.raises(grpc.aio.AioRpcError) as late:
        await terminal.Authorize(payment(), timeout=0.05)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(story.waiting) == 1
    story.answer_all()
    await asyncio.sleep(0.02)
    assert faults.seen == []


async def test_a_fault_of_ours_is_internal_with_a_fixed_text(
    terminal: Stub, story: FakeStory, faults: Faults
) -> None:
    story.fault = AssertionError("secret 4111111111111111")
    status, reason, details = await refusal_of(terminal.Authorize(payment()))
    assert (status, reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "4111" not in repr(details)
    [(where, fault)] = faults.seen
    assert where == f"{SERVICE}/Authorize"
    assert isinstance(fault, AssertionError)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (JournalUnavailable(), (grpc.StatusCode.UNAVAILABLE, "JOURNAL_UNAVAILABLE")),
        (JournalInDoubt(), (grpc.StatusCode.ABORTED, "OUTCOME_UNKNOWN")),
    ],
)
async def test_a_journal_that_fails_is_no_fault_of_ours(
    terminal: Stub,
    story: FakeStory,
    faults: Faults,
    fault: Exception,
    expected: tuple[grpc.StatusCode, str],
) -> None:
    story.fault = fault
    status, reason, _ = await refusal_of(terminal.Reverse(reversal()))
    assert (status, reason) == expected
    assert faults.seen == []


async def test_a_reversal_is_answered(terminal: Stub, story: FakeStory) -> None:
    request = terminal_pb2.ReverseRequest(
        request_id=new_request_id(),
        terminal_id="T-0001",
        original_request_id=new_request_id(),
        amount=euros(250),
        reason=terminal_pb2.REVERSAL_REASON_TIMED_OUT,
    )
    response = await terminal.Reverse(request)
    assert response == terminal_pb2.ReverseResponse(
        request_id=request.request_id,
        original_request_id=request.original_request_id,
        reversal=terminal_pb2.REVERSAL_STATUS_OWED,
        reversed_amount=euros(1250),
        original_known=True,
    )
    [asked] = story.reversals
    assert asked.amount == Money(250, "EUR")
    assert asked.reason is ReversalReason.TIMED_OUT


async def test_a_reversal_outlives_its_caller(
    terminal: Stub, story: FakeStory, supervisor: Supervisor, faults: Faults
) -> None:
    story.gate.clear()
    call = terminal.Reverse(reversal())
    await until(lambda: len(story.reversals) == 1)
    call.cancel()
    await asyncio.sleep(0.02)
    story.gate.set()
    await asyncio.wait_for(story.reversed.wait(), 1)
    await until(lambda: not supervisor.tasks)
    assert faults.seen == []


def reversal(**changes: Any) -> terminal_pb2.ReverseRequest:
    fields: dict[str, Any] = {
        "request_id": new_request_id(),
        "terminal_id": "T-0001",
        "original_request_id": new_request_id(),
        "reason": terminal_pb2.REVERSAL_REASON_CANCELLED,
    }
    return terminal_pb2.ReverseRequest(**(fields | changes))


async def test_a_refused_reversal_has_its_reason(terminal: Stub, story: FakeStory) -> None:
    story.reversal_outcome = Refused("REVERSAL_EXCEEDS_APPROVAL", "")
    status, reason, _ = await refusal_of(terminal.Reverse(reversal()))
    assert status is grpc.StatusCode.FAILED_PRECONDITION
    assert reason == "REVERSAL_EXCEEDS_APPROVAL"
    status, reason, _ = await refusal_of(terminal.Reverse(reversal(reason=0)))
    assert reason == "FIELD_INVALID"


async def test_a_reversal_of_an_unknown_payment_names_no_amount(
    terminal: Stub, story: FakeStory
) -> None:
    story.reversal_outcome = ReversalAnswer(ReversalStatus.NONE, None, True, False)
    response = await terminal.Reverse(reversal())
    assert not response.HasField("reversed_amount")
    assert response.replayed
    assert not response.original_known


async def test_a_payment_can_be_asked_for(terminal: Stub, story: FakeStory) -> None:
    request = payment()
    await terminal.Authorize(request)
    [asked] = story.accepted
    stored = StoredPayment(
        asked.key, asked.fingerprint, PaymentState.CONCLUDED, asked.amount, approval(asked)
    )
    stored.timeline.append(TimelineEvent(1_800_000_000_123, "accepted", "from T-0001"))
    story.found = stored
    response = await terminal.GetAuthorization(
        terminal_pb2.GetAuthorizationRequest(terminal_id="T-0001", request_id=request.request_id)
    )
    assert response.state == terminal_pb2.AUTHORIZATION_STATE_CONCLUDED
    assert response.response.request_id == request.request_id
    assert response.response.response_code == "00"
    [event] = response.timeline
    assert event.time.ToMilliseconds() == 1_800_000_000_123
    assert (event.event, event.detail) == ("accepted", "from T-0001")


async def test_an_unknown_payment_is_not_found(terminal: Stub) -> None:
    asked = terminal_pb2.GetAuthorizationRequest(terminal_id="T", request_id=new_request_id())
    status, reason, _ = await refusal_of(terminal.GetAuthorization(asked))
    assert (status, reason) == (grpc.StatusCode.NOT_FOUND, "PAYMENT_UNKNOWN")
    asked.request_id = "nonsense"
    _, reason, _ = await refusal_of(terminal.GetAuthorization(asked))
    assert reason == "REQUEST_ID_INVALID"


async def test_keys_are_handed_out_in_order(terminal: Stub, story: FakeStory) -> None:
    story.keys = [
        CardKey("alpha", "alpha-2", b"k" * 32, 1_900_000_000_000),
        CardKey("beta", "beta-1", b"l" * 32, 1_900_000_000_001),
    ]
    asked = terminal_pb2.GetCardKeysRequest(bin="411111", merchant_id="M-1", currency="EUR")
    response = await terminal.GetCardKeys(asked)
    assert [key.processor for key in response.keys] == ["alpha", "beta"]
    assert response.keys[0].public_key == b"k" * 32
    assert response.keys[0].not_after.ToMilliseconds() == 1_900_000_000_000
    asked.currency = "euro"
    _, reason, _ = await refusal_of(terminal.GetCardKeys(asked))
    assert reason == "FIELD_INVALID"


def test_the_numbers_of_the_core_are_those_of_the_protocol() -> None:
    for status in ReversalStatus:
        assert terminal_pb2.ReversalStatus.keys()[status] == f"REVERSAL_STATUS_{status.name}"
    for advice in Advice:
        assert terminal_pb2.RetryAdvice.keys()[advice] == f"RETRY_ADVICE_{advice.name}"
    for kind in Kind:
        assert terminal_pb2.AuthorizationKind.keys()[kind] == f"AUTHORIZATION_KIND_{kind.name}"
