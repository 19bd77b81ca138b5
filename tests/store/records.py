"""Records as the flow would make them, by number, with whatever a test wants to be different."""

from dataclasses import replace
from typing import Any

from switch.core.identity import fingerprint, reference, reversal_reference
from switch.core.message import (
    Answer,
    AuthorizationRequest,
    Claim,
    Conclusion,
    Envelope,
    Kind,
    LateAnswer,
    OpenAttempt,
    OpenRepeat,
    OwedReversal,
    PaymentKey,
    ReversalAcknowledged,
    ReversalAnswer,
    ReversalClaim,
    ReversalReason,
    ReversalRequest,
    ReversalSent,
    ReversalStatus,
)
from switch.core.money import Money
from switch.core.transaction import AttemptState

SWITCH = "switch-1"
START_MS = 1_790_000_000_000
NOTHING = Money(0, "EUR")


def request_id(number: int) -> bytes:
    """Return a UUIDv7."""
    time = (START_MS + number).to_bytes(6, "big")
    return time + b"\x70\x00\x80" + number.to_bytes(7, "big")


def key(number: int, terminal_id: str = "T-1") -> PaymentKey:
    """Name a payment."""
    return PaymentKey(terminal_id, request_id(number))


def request(
    number: int, amount_minor: int = 1000, terminal_id: str = "T-1"
) -> AuthorizationRequest:
    """Ask for a payment."""
    amount = Money(amount_minor, "EUR")
    return AuthorizationRequest(
        key=key(number, terminal_id),
        request_id=request_id(number).hex(),
        kind=Kind.PURCHASE,
        amount=amount,
        bin="455673",
        last_four="1234",
        envelopes={"acme": Envelope("key-1", b"the sealed card")},
        entry_mode=7,
        merchant_id="M-1",
        merchant_category_code="5411",
        country="DE",
        terminal_time_ms=START_MS + number - 30,
        accepts_partial=True,
        timeout_s=3.0,
        fingerprint=fingerprint(amount, Kind.PURCHASE, "455673", "1234", "M-1"),
    )


def reference_of(name: PaymentKey, ordinal: int) -> bytes:
    """Return an attempt's reference."""
    return reference(SWITCH, name.terminal_id, name.request_id, ordinal)


def claim(number: int, ordinal: int = 0, **request_changes: Any) -> Claim:
    """Claim a payment."""
    asked = request(number, **request_changes)
    return Claim(
        request=asked,
        reference=reference_of(asked.key, ordinal),
        ordinal=ordinal,
        ledger="acme-ledger",
        processor="acme",
        node="acme-1",
        configuration_version=f"configuration-{ordinal}",
        at_ms=START_MS + number,
    )


def approval(amount_minor: int = 1000) -> Answer:
    """Return what a terminal is told that may hand over the goods."""
    return Answer(
        approved=True,
        response_code="00",
        approved_amount=Money(amount_minor, "EUR"),
        authorization_code="A12345",
        processor="acme",
        retrieval_reference_number="123456654321",
        replayed=False,
        reversal=ReversalStatus.NONE,
        reversed_amount=NOTHING,
        processing_s=0.05,
    )


def decline(code: str = "05") -> Answer:
    """Return what a terminal is told that may not."""
    return replace(
        approval(),
        approved=False,
        response_code=code,
        approved_amount=NOTHING,
        authorization_code="",
    )


def owed(name: PaymentKey, ordinal: int = 0, **changes: Any) -> OwedReversal:
    """Return the reversal of whatever was approved by an attempt."""
    found = reference_of(name, ordinal)
    full = OwedReversal(
        reversal_reference=reversal_reference(found),
        reference=found,
        key=name,
        ordinal=ordinal,
        ledger="acme-ledger",
        full=True,
        amount=Money(1000, "EUR"),
        reason=ReversalReason.TIMED_OUT,
        owed_at_ms=START_MS + 500,
    )
    return replace(full, **changes)


def part(name: PaymentKey, amount_minor: int, wish: int, ordinal: int = 0) -> OwedReversal:
    """Return a partial reversal, asked for by the terminal's wish of this number."""
    return owed(
        name,
        ordinal,
        reversal_reference=reversal_reference(reference_of(name, ordinal), request_id(wish)),
        full=False,
        amount=Money(amount_minor, "EUR"),
        reason=ReversalReason.CANCELLED,
    )


