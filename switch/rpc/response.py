"""What terminals are told: records of the core as the terminal protocol has them.

The functions fill a message in place, because copying a message into a frame costs as much as
making it.
"""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from payswitch.money.v1 import money_pb2
from payswitch.terminal.v1 import terminal_pb2
from switch.core.identity import format_uuid
from switch.core.message import (
    Answer,
    PaymentState,
    ReversalAnswer,
    ReversalRequest,
    StoredPayment,
    TimelineEvent,
)
from switch.core.money import Money
from switch.core.processor import CardKey
from switch.core.response_code import describe

_APPROVED = terminal_pb2.AUTHORIZATION_STATUS_APPROVED
_DECLINED = terminal_pb2.AUTHORIZATION_STATUS_DECLINED

_STATES: dict[PaymentState, terminal_pb2.AuthorizationState.ValueType] = {
    PaymentState.RUNNING: terminal_pb2.AUTHORIZATION_STATE_RUNNING,
    PaymentState.CONCLUDED: terminal_pb2.AUTHORIZATION_STATE_CONCLUDED,
    PaymentState.NOT_SENT: terminal_pb2.AUTHORIZATION_STATE_NOT_SENT,
    PaymentState.REVERSED_IN_ADVANCE: terminal_pb2.AUTHORIZATION_STATE_REVERSED_IN_ADVANCE,
}

# The core's ReversalStatus and advice have the protocol's numbers; a test holds them to it.
_REVERSALS = terminal_pb2.ReversalStatus.values()
_ADVICE = terminal_pb2.RetryAdvice.values()


def authorize_response(
    response: terminal_pb2.AuthorizeResponse, request_id: str, answer: Answer
) -> terminal_pb2.AuthorizeResponse:
    """Fill in the answer to a payment."""
    code = answer.response_code
    text, advice = describe(code)
    response.request_id = request_id
    response.status = _APPROVED if answer.approved else _DECLINED
    response.response_code = code
    response.reason = text
    response.retry_advice = _ADVICE[advice]
    fill_money(response.approved_amount, answer.approved_amount)
    response.authorization_code = answer.authorization_code
    response.processor = answer.processor
    response.retrieval_reference_number = answer.retrieval_reference_number
    response.replayed = answer.replayed
    response.reversal = _REVERSALS[answer.reversal]
    fill_money(response.reversed_amount, answer.reversed_amount)
    if answer.processing_s is not None:
        fill_duration(response.processing_duration, answer.processing_s)
    return response


def reverse_response(
    request: ReversalRequest, answer: ReversalAnswer
) -> terminal_pb2.ReverseResponse:
    """Return the answer to a reversal."""
    response = terminal_pb2.ReverseResponse(
        request_id=format_uuid(request.key.request_id),
        original_request_id=format_uuid(request.original.request_id),
        reversal=_REVERSALS[answer.reversal],
        replayed=answer.replayed,
        original_known=answer.original_known,
    )
    if answer.reversed_amount is not None:
        fill_money(response.reversed_amount, answer.reversed_amount)
    return response


def authorization_response(stored: StoredPayment) -> terminal_pb2.GetAuthorizationResponse:
    """Return what is known of a payment."""
    response = terminal_pb2.GetAuthorizationResponse(
        state=_STATES[stored.state], timeline=timeline_events(stored.timeline)
    )
    if stored.answer is not None:
        request_id = format_uuid(stored.key.request_id)
        authorize_response(response.response, request_id, stored.answer)
    return response


def timeline_events(events: Iterable[TimelineEvent]) -> list[terminal_pb2.TimelineEvent]:
    """Return a timeline."""
    return [
        terminal_pb2.TimelineEvent(
            time=timestamp(event.at_ms), event=event.event, detail=event.detail
        )
        for event in events
    ]


def card_keys_response(keys: Iterable[CardKey]) -> terminal_pb2.GetCardKeysResponse:
    """Return public keys, in the order given."""
    return terminal_pb2.GetCardKeysResponse(
        keys=[
            terminal_pb2.CardKey(
                processor=key.processor,
                key_id=key.key_id,
                public_key=key.public_key,
                not_after=timestamp(key.not_after_ms),
            )
            for key in keys
        ]
    )


def fill_money(message: money_pb2.Money, money: Money) -> None:
    """Fill in an amount."""
    message.amount_minor, message.currency = money


def fill_duration(message: Duration, seconds: float) -> None:
    """Fill in a duration, which is not negative."""
    whole = int(seconds)
    message.seconds = whole
    message.nanos = int((seconds - whole) * 1e9)


def timestamp(at_ms: int) -> Timestamp:
    """Return an instant."""
    seconds, millis = divmod(at_ms, 1000)
    return Timestamp(seconds=seconds, nanos=millis * 1_000_000)
