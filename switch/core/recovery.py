"""What a restart makes of a payment that was running: one pure step.

Nothing is sent again after a restart: the card's envelope is gone with the process, and whether the
node still has what we handed over cannot be known. So an attempt that was open is in doubt, whether
or not anything of it ever left, and its reversal is owed; the terminal, should it ask, is told 91.

Two kinds of payment run without an open attempt: its terminal's reversal had come in between and
had made the attempt owed already, or had ended it unsent. Those are concluded, and owe nothing new.

Recovery goes by what is open in the journal, never by what was meant to happen next.
"""

from __future__ import annotations

from switch.core.identity import retrieval_reference_number, reversal_reference
from switch.core.message import (
    Answer,
    Conclusion,
    OwedReversal,
    ReversalReason,
    ReversalStatus,
    StoredPayment,
)
from switch.core.response_code import INOPERATIVE
from switch.core.transaction import OPEN, AttemptEvent, advance


def recovered(stored: StoredPayment, at_ms: int) -> Conclusion:
    """Return how a payment ends that the journal says is running, at a start."""
    attempt = stored.attempts[-1]
    nothing = stored.amount.nothing()
    owed = None
    state = attempt.state
    if state in OPEN:
        state = advance(state, AttemptEvent.GIVE_UP).state
        owed = OwedReversal(
            reversal_reference=reversal_reference(attempt.reference),
            reference=attempt.reference,
            key=stored.key,
            ordinal=attempt.ordinal,
            ledger=attempt.ledger,
            full=True,
            amount=stored.amount,
            reason=ReversalReason.TIMED_OUT,
            owed_at_ms=at_ms,
        )
    answer = Answer(
        approved=False,
        response_code=INOPERATIVE,
        approved_amount=nothing,
        authorization_code="",
        processor=attempt.processor,
        retrieval_reference_number=retrieval_reference_number(attempt.reference),
        replayed=False,
        reversal=ReversalStatus.NONE if owed is None else ReversalStatus.OWED,
        reversed_amount=nothing,
        processing_s=None,
    )
    return Conclusion(
        key=stored.key,
        ordinal=attempt.ordinal,
        state=state,
        doubted=attempt.doubted or owed is not None,
        answer=answer,
        node_answer_code=attempt.node_answer_code,
        owed=owed,
        why="restarted",
        at_ms=at_ms,
    )
