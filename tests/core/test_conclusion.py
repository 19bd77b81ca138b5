"""Conclusions: what a terminal is told at a payment's end, and what is owed with it."""

import pytest

from switch.core import conclusion
from switch.core.conclusion import owed_in_full
from switch.core.identity import retrieval_reference_number, reversal_reference
from switch.core.message import (
    Conclusion,
    Disposition,
    OwedReversal,
    ReversalAnswer,
    ReversalReason,
    ReversalStatus,
)
from switch.core.money import Money
from switch.core.response_code import CODES, Meaning
from switch.core.transaction import OPEN, AttemptState
from tests.core.examples import (
    AT_MS,
    CLOSED,
    EUR_0,
    KEY,
    REFERENCE,
    TWELVE_FIFTY,
    attempt,
    payment,
    request,
    said,
    wish,
)


def ends() -> dict[str, Conclusion]:
    """Return one conclusion of each kind."""
    part = said("10", approved_amount_minor=500)
    return {
        "approved": conclusion.approved(attempt(AttemptState.APPROVED), said(), AT_MS),
        "part refused": conclusion.part_refused(attempt(AttemptState.OWED), part, AT_MS),
        "declined": conclusion.declined(attempt(AttemptState.DECLINED), said("51"), AT_MS),
        "given up": conclusion.given_up(attempt(AttemptState.OWED), AT_MS),
        "cancelled unsent": conclusion.cancelled(attempt(AttemptState.NOT_SENT), AT_MS),
        "cancelled in flight": conclusion.cancelled(attempt(AttemptState.OWED), AT_MS),
        "not sent": conclusion.not_sent(attempt(AttemptState.NOT_SENT), AT_MS),
    }


@pytest.mark.parametrize("end", ends())
def test_a_conclusion_names_its_payment_and_attempt(end: str) -> None:
    concluded = ends()[end]
    assert (concluded.key, concluded.ordinal, concluded.at_ms) == (KEY, 0, AT_MS)
    if concluded.answer is not None:
        assert concluded.answer.processor == "P"
        assert not concluded.answer.replayed
        expected = retrieval_reference_number(REFERENCE)
        assert concluded.answer.retrieval_reference_number == expected


@pytest.mark.parametrize("end", ends())
def test_what_is_owed_and_the_outcome_are_written_in_one_record(end: str) -> None:
    concluded = ends()[end]
    told = concluded.answer.reversal if concluded.answer else ReversalStatus.NONE
    assert (concluded.owed is not None) == (concluded.state is AttemptState.OWED)
    assert (told is ReversalStatus.OWED) == (concluded.owed is not None)
    assert concluded.state not in OPEN


@pytest.mark.parametrize("end", ends())
def test_only_an_approval_approves_an_amount(end: str) -> None:
    answer = ends()[end].answer
    if answer is not None:
        assert answer.approved == (end == "approved")
        assert (answer.approved_amount != EUR_0) == answer.approved
        assert bool(answer.authorization_code) == answer.approved
        assert answer.reversed_amount == EUR_0
        meaning = CODES[answer.response_code].meaning
        assert (meaning is Meaning.APPROVED) == answer.approved


def test_an_approval_is_told_as_the_issuer_said_it() -> None:
    taken = attempt(AttemptState.APPROVED, node_code="00")
    concluded = conclusion.approved(taken, said(), AT_MS)
    assert concluded.answer is not None
    assert concluded.answer.response_code == "00"
    assert concluded.answer.approved_amount == TWELVE_FIFTY
    assert concluded.answer.authorization_code == "A12345"
    assert concluded.answer.processing_s == 0.004
    assert concluded.node_answer_code == "00"
    assert concluded.owed is None


def test_a_part_is_told_as_that_part_where_it_is_welcome() -> None:
    part = said("10", approved_amount_minor=500, authorization_code="B1")
    concluded = conclusion.approved(attempt(AttemptState.APPROVED), part, AT_MS)
    assert concluded.answer is not None
    assert concluded.answer.approved_amount == Money(500, "EUR")
    assert concluded.answer.response_code == "10"
    assert concluded.answer.authorization_code == "B1"


def test_a_part_that_is_not_welcome_is_a_decline_and_owed_back() -> None:
    part = said("10", approved_amount_minor=500, authorization_code="B1")
    concluded = conclusion.part_refused(attempt(AttemptState.OWED, node_code="10"), part, AT_MS)
    assert concluded.answer is not None
    assert (concluded.answer.response_code, concluded.answer.processing_s) == ("51", 0.004)
    assert concluded.owed is not None
    assert concluded.owed.full
    assert concluded.owed.amount == Money(500, "EUR")
    assert concluded.owed.reason is ReversalReason.COULD_NOT_COMPLETE
    assert concluded.node_answer_code == "10"


