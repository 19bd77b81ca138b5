"""A late answer to an attempt that has left memory: one pure reading of it.

Answers that come while their attempt is still in memory are read there; this is for those that come
after a restart, or after their sending's flight time. Only attempts that were ever in doubt can be
found by their reference, and only those are worth finding: the answer to any other one was given.

An attempt that is still open decides by its own sendings. An answer that reaches it by this way
(a second one to a sending that was answered, or one under a wrong number) is noted and owes
nothing: were it an approval, the repeat will be answered with the same one, and to take it back
here would reverse the very approval its terminal is about to be told.
"""

from __future__ import annotations

from switch.core.evidence import LATE_EVENTS, read_code
from switch.core.identity import reversal_reference
from switch.core.message import (
    Disposition,
    LateAnswer,
    NodeAnswer,
    OwedReversal,
    ReversalReason,
    StoredAttempt,
    StoredPayment,
)
from switch.core.response_code import Code
from switch.core.transaction import OPEN, advance


def late_answer(
    payment: StoredPayment,
    attempt: StoredAttempt,
    node: str,
    said: NodeAnswer,
    codes: dict[str, Code],
    at_ms: int,
) -> LateAnswer:
    """Return the record of a late answer, with what it proves taken and owes back."""
    contradicts, owed = False, None
    if said.disposition is Disposition.PROCESSED:
        evidence = read_code(said, payment.amount.amount_minor, codes)
        happened = LATE_EVENTS.get(evidence.kind)
        if happened is not None and attempt.state not in OPEN:
            step = advance(attempt.state, happened)
            contradicts = step.contradicts
            if step.state is not attempt.state:
                owed = OwedReversal(
                    reversal_reference=reversal_reference(attempt.reference),
                    reference=attempt.reference,
                    key=payment.key,
                    ordinal=attempt.ordinal,
                    ledger=attempt.ledger,
                    full=True,
                    amount=payment.amount,
                    reason=ReversalReason.LATE,
                    owed_at_ms=at_ms,
                )
    return LateAnswer(
        key=payment.key,
        ordinal=attempt.ordinal,
        reference=attempt.reference,
        node=node,
        response_code=said.response_code,
        approved_amount_minor=said.approved_amount_minor,
        delay_ms=0,
        contradicts=contradicts,
        owed=owed,
        at_ms=at_ms,
    )
