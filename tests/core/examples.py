"""Payments, answers and reversals, as the tests of the core ask for them."""

from typing import Any

from switch.core.identity import retrieval_reference_number
from switch.core.message import (
    Answer,
    AuthorizationRequest,
    Disposition,
    Envelope,
    Kind,
    NodeAnswer,
    OwedReversal,
    PaymentKey,
    PaymentState,
    ReversalReason,
    ReversalRequest,
    ReversalStatus,
    StoredAttempt,
    StoredPayment,
)
from switch.core.money import Money
from switch.core.payment import Attempt, Payment
from switch.core.processor import Processor
from switch.core.routing import NodeSettings, Permit, RoutingSettings, RoutingTable
from switch.core.transaction import OPEN, AttemptState

AT_MS = 1_800_000_000_000
KEY = PaymentKey("T-1", bytes(range(16)))
REVERSAL_KEY = PaymentKey("T-1", bytes(range(16, 32)))
REFERENCE = b"reference-of-one"
TWELVE_FIFTY = Money(1250, "EUR")
EUR_0 = Money(0, "EUR")

CLOSED = sorted(set(AttemptState) - OPEN)
"""The states of an attempt that is waited for no more."""


def request(**changes: Any) -> AuthorizationRequest:
    """Return what a terminal asks: a purchase of 12.50 EUR that processor P and Q can open."""
    fields: dict[str, Any] = {
        "key": KEY,
        "request_id": "00010203-0405-0607-0809-0a0b0c0d0e0f",
        "kind": Kind.PURCHASE,
        "amount": TWELVE_FIFTY,
        "bin": "411111",
        "last_four": "1111",
        "envelopes": {"P": Envelope("k1", b"sealed"), "Q": Envelope("k2", b"sealed")},
        "entry_mode": 1,
        "merchant_id": "M-1",
        "merchant_category_code": "5411",
        "country": "DE",
        "terminal_time_ms": AT_MS,
        "accepts_partial": False,
        "timeout_s": 3.0,
        "fingerprint": bytes(16),
    }
    return AuthorizationRequest(**fields | changes)


def payment(now: float = 0.0, **changes: Any) -> Payment:
    """Return a payment that was accepted at ``now`` and is decided within three seconds."""
    asked = changes.pop("request", None) or request()
    return Payment(asked, now, now + 3.0, [], **changes)


def attempt(state: AttemptState = AttemptState.INTENDED, **changes: Any) -> Attempt:
    """Return the newest attempt of a payment, at ledger L of processor P."""
    fields: dict[str, Any] = {
        "payment": changes.pop("payment", None) or payment(),
        "ordinal": 0,
        "reference": REFERENCE,
        "retrieval_reference_number": retrieval_reference_number(REFERENCE),
        "processor": Processor("P"),
        "ledger": "L",
        "state": state,
    }
    made = Attempt(**fields | changes)
    made.payment.attempts.append(made)
    return made


def said(code: str = "00", **changes: Any) -> NodeAnswer:
    """Return a node's answer; an approval is for all of 12.50."""
    fields: dict[str, Any] = {
        "sending_number": 1,
        "reference": REFERENCE,
        "disposition": Disposition.PROCESSED,
        "response_code": code,
        "approved_amount_minor": 1250 if code == "00" else 0,
        "authorization_code": "A12345" if code == "00" else "",
        "processing_s": 0.004,
    }
    return NodeAnswer(**fields | changes)


def told(*, approved: bool = True, **changes: Any) -> Answer:
    """Return what a terminal was told, as the journal gives it back."""
    fields: dict[str, Any] = {
        "approved": approved,
        "response_code": "00" if approved else "05",
        "approved_amount": TWELVE_FIFTY if approved else EUR_0,
        "authorization_code": "A12345" if approved else "",
        "processor": "P",
        "retrieval_reference_number": "000000000001",
        "replayed": True,
        "reversal": ReversalStatus.NONE,
        "reversed_amount": EUR_0,
        "processing_s": None,
    }
    return Answer(**fields | changes)


def stored_attempt(state: AttemptState, **changes: Any) -> StoredAttempt:
    """Return an attempt as the journal gives it back."""
    fields: dict[str, Any] = {
        "ordinal": 0,
        "reference": REFERENCE,
        "ledger": "L",
        "processor": "P",
        "node": "P-1",
        "state": state,
        "doubted": False,
        "node_answer_code": "",
        "approved_amount_minor": 0,
    }
    return StoredAttempt(**fields | changes)


def stored(
    state: PaymentState, attempt_state: AttemptState, answer: Answer | None = None
) -> StoredPayment:
    """Return a payment as the journal gives it back, with one attempt."""
    return StoredPayment(
        KEY, bytes(16), state, TWELVE_FIFTY, answer, [stored_attempt(attempt_state)]
    )


def wish(amount: Money | None = None, **changes: Any) -> ReversalRequest:
    """Return a terminal's wish to reverse the payment."""
    fields: dict[str, Any] = {
        "key": REVERSAL_KEY,
        "original": KEY,
        "amount": amount,
        "reason": ReversalReason.CANCELLED,
        "timeout_s": 3.0,
    }
    return ReversalRequest(**fields | changes)


def owed(number: int = 0, reference: bytes = REFERENCE, ledger: str = "L") -> OwedReversal:
    """Return an owed reversal; two numbers are two reversals."""
    return OwedReversal(
        reversal_reference=number.to_bytes(16, "big"),
        reference=reference,
        key=KEY,
        ordinal=0,
        ledger=ledger,
        full=True,
        amount=TWELVE_FIFTY,
        reason=ReversalReason.TIMED_OUT,
        owed_at_ms=AT_MS + number,
    )


def routing(*places: str, limit: int = 128, ready: bool = True, now: float = 0.0) -> RoutingTable:
    """Return the table of some nodes: "P-1/L" is node P-1 of processor P, before ledger L."""
    nodes = []
    for place in places:
        name, _, ledger = place.partition("/")
        processor = name.partition("-")[0]
        nodes.append(NodeSettings(name, processor, ledger, f"{name}:9000", limit=limit))
    table = RoutingTable(nodes, RoutingSettings(), Fixed(), now)
    if ready:
        for node in table.nodes.values():
            node.link_ready(now)
    return table


def permit(place: str = "P-1/L") -> Permit:
    """Return a slot at a node."""
    found = routing(place).admit(place.partition("-")[0], 0.0)
    assert isinstance(found, Permit)
    return found


class Fixed:
    """A source of numbers that always gives the same."""

    def __init__(self, number: float = 0.0) -> None:
        """Give ``number``, in [0, 1)."""
        self.number = number

    def random(self) -> float:
        """Return the number."""
        return self.number


def unheard(*_: object) -> None:
    """Take what nobody asks about."""
