"""The vocabulary: what terminals ask, what nodes answer, what the journal keeps.

Plain records without behaviour; every room speaks in them. Three families:

* downstream, toward terminals: ``AuthorizationRequest`` and ``ReversalRequest`` come in,
  ``Answer``, ``ReversalAnswer`` or ``Refused`` go out;
* upstream, toward nodes: ``Authorization``, ``Reversal`` and ``Inquiry`` are messages, a
  ``Sending`` is one hand-over of one of them to one node, a ``NodeAnswer`` is what came back;
* the journal's records: ``Claim``, ``OpenAttempt``, ``OpenRepeat``, ``Conclusion`` and the rest,
  each one line of what was decided, and ``StoredPayment``, what is read back.

The two clocks never meet: ``..._at`` in upstream records is monotonic seconds, ``..._ms`` in
journal records is wall-clock milliseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from switch.core.money import Money
from switch.core.transaction import AttemptState


class PaymentKey(NamedTuple):
    """What names a payment: the terminal and the 16 bytes of its UUIDv7 request id."""

    terminal_id: str
    request_id: bytes


class Kind(IntEnum):
    """What is asked of the issuer."""

    PURCHASE = 1
    PREAUTHORIZATION = 2


# --- downstream ------------------------------------------------------------------------------


class Envelope(NamedTuple):
    """A card sealed to one processor's key; opaque to the switch."""

    key_id: str
    sealed: bytes


@dataclass(slots=True)
class AuthorizationRequest:
    """A payment as its terminal asked for it, valid in itself."""

    key: PaymentKey
    request_id: str
    """The same id in its 36-character form, as the terminal wrote it, in lower case."""
    kind: Kind
    amount: Money
    bin: str
    last_four: str
    envelopes: dict[str, Envelope]
    """By processor. In memory only: no envelope is ever written down."""
    entry_mode: int
    merchant_id: str
    merchant_category_code: str
    country: str
    terminal_time_ms: int
    accepts_partial: bool
    timeout_s: float
    """How long the terminal waits: its own wish, capped by the maximum and the call's deadline."""
    fingerprint: bytes
    """16 bytes that are equal iff amount, currency, kind, BIN, last four and merchant are."""


class ReversalReason(IntEnum):
    """Why a reversal is sent: message reason codes of ISO 8583:1993, DE 25."""

    CANCELLED = 4000
    LATE = 4006
    COULD_NOT_COMPLETE = 4007
    UNREADABLE = 4020
    TIMED_OUT = 4021


@dataclass(slots=True)
class ReversalRequest:
    """A terminal's wish to reverse one of its payments."""

    key: PaymentKey
    """Names the reversal itself."""
    original: PaymentKey
    amount: Money | None
    """None: all of it."""
    reason: ReversalReason
    timeout_s: float


class ReversalStatus(IntEnum):
    """Where a payment's reversal stands."""

    NONE = 1
    OWED = 2
    ACKNOWLEDGED = 3


@dataclass(slots=True)
class Answer:
    """A decided payment, as its terminal is told."""

    approved: bool
    response_code: str
    """DE 39, two characters."""
    approved_amount: Money
    authorization_code: str
    processor: str
    retrieval_reference_number: str
    replayed: bool
    reversal: ReversalStatus
    reversed_amount: Money
    processing_s: float | None
    """How long the node held the payment; None when unknown or replayed."""


@dataclass(slots=True)
class ReversalAnswer:
    """What became of a terminal's reversal."""

    reversal: ReversalStatus
    reversed_amount: Money | None
    """How much of the payment is reversed in all; None when the payment is not known."""
    replayed: bool
    original_known: bool


class Refused(NamedTuple):
    """This call had no effect (or, OUTCOME_UNKNOWN only, an unknown one)."""

    reason: str
    """One of ``switch.errors.REASONS``."""
    detail: str
    """One sentence for a person; no secrets, no card data."""
    retry_after_s: float | None = None


Reply = Callable[[AuthorizationRequest, "Answer | Refused"], None]
"""Called once for each accepted request, from the event loop, never blocking."""


# --- upstream --------------------------------------------------------------------------------


class Disposition(IntEnum):
    """What a node did with an item; the numbers are those of the protocol."""

    UNREADABLE = 0
    PROCESSED = 1
    NOT_PROCESSED = 2
    IN_PROGRESS = 3
    ALREADY_REVERSED = 4
    KEY_UNKNOWN = 5
    MALFORMED = 6


@dataclass(slots=True)
class Authorization:
    """An authorization request as a node receives it (MTI 0100, repeated 0101)."""

    reference: bytes
    request: AuthorizationRequest
    envelope: Envelope
    repeat: bool
    stan: str
    retrieval_reference_number: str


@dataclass(slots=True)
class Reversal:
    """A reversal as a node receives it (MTI 0420, repeated 0421)."""

    reference: bytes
    reversal_reference: bytes
    repeat: bool
    full: bool
    amount: Money
    reason: ReversalReason


@dataclass(slots=True)
class Inquiry:
    """What became of this reference?"""

    reference: bytes


Message = Authorization | Reversal | Inquiry


@dataclass(slots=True)
class NodeAnswer:
    """A node's answer to one sending."""

    sending_number: int
    reference: bytes
    disposition: Disposition
    response_code: str
    approved_amount_minor: int
    authorization_code: str
    processing_s: float


class Unanswered(IntEnum):
    """What happened to a sending other than an answer."""

    NOT_SENT = 1
    """Provably never left: its frame was not handed to the transport."""
    LINK_LOST = 2
    """Its frame was handed over, then the link ended."""
    EXPIRED = 3
    """Its frame was handed over, and its deadline passed."""
    STALLED = 4
    """Its frame was handed over, and its node fell silent."""


