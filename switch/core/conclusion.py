"""From an attempt's end to what the terminal is told and what is owed: one pure step.

Nobody is answered here. What is made here is written in one commit, and only then told. Four ends:

* a final answer: the terminal is told what the issuer said;
* an approval for a part, at a terminal that cannot take parts: told as a decline, and the approval
  is owed back, in the same commit;
* doubt given up: told 91, and "whatever was approved" is owed back;
* the terminal's own reversal overtook the answer: told 17, and whatever comes is owed back.

Reversals are always full here: a partial one is only ever asked for by a terminal, after an answer.
"""

from __future__ import annotations

from switch.core.identity import reversal_reference
from switch.core.message import (
    Answer,
    Conclusion,
    Disposition,
    NodeAnswer,
    OwedReversal,
    ReversalAnswer,
    ReversalClaim,
    ReversalReason,
    ReversalRequest,
    ReversalStatus,
)
from switch.core.money import Money
from switch.core.payment import Attempt
from switch.core.response_code import CANCELLED, INOPERATIVE, INSUFFICIENT
from switch.core.transaction import AttemptState


def approved(attempt: Attempt, said: NodeAnswer, at_ms: int) -> Conclusion:
    """Return the conclusion of an approval the terminal can take."""
    nothing = attempt.payment.request.amount.nothing()
    answer = Answer(
        approved=True,
        response_code=said.response_code,
        approved_amount=Money(said.approved_amount_minor, nothing.currency),
        authorization_code=said.authorization_code,
        processor=attempt.processor.name,
        retrieval_reference_number=attempt.retrieval_reference_number,
        replayed=False,
        reversal=ReversalStatus.NONE,
        reversed_amount=nothing,
        processing_s=said.processing_s,
    )
    return _conclusion(attempt, answer, None, at_ms)


def part_refused(attempt: Attempt, said: NodeAnswer, at_ms: int) -> Conclusion:
    """Return the conclusion of a partial approval at a terminal that cannot take it."""
    amount = Money(said.approved_amount_minor, attempt.payment.request.amount.currency)
    answer = _decline(attempt, INSUFFICIENT, said.processing_s)
    answer.reversal = ReversalStatus.OWED
    owed = owed_in_full(attempt, ReversalReason.COULD_NOT_COMPLETE, at_ms)
    owed.amount = amount
    return _conclusion(attempt, answer, owed, at_ms)


def declined(attempt: Attempt, said: NodeAnswer, at_ms: int) -> Conclusion:
    """Return the conclusion of a decline, or of a technical answer that found no other ledger."""
    # Only a processed item has a code; a reference reversed before it was decided has none.
    code = said.response_code if said.disposition is Disposition.PROCESSED else CANCELLED
    return _conclusion(attempt, _decline(attempt, code, said.processing_s), None, at_ms)


def given_up(attempt: Attempt, at_ms: int) -> Conclusion:
    """Return the conclusion of doubt: 91, and the reversal owed."""
    answer = _decline(attempt, INOPERATIVE, None)
    answer.reversal = ReversalStatus.OWED
    return _conclusion(attempt, answer, owed_in_full(attempt, attempt.reason, at_ms), at_ms)


def cancelled(attempt: Attempt, at_ms: int) -> Conclusion:
    """Return the conclusion of a payment its terminal reversed while it ran."""
    answer = _decline(attempt, CANCELLED, None)
    owed = None
    if attempt.state is AttemptState.OWED:
        answer.reversal = ReversalStatus.OWED
        owed = owed_in_full(attempt, ReversalReason.CANCELLED, at_ms)
    return _conclusion(attempt, answer, owed, at_ms)


def cancellation(attempt: Attempt, wish: ReversalRequest, at_ms: int) -> ReversalClaim:
    """Return the terminal's reversal that ended a running payment; the conclusion owes."""
    owed = attempt.state is AttemptState.OWED
    status = ReversalStatus.OWED if owed else ReversalStatus.NONE
    nothing = attempt.payment.request.amount.nothing()
    answer = ReversalAnswer(status, nothing, replayed=False, original_known=True)
    return ReversalClaim(wish, False, None, None, answer, at_ms)


def not_sent(attempt: Attempt, at_ms: int) -> Conclusion:
    """Return the conclusion of a payment that reached nobody; it may be claimed again."""
    return _conclusion(attempt, None, None, at_ms)


def owed_in_full(attempt: Attempt, reason: ReversalReason, at_ms: int) -> OwedReversal:
    """Return the reversal of whatever was approved under the attempt's reference."""
    return OwedReversal(
        reversal_reference=reversal_reference(attempt.reference),
        reference=attempt.reference,
        key=attempt.payment.request.key,
        ordinal=attempt.ordinal,
        ledger=attempt.ledger,
        full=True,
        amount=attempt.payment.request.amount,
        reason=reason,
        owed_at_ms=at_ms,
    )


def _decline(attempt: Attempt, code: str, processing_s: float | None) -> Answer:
    nothing = attempt.payment.request.amount.nothing()
    return Answer(
        approved=False,
        response_code=code,
        approved_amount=nothing,
        authorization_code="",
        processor=attempt.processor.name,
        retrieval_reference_number=attempt.retrieval_reference_number,
        replayed=False,
        reversal=ReversalStatus.NONE,
        reversed_amount=nothing,
        processing_s=processing_s,
    )


def _conclusion(
    attempt: Attempt, answer: Answer | None, owed: OwedReversal | None, at_ms: int
) -> Conclusion:
    return Conclusion(
        key=attempt.payment.request.key,
        ordinal=attempt.ordinal,
        state=attempt.state,
        doubted=attempt.doubted or attempt.state is AttemptState.OWED,
        answer=answer,
        node_answer_code=attempt.node_code,
        owed=owed,
        why=attempt.why,
        at_ms=at_ms,
    )
