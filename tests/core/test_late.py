"""Late answers to attempts that have left memory: what they prove, and what they owe back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.core.identity import reversal_reference
from switch.core.late import late_answer
from switch.core.message import (
    Disposition,
    LateAnswer,
    NodeAnswer,
    OwedReversal,
    PaymentState,
    ReversalReason,
)
from switch.core.response_code import CODES
from switch.core.transaction import OPEN, AttemptState
from tests.core.examples import AT_MS, CLOSED, KEY, REFERENCE, TWELVE_FIFTY, said, stored

TAKEN_AFTER_ALL = [AttemptState.DECLINED, AttemptState.FAILED, AttemptState.NOT_SENT]


def noted(state: AttemptState, answer: NodeAnswer) -> LateAnswer:
    """Read a late answer to an attempt in a state."""
    payment = stored(PaymentState.CONCLUDED, state)
    return late_answer(payment, payment.attempts[0], "P-2", answer, CODES, AT_MS)


def test_a_late_answer_is_noted_as_it_was_given() -> None:
    assert noted(AttemptState.OWED, said("00")) == LateAnswer(
        key=KEY,
        ordinal=0,
        reference=REFERENCE,
        node="P-2",
        response_code="00",
        approved_amount_minor=1250,
        delay_ms=0,
        contradicts=False,
        owed=None,
        at_ms=AT_MS,
    )


@pytest.mark.parametrize("state", TAKEN_AFTER_ALL)
def test_a_late_approval_contradicts_what_took_no_money_and_is_owed_back(
    state: AttemptState,
) -> None:
    late = noted(state, said("00"))
    assert late.contradicts
    assert late.owed == OwedReversal(
        reversal_reference=reversal_reference(REFERENCE),
        reference=REFERENCE,
        key=KEY,
        ordinal=0,
        ledger="L",
        full=True,
        amount=TWELVE_FIFTY,
        reason=ReversalReason.LATE,
        owed_at_ms=AT_MS,
    )


def test_a_late_approval_of_a_part_is_owed_back_too() -> None:
    assert noted(AttemptState.DECLINED, said("10", approved_amount_minor=1)).owed is not None


@pytest.mark.parametrize("state", [AttemptState.OWED, AttemptState.REVERSED])
@pytest.mark.parametrize("code", ["00", "05", "15", "99"])
def test_what_is_owed_or_reversed_stays_so_whatever_comes_late(
    code: str, state: AttemptState
) -> None:
    late = noted(state, said(code))
    assert (late.contradicts, late.owed) == (False, None)


def test_an_approval_that_was_answered_is_never_taken_back_by_a_late_answer() -> None:
    assert noted(AttemptState.APPROVED, said("00")).owed is None
    contradiction = noted(AttemptState.APPROVED, said("05"))
    assert (contradiction.contradicts, contradiction.owed) == (True, None)


@pytest.mark.parametrize("state", CLOSED)
@pytest.mark.parametrize("disposition", sorted(set(Disposition) - {Disposition.PROCESSED}))
def test_only_a_processed_item_proves_anything_late(
    disposition: Disposition, state: AttemptState
) -> None:
    late = noted(state, said("00", disposition=disposition))
    assert (late.contradicts, late.owed) == (False, None)


@pytest.mark.parametrize("state", CLOSED)
@pytest.mark.parametrize("code", ["09", "94", "68", "99", "??"])
def test_what_leaves_the_money_in_doubt_proves_nothing_late(code: str, state: AttemptState) -> None:
    late = noted(state, said(code))
    assert (late.contradicts, late.owed) == (False, None)


@pytest.mark.parametrize("state", sorted(OPEN))
@pytest.mark.parametrize("code", ["00", "05", "15", "99"])
def test_an_attempt_that_is_still_open_decides_by_its_own_sendings(
    code: str, state: AttemptState
) -> None:
    late = noted(state, said(code))
    assert (late.contradicts, late.owed) == (False, None)


@given(
    st.sampled_from(AttemptState),
    st.sampled_from(Disposition),
    st.sampled_from(sorted(CODES)) | st.text(max_size=2),
    st.integers(-1, 1251),
)
def test_whatever_comes_late_is_noted(
    state: AttemptState, disposition: Disposition, code: str, approved_minor: int
) -> None:
    answer = said(code, disposition=disposition, approved_amount_minor=approved_minor)
    late = noted(state, answer)
    if late.owed is not None:
        assert late.contradicts
        assert state in TAKEN_AFTER_ALL
        assert 0 < approved_minor <= 1250
