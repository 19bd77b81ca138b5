"""What a terminal's reversal does to a payment that does not run: one pure decision.

The cases, by what the journal knows of the original:

    nothing                    remember it as reversed: its later Authorize is declined
    not sent                   the same, by the same record
    reversed in advance        nothing more to do
    declined                   nothing to reverse
    91, reversal owed          already on its way; the terminal's wish adds nothing
    approved, all reversed     success for who asks for all, in words or by its amount: it is done,
                               or owed already; a further part exceeds the approval
    approved                   owe what is asked, all or a part, never more than is left

A full reversal takes "whatever was approved" under the reference. After a partial one what is left
is reversed by its amount, because the ledger has already given a part back. A part's own reference
is made from the id of the terminal's wish, so that a repeat of it is recognised by the ledger too.
"""

from __future__ import annotations

from switch.core.identity import reversal_reference
from switch.core.message import (
    OwedReversal,
    PaymentState,
    Refused,
    ReversalAnswer,
    ReversalClaim,
    ReversalRequest,
    ReversalStatus,
    StoredPayment,
)
from switch.core.transaction import AttemptEvent, AttemptState, advance


def decide(
    request: ReversalRequest, stored: StoredPayment | None, at_ms: int
) -> ReversalClaim | Refused:
    """Return the record to commit before the terminal is told, or the refusal."""
    if stored is None or stored.state is not PaymentState.CONCLUDED:
        if stored is not None and stored.state is PaymentState.RUNNING:
            return Refused("OUTCOME_UNKNOWN", "the payment is running; repeat this reversal")
        known = stored is not None and stored.state is PaymentState.NOT_SENT
        tombstone = stored is None or known
        answer = ReversalAnswer(ReversalStatus.NONE, None, replayed=False, original_known=known)
        return ReversalClaim(request, tombstone, None, None, answer, at_ms)
    told = stored.answer
    assert told is not None, "a concluded payment has an answer"
    if request.amount is not None and request.amount.currency != stored.amount.currency:
        return Refused(
            "FIELD_INVALID", f"amount.currency: the payment was made in {stored.amount.currency}"
        )
    left = told.approved_amount.minus(told.reversed_amount)
    done = left.amount_minor == 0 and request.amount in (None, told.approved_amount)
    if done or not told.approved:
        answer = ReversalAnswer(
            told.reversal, told.reversed_amount, replayed=False, original_known=True
        )
        return ReversalClaim(request, False, None, None, answer, at_ms)
    wanted = left if request.amount is None else request.amount
    if wanted.amount_minor > left.amount_minor:
        return Refused(
            "REVERSAL_EXCEEDS_APPROVAL",
            f"{told.approved_amount.text()} was approved, {told.reversed_amount.text()} is "
            f"reversed or being reversed",
        )
    attempt = stored.attempts[-1]
    full = wanted == told.approved_amount
    owed = OwedReversal(
        # The full reversal of a reference has one name, whoever asks for it and however often.
        reversal_reference=reversal_reference(
            attempt.reference, b"" if full else request.key.request_id
        ),
        reference=attempt.reference,
        key=stored.key,
        ordinal=attempt.ordinal,
        ledger=attempt.ledger,
        full=full,
        amount=wanted,
        reason=request.reason,
        owed_at_ms=at_ms,
    )
    state: AttemptState | None = None
    if full:
        state = advance(attempt.state, AttemptEvent.VOID).state
    answer = ReversalAnswer(
        ReversalStatus.OWED,
        told.reversed_amount.plus(wanted),
        replayed=False,
        original_known=True,
    )
    return ReversalClaim(request, False, owed, state, answer, at_ms)