@pytest.mark.parametrize("code", ["05", "51", "41", "15", "90"])
def test_a_decline_is_told_with_the_issuers_code(code: str) -> None:
    concluded = conclusion.declined(attempt(AttemptState.DECLINED), said(code), AT_MS)
    assert concluded.answer is not None
    assert concluded.answer.response_code == code
    assert concluded.owed is None


@pytest.mark.parametrize("code", ["", "00", "05"])
def test_a_reference_reversed_before_it_was_decided_is_told_as_cancelled(code: str) -> None:
    overtaken = said(code, disposition=Disposition.ALREADY_REVERSED)
    concluded = conclusion.declined(attempt(AttemptState.DECLINED), overtaken, AT_MS)
    assert concluded.answer is not None
    assert not concluded.answer.approved
    assert concluded.answer.response_code == "17"


@pytest.mark.parametrize("reason", [ReversalReason.TIMED_OUT, ReversalReason.UNREADABLE])
def test_doubt_given_up_is_told_as_inoperative_and_owed_back_for_its_reason(
    reason: ReversalReason,
) -> None:
    doubtful = attempt(AttemptState.OWED, doubted=True, why="expired", reason=reason)
    concluded = conclusion.given_up(doubtful, AT_MS)
    assert concluded.answer is not None
    assert concluded.answer.response_code == "91"
    assert concluded.answer.processing_s is None
    assert concluded.owed == owed_in_full(doubtful, reason, AT_MS)
    assert (concluded.doubted, concluded.why) == (True, "expired")


def test_a_payment_its_terminal_reversed_in_flight_is_cancelled_and_owed_back() -> None:
    concluded = conclusion.cancelled(attempt(AttemptState.OWED), AT_MS)
    assert concluded.answer is not None
    assert concluded.answer.response_code == "17"
    assert concluded.owed is not None
    assert concluded.owed.reason is ReversalReason.CANCELLED


def test_a_payment_its_terminal_reversed_before_it_was_sent_owes_nothing() -> None:
    concluded = conclusion.cancelled(attempt(AttemptState.NOT_SENT), AT_MS)
    assert concluded.answer is not None
    assert concluded.answer.response_code == "17"
    assert concluded.answer.reversal is ReversalStatus.NONE
    assert concluded.owed is None


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (AttemptState.OWED, ReversalStatus.OWED),
        (AttemptState.NOT_SENT, ReversalStatus.NONE),
    ],
)
def test_the_reversal_of_a_running_payment_leaves_the_owing_to_its_conclusion(
    state: AttemptState, status: ReversalStatus
) -> None:
    asked = wish()
    claim = conclusion.cancellation(attempt(state), asked, AT_MS)
    assert claim.request is asked
    assert claim.answer == ReversalAnswer(status, EUR_0, replayed=False, original_known=True)
    assert (claim.owed, claim.attempt_state, claim.tombstone) == (None, None, False)
    assert claim.at_ms == AT_MS


def test_what_reached_nobody_ends_without_an_answer() -> None:
    concluded = conclusion.not_sent(attempt(AttemptState.NOT_SENT, why="not_sent"), AT_MS)
    assert (concluded.answer, concluded.owed, concluded.why) == (None, None, "not_sent")
    assert not concluded.doubted


@pytest.mark.parametrize("state", CLOSED)
def test_late_answers_are_looked_up_where_the_attempt_was_ever_in_doubt(
    state: AttemptState,
) -> None:
    for doubted in (False, True):
        concluded = conclusion.not_sent(attempt(state, doubted=doubted), AT_MS)
        assert concluded.doubted == (doubted or state is AttemptState.OWED)


def test_in_doubt_all_is_owed_under_the_references_one_name() -> None:
    third = attempt(AttemptState.OWED, ordinal=2, ledger="L2", payment=payment(request=request()))
    assert owed_in_full(third, ReversalReason.LATE, AT_MS) == OwedReversal(
        reversal_reference=reversal_reference(REFERENCE),
        reference=REFERENCE,
        key=KEY,
        ordinal=2,
        ledger="L2",
        full=True,
        amount=TWELVE_FIFTY,
        reason=ReversalReason.LATE,
        owed_at_ms=AT_MS,
        sends=0,
        parked="",
    )
