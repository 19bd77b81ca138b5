"""Replays: what a request is answered whose id is known already."""

import pytest

from switch.core.message import (
    AuthorizationRequest,
    PaymentState,
    Refused,
    ReversalStatus,
    StoredPayment,
)
from switch.core.replay import REUSED, replay
from switch.core.transaction import AttemptState
from switch.errors import REASONS
from tests.core.examples import EUR_0, KEY, TWELVE_FIFTY, request, stored, told

SAME = request()
OTHER = request(fingerprint=b"something else..")


def known(state: PaymentState) -> StoredPayment:
    """Return a payment in a state, with the answer that it has in it."""
    answer = told() if state is PaymentState.CONCLUDED else None
    return stored(state, AttemptState.APPROVED, answer)


def test_the_same_request_gets_the_stored_answer() -> None:
    concluded = known(PaymentState.CONCLUDED)
    assert replay(SAME, concluded) is concluded.answer


@pytest.mark.parametrize("state", sorted(set(PaymentState) - {PaymentState.REVERSED_IN_ADVANCE}))
def test_another_request_under_a_known_id_is_refused_whatever_became_of_the_first(
    state: PaymentState,
) -> None:
    assert replay(OTHER, known(state)) is REUSED
    assert REUSED.reason == "REQUEST_ID_REUSED"
    assert REUSED.reason in REASONS


def test_what_ended_not_sent_may_run() -> None:
    assert replay(SAME, known(PaymentState.NOT_SENT)) is None


def test_what_was_claimed_and_has_no_outcome_is_not_guessed() -> None:
    refusal = replay(SAME, known(PaymentState.RUNNING))
    assert isinstance(refusal, Refused)
    assert refusal.reason == "OUTCOME_UNKNOWN"


@pytest.mark.parametrize("asked", [SAME, OTHER], ids=["one", "another"])
def test_whatever_is_asked_under_an_id_reversed_in_advance_is_declined(
    asked: AuthorizationRequest,
) -> None:
    tombstone = StoredPayment(KEY, b"", PaymentState.REVERSED_IN_ADVANCE, TWELVE_FIFTY, None)
    assert replay(asked, tombstone) == told(
        approved=False,
        response_code="17",
        processor="",
        retrieval_reference_number="",
        reversal=ReversalStatus.NONE,
        approved_amount=EUR_0,
        reversed_amount=EUR_0,
    )
