"""What a terminal learns: approvals, declines, reversals, and where a payment stands.

All of these are values. A decline is one too: the issuer said no, and nothing failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Literal, Self

from payswitch.terminal.v1 import terminal_pb2 as wire


class _WireEnum(IntEnum):
    """An enum of the protocol, by its numbers; what a newer switch adds reads as UNSPECIFIED."""

    @classmethod
    def _missing_(cls, value: object) -> Self:
        return cls(0)


class Kind(_WireEnum):
    """What is asked of the issuer."""

    UNSPECIFIED = 0
    PURCHASE = 1
    PREAUTHORIZATION = 2


class EntryMode(_WireEnum):
    """How the card was read."""

    UNSPECIFIED = 0
    CHIP = 1
    CONTACTLESS = 2
    MAGNETIC_STRIPE = 3
    MANUAL = 4
    ECOMMERCE = 5
    STORED_CREDENTIAL = 6


class RetryAdvice(_WireEnum):
    """What may be done after an answer."""

    UNSPECIFIED = 0
    NONE = 1
    NEW_PAYMENT_LATER = 2
    NOT_WITH_THIS_CARD = 3
    FIX_AND_NEW_PAYMENT = 4


class ReversalReason(_WireEnum):
    """Why a terminal reverses."""

    UNSPECIFIED = 0
    CANCELLED = 1
    COULD_NOT_COMPLETE = 2
    TIMED_OUT = 3


class ReversalStatus(_WireEnum):
    """Where a payment's reversal stands. OWED means custody: the switch will see it through."""

    UNSPECIFIED = 0
    NONE = 1
    OWED = 2
    ACKNOWLEDGED = 3


class PaymentState(_WireEnum):
    """Where a payment is in its life, as the switch knows it."""

    UNSPECIFIED = 0
    RUNNING = 1
    CONCLUDED = 2
    NOT_SENT = 3
    REVERSED_IN_ADVANCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    request_id: str
    response_code: str
    """DE 39 of ISO 8583, two characters."""
    reason: str
    """The same for a person."""
    retry_advice: RetryAdvice
    processor: str
    """The processor that answered; empty when none did."""
    retrieval_reference_number: str
    replayed: bool
    """Whether the outcome was known before this call."""
    reversal: ReversalStatus
    reversed_amount_minor: int
    processing_s: float | None
    """How long the node held the payment; None when no node answered, or when replayed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval(_Answer):
    """The issuer said yes, to ``approved_amount_minor``: perhaps less than was asked."""

    approved: ClassVar[Literal[True]] = True
    approved_amount_minor: int
    currency: str
    authorization_code: str
    """DE 38, up to 6 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decline(_Answer):
    """The issuer said no, or the switch did for it; ``reason`` says why."""

    approved: ClassVar[Literal[False]] = False


def answer_of(response: wire.AuthorizeResponse) -> Approval | Decline | None:
    """Return what the switch said; None if it is neither a yes nor a no."""
    processing = response.processing_duration
    heard = _Answer(
        request_id=response.request_id,
        response_code=response.response_code,
        reason=response.reason,
        retry_advice=RetryAdvice(response.retry_advice),
        processor=response.processor,
        retrieval_reference_number=response.retrieval_reference_number,
        replayed=response.replayed,
        reversal=ReversalStatus(response.reversal),
        reversed_amount_minor=response.reversed_amount.amount_minor,
        processing_s=processing.seconds + processing.nanos / 1e9
        if response.HasField("processing_duration")
        else None,
    )
    common = {name: getattr(heard, name) for name in _Answer.__slots__}
    if response.status == wire.AUTHORIZATION_STATUS_APPROVED:
        return Approval(
            approved_amount_minor=response.approved_amount.amount_minor,
            currency=response.approved_amount.currency,
            authorization_code=response.authorization_code,
            **common,
        )
    if response.status == wire.AUTHORIZATION_STATUS_DECLINED:
        return Decline(**common)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal:
    """What became of a reversal."""

    request_id: str
    original_request_id: str
    reversal: ReversalStatus
    reversed_amount_minor: int
    """How much of the payment is reversed in all."""
    currency: str
    replayed: bool
    original_known: bool
    """Whether the switch knew the payment; if it did not, the payment will be declined."""


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """One thing that happened to a payment."""

    at_ms: int
    """Wall-clock milliseconds since 1970, by the switch's clock."""
    event: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """What the switch knows of a payment."""

    state: PaymentState
    answer: Approval | Decline | None
    """When concluded."""
    timeline: tuple[TimelineEvent, ...]
    """Oldest first."""