Event = NodeAnswer | Unanswered


# --- the journal's records -------------------------------------------------------------------


@dataclass(slots=True)
class Claim:
    """Claim the identity and open its first attempt. Result: ``Claimed`` or ``StoredPayment``.

    A payment that ended *not sent* is claimed again by a Claim whose ``ordinal`` is one higher
    than its last; any other existing payment (or another fingerprint) is returned unchanged.
    """

    request: AuthorizationRequest
    reference: bytes
    ordinal: int
    ledger: str
    processor: str
    node: str
    configuration_version: str
    at_ms: int


@dataclass(slots=True)
class OpenAttempt:
    """Close the payment's attempt ``closes`` in ``closed_state`` and open the next one."""

    key: PaymentKey
    closes: int
    """The ordinal of the attempt that ends: NOT_SENT or FAILED or REVERSED."""
    closed_state: AttemptState
    closed_code: str
    reference: bytes
    ordinal: int
    ledger: str
    processor: str
    node: str
    at_ms: int


@dataclass(slots=True)
class OpenRepeat:
    """The attempt is in doubt and its repeat is open (state REPEATING)."""

    key: PaymentKey
    ordinal: int
    reference: bytes
    node: str
    """The node that gets the repeat."""
    why: str
    at_ms: int


@dataclass(slots=True)
class OwedReversal:
    """A reversal the switch owes to a ledger until it is acknowledged or resolved by hand."""

    reversal_reference: bytes
    reference: bytes
    key: PaymentKey
    ordinal: int
    ledger: str
    full: bool
    amount: Money
    """What is reversed; only informative when full."""
    reason: ReversalReason
    owed_at_ms: int
    sends: int = 0
    parked: str = ""
    """Why it is set aside; empty: it is not."""


@dataclass(slots=True)
class Conclusion:
    """The payment's outcome, with what it leaves owed, in one commit."""

    key: PaymentKey
    ordinal: int
    state: AttemptState
    """The attempt's: APPROVED, DECLINED, FAILED, NOT_SENT or OWED."""
    doubted: bool
    """The attempt was in doubt at some time: late answers may come, and are looked up."""
    answer: Answer | None
    """None: ended not sent; the identity may be claimed again."""
    node_answer_code: str
    """What the node said, if it did; the answer's code may be the switch's own."""
    owed: OwedReversal | None
    why: str
    """One word for the timeline, as expired, link_lost, stalled, restarted; empty if plain."""
    at_ms: int


@dataclass(slots=True)
class LateAnswer:
    """An answer to an attempt nobody waited for any more."""

    key: PaymentKey
    ordinal: int
    reference: bytes
    node: str
    response_code: str
    approved_amount_minor: int
    delay_ms: int
    contradicts: bool
    """It differs from an outcome already known: the ledger broke its promise."""
    owed: OwedReversal | None
    """What it proves to have been taken, and is owed back; the attempt is OWED then."""
    at_ms: int


@dataclass(slots=True)
class ReversalClaim:
    """A terminal's reversal: remembered under its own id, with what it leaves owed.

    With ``tombstone`` the original's identity, unknown or ended not sent, is claimed as a
    tombstone: its later Claim returns a StoredPayment in state REVERSED_IN_ADVANCE. If the
    original is anything else by then, nothing is written and it is returned.
    """

    request: ReversalRequest
    tombstone: bool
    owed: OwedReversal | None
    attempt_state: AttemptState | None
    """The original attempt's new state, if it changes."""
    answer: ReversalAnswer
    at_ms: int


@dataclass(slots=True)
class ReversalSent:
    """The reversal is about to be sent once more (written before it is)."""

    reversal_reference: bytes
    at_ms: int


@dataclass(slots=True)
class ReversalAcknowledged:
    """The ledger has acknowledged the reversal."""

    reversal_reference: bytes
    node: str
    response_code: str
    at_ms: int


@dataclass(slots=True)
class ReversalParked:
    """The reversal is set aside for a person."""

    reversal_reference: bytes
    why: str
    at_ms: int


Record = (
    Claim
    | OpenAttempt
    | OpenRepeat
    | Conclusion
    | LateAnswer
    | ReversalClaim
    | ReversalSent
    | ReversalAcknowledged
    | ReversalParked
)


class Claimed(NamedTuple):
    """The identity is ours, and durable."""


class PaymentState(IntEnum):
    """Where a payment is in its life, as the journal knows it."""

    RUNNING = 1
    CONCLUDED = 2
    NOT_SENT = 3
    REVERSED_IN_ADVANCE = 4


@dataclass(slots=True)
class StoredAttempt:
    """One reference's life at one ledger, as the journal knows it."""

    ordinal: int
    reference: bytes
    ledger: str
    processor: str
    node: str
    state: AttemptState
    doubted: bool
    node_answer_code: str
    approved_amount_minor: int


@dataclass(slots=True)
class TimelineEvent:
    """One thing that happened to a payment."""

    at_ms: int
    event: str
    detail: str


@dataclass(slots=True)
class StoredPayment:
    """A payment read back from the journal, as of now."""

    key: PaymentKey
    fingerprint: bytes
    """Empty for a tombstone."""
    state: PaymentState
    amount: Money
    answer: Answer | None
    """With ``replayed`` set, and ``reversal`` and ``reversed_amount`` as of now."""
    attempts: list[StoredAttempt] = field(default_factory=list)
    timeline: list[TimelineEvent] = field(default_factory=list)
