"""What a request is answered whose id is known already: one pure decision.

    another request under this id    REQUEST_ID_REUSED, no effect
    concluded                        the stored answer, for ever
    reversed in advance              declined: its terminal did not want it
    ended not sent                   it reached nobody: this time it may run
    running, and not here            only while the journal fails: the outcome is not known

A tombstone has no fingerprint, because nothing was asked yet when it was made; whatever is asked
under its id was reversed.
"""

from __future__ import annotations

from switch.core.message import (
    Answer,
    AuthorizationRequest,
    PaymentState,
    Refused,
    ReversalStatus,
    StoredPayment,
)
from switch.core.response_code import CANCELLED

REUSED = Refused("REQUEST_ID_REUSED", "another request was made under this request_id")


def replay(request: AuthorizationRequest, stored: StoredPayment) -> Answer | Refused | None:
    """Return what the request is answered, or None if it may run."""
    if stored.state is PaymentState.REVERSED_IN_ADVANCE:
        return _reversed_in_advance(request)
    if request.fingerprint != stored.fingerprint:
        return REUSED
    if stored.state is PaymentState.NOT_SENT:
        return None
    if stored.answer is None:
        return Refused("OUTCOME_UNKNOWN", "the payment's outcome is not known")
    return stored.answer


def _reversed_in_advance(request: AuthorizationRequest) -> Answer:
    nothing = request.amount.nothing()
    return Answer(
        approved=False,
        response_code=CANCELLED,
        approved_amount=nothing,
        authorization_code="",
        processor="",
        retrieval_reference_number="",
        replayed=True,
        reversal=ReversalStatus.NONE,
        reversed_amount=nothing,
        processing_s=None,
    )