def approved(name: PaymentKey, ordinal: int = 0, amount_minor: int = 1000) -> Conclusion:
    """Conclude a payment with the issuer's approval."""
    return Conclusion(
        key=name,
        ordinal=ordinal,
        state=AttemptState.APPROVED,
        doubted=False,
        answer=approval(amount_minor),
        node_answer_code="00",
        owed=None,
        why="",
        at_ms=START_MS + 200,
    )


def declined(name: PaymentKey, ordinal: int = 0) -> Conclusion:
    """Conclude a payment with the issuer's decline."""
    return replace(
        approved(name, ordinal),
        state=AttemptState.DECLINED,
        answer=decline(),
        node_answer_code="05",
    )


def given_up(name: PaymentKey, ordinal: int = 0) -> Conclusion:
    """Conclude a payment whose outcome nobody knows: 91, and the reversal owed."""
    return replace(
        approved(name, ordinal),
        state=AttemptState.OWED,
        doubted=True,
        answer=replace(decline("91"), reversal=ReversalStatus.OWED),
        node_answer_code="",
        owed=owed(name, ordinal),
        why="expired",
    )


def not_sent(name: PaymentKey, ordinal: int = 0) -> Conclusion:
    """Conclude a payment that reached nobody."""
    return replace(
        approved(name, ordinal), state=AttemptState.NOT_SENT, answer=None, node_answer_code=""
    )


def next_attempt(
    name: PaymentKey, ordinal: int = 1, closed_state: AttemptState = AttemptState.FAILED
) -> OpenAttempt:
    """Close a payment's attempt and open the one of this ordinal, at another ledger."""
    return OpenAttempt(
        key=name,
        closes=ordinal - 1,
        closed_state=closed_state,
        closed_code="92",
        reference=reference_of(name, ordinal),
        ordinal=ordinal,
        ledger="zenith-ledger",
        processor="zenith",
        node="zenith-1",
        at_ms=START_MS + 100 + ordinal,
    )


def repeat(name: PaymentKey, ordinal: int = 0, node: str = "acme-2") -> OpenRepeat:
    """Open the repeat of an attempt in doubt."""
    return OpenRepeat(
        key=name,
        ordinal=ordinal,
        reference=reference_of(name, ordinal),
        node=node,
        why="stalled",
        at_ms=START_MS + 150,
    )


def late(name: PaymentKey, ordinal: int = 0, **changes: Any) -> LateAnswer:
    """Record an approval that came too late."""
    found = LateAnswer(
        key=name,
        ordinal=ordinal,
        reference=reference_of(name, ordinal),
        node="acme-1",
        response_code="00",
        approved_amount_minor=1000,
        delay_ms=700,
        contradicts=False,
        owed=None,
        at_ms=START_MS + 900,
    )
    return replace(found, **changes)


def wish(number: int, original: PaymentKey, amount_minor: int | None = None) -> ReversalRequest:
    """Wish that a payment be reversed."""
    return ReversalRequest(
        key=key(number),
        original=original,
        amount=None if amount_minor is None else Money(amount_minor, "EUR"),
        reason=ReversalReason.CANCELLED,
        timeout_s=3.0,
    )


def in_advance(number: int, original: PaymentKey) -> ReversalClaim:
    """Reverse a payment that nobody has seen yet."""
    return ReversalClaim(
        request=wish(number, original),
        tombstone=True,
        owed=None,
        attempt_state=None,
        answer=ReversalAnswer(ReversalStatus.NONE, None, replayed=False, original_known=False),
        at_ms=START_MS + 400,
    )


def reversal(number: int, reversed_: OwedReversal, asked_minor: int | None = None) -> ReversalClaim:
    """Reverse an approved payment, in full or in part."""
    return ReversalClaim(
        request=wish(number, reversed_.key, asked_minor),
        tombstone=False,
        owed=reversed_,
        attempt_state=AttemptState.OWED if reversed_.full else None,
        answer=ReversalAnswer(
            ReversalStatus.OWED, reversed_.amount, replayed=False, original_known=True
        ),
        at_ms=START_MS + 450,
    )


def sent(reversed_: OwedReversal, at_ms: int = START_MS + 600) -> ReversalSent:
    """Tell that a reversal is about to be sent."""
    return ReversalSent(reversed_.reversal_reference, at_ms)


def acknowledged(reversed_: OwedReversal, at_ms: int = START_MS + 700) -> ReversalAcknowledged:
    """Tell that the ledger has acknowledged a reversal."""
    return ReversalAcknowledged(reversed_.reversal_reference, "acme-2", "00", at_ms)
