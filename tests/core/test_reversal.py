"""A terminal's reversal: what it does, by what is known of the payment it names."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from switch.core.identity import reversal_reference
from switch.core.message import (
    Answer,
    OwedReversal,
    PaymentState,
    Refused,
    ReversalAnswer,
    ReversalClaim,
    ReversalReason,
    ReversalStatus,
    StoredPayment,
)
from switch.core.money import Money
from switch.core.reversal import decide
from switch.core.transaction import AttemptState
from switch.errors import REASONS
from tests.core.examples import (
    AT_MS,
    EUR_0,
    KEY,
    REFERENCE,
    REVERSAL_KEY,
    TWELVE_FIFTY,
    stored,
    told,
    wish,
)


def euros(amount_minor: int) -> Money:
    """Return an amount in euros."""
    return Money(amount_minor, "EUR")


def approved(
    reversed_minor: int = 0,
    reversal: ReversalStatus = ReversalStatus.OWED,
    state: AttemptState = AttemptState.APPROVED,
) -> StoredPayment:
    """Return an approved payment of which a part, or all, is reversed."""
    if reversed_minor == 0:
        reversal = ReversalStatus.NONE
    answer = told(reversal=reversal, reversed_amount=euros(reversed_minor))
    return stored(PaymentState.CONCLUDED, state, answer)


def declined(reversal: ReversalStatus, state: AttemptState) -> StoredPayment:
    """Return a payment that was not approved."""
    return stored(PaymentState.CONCLUDED, state, told(approved=False, reversal=reversal))


def claimed(amount: Money | None, payment: StoredPayment | None) -> ReversalClaim:
    """Decide, and return the claim."""
    decided = decide(wish(amount), payment, AT_MS)
    assert isinstance(decided, ReversalClaim)
    assert (decided.request.key, decided.at_ms) == (REVERSAL_KEY, AT_MS)
    return decided


def refused(amount: Money | None, payment: StoredPayment | None) -> Refused:
    """Decide, and return the refusal."""
    decided = decide(wish(amount), payment, AT_MS)
    assert isinstance(decided, Refused)
    assert decided.reason in REASONS
    return decided


NOTHING_DONE = (None, None)


@pytest.mark.parametrize("amount", [None, TWELVE_FIFTY])
def test_the_reversal_of_an_unknown_payment_is_remembered_against_it(amount: Money | None) -> None:
    claim = claimed(amount, None)
    assert claim.tombstone
    assert claim.answer == ReversalAnswer(ReversalStatus.NONE, None, False, original_known=False)
    assert (claim.owed, claim.attempt_state) == NOTHING_DONE


def test_the_reversal_of_a_payment_that_was_not_sent_is_remembered_against_it() -> None:
    claim = claimed(None, stored(PaymentState.NOT_SENT, AttemptState.NOT_SENT))
    assert claim.tombstone
    assert claim.answer == ReversalAnswer(ReversalStatus.NONE, None, False, original_known=True)
    assert (claim.owed, claim.attempt_state) == NOTHING_DONE


def test_a_payment_reversed_in_advance_needs_no_second_tombstone() -> None:
    tombstone = StoredPayment(KEY, b"", PaymentState.REVERSED_IN_ADVANCE, Money(0, "XXX"), None)
    claim = claimed(TWELVE_FIFTY, tombstone)
    assert not claim.tombstone
    assert claim.answer == ReversalAnswer(ReversalStatus.NONE, None, False, original_known=False)
    assert (claim.owed, claim.attempt_state) == NOTHING_DONE


def test_a_payment_that_runs_elsewhere_is_not_decided_here() -> None:
    running = stored(PaymentState.RUNNING, AttemptState.INTENDED)
    assert refused(None, running).reason == "OUTCOME_UNKNOWN"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (ReversalStatus.NONE, AttemptState.DECLINED),
        (ReversalStatus.NONE, AttemptState.FAILED),
        (ReversalStatus.NONE, AttemptState.NOT_SENT),
        (ReversalStatus.OWED, AttemptState.OWED),
        (ReversalStatus.ACKNOWLEDGED, AttemptState.REVERSED),
    ],
)
@pytest.mark.parametrize("amount", [None, TWELVE_FIFTY, euros(1)])
def test_what_was_not_approved_owes_no_more_than_it_did(
    amount: Money | None, status: ReversalStatus, state: AttemptState
) -> None:
    claim = claimed(amount, declined(status, state))
    assert claim.answer == ReversalAnswer(status, EUR_0, replayed=False, original_known=True)
    assert (claim.owed, claim.attempt_state, claim.tombstone) == (None, None, False)


@pytest.mark.parametrize("amount", [None, TWELVE_FIFTY])
def test_all_of_an_approval_is_owed_in_full_under_the_references_one_name(
    amount: Money | None,
) -> None:
    claim = claimed(amount, approved())
    assert not claim.tombstone
    assert claim.attempt_state is AttemptState.OWED
    assert claim.answer == ReversalAnswer(ReversalStatus.OWED, TWELVE_FIFTY, False, True)
    assert claim.owed == OwedReversal(
        reversal_reference=reversal_reference(REFERENCE),
        reference=REFERENCE,
        key=KEY,
        ordinal=0,
        ledger="L",
        full=True,
        amount=TWELVE_FIFTY,
        reason=ReversalReason.CANCELLED,
        owed_at_ms=AT_MS,
    )


def test_a_part_is_owed_under_a_name_of_its_own_and_the_rest_stays_approved() -> None:
    claim = claimed(euros(500), approved())
    assert claim.attempt_state is None
    assert claim.answer == ReversalAnswer(ReversalStatus.OWED, euros(500), False, True)
    assert claim.owed is not None
    assert (claim.owed.full, claim.owed.amount) == (False, euros(500))
    assert claim.owed.reversal_reference == reversal_reference(REFERENCE, REVERSAL_KEY.request_id)


def test_after_a_part_the_rest_is_reversed_by_its_amount() -> None:
    claim = claimed(None, approved(500))
    assert claim.attempt_state is None
    assert claim.answer.reversed_amount == TWELVE_FIFTY
    assert claim.owed is not None
    assert (claim.owed.full, claim.owed.amount) == (False, euros(750))


@pytest.mark.parametrize("amount", [None, TWELVE_FIFTY])
@pytest.mark.parametrize(
    ("status", "state"),
    [
        (ReversalStatus.OWED, AttemptState.OWED),
        (ReversalStatus.ACKNOWLEDGED, AttemptState.REVERSED),
        (ReversalStatus.ACKNOWLEDGED, AttemptState.APPROVED),  # in parts
    ],
)
def test_what_is_all_reversed_is_successfully_reversed_again(
    amount: Money | None, status: ReversalStatus, state: AttemptState
) -> None:
    claim = claimed(amount, approved(1250, status, state))
    assert claim.answer == ReversalAnswer(status, TWELVE_FIFTY, False, original_known=True)
    assert (claim.owed, claim.attempt_state, claim.tombstone) == (None, None, False)


@pytest.mark.parametrize(
    ("wanted", "reversed_minor"), [(1251, 0), (751, 500), (1250, 1), (1, 1250), (500, 1250)]
)
def test_no_more_is_reversed_than_was_approved(wanted: int, reversed_minor: int) -> None:
    refusal = refused(euros(wanted), approved(reversed_minor))
    assert refusal.reason == "REVERSAL_EXCEEDS_APPROVAL"
    assert "12.50 EUR was approved" in refusal.detail
    assert euros(reversed_minor).text() in refusal.detail


def test_a_reversal_in_another_currency_is_refused() -> None:
    for payment in (approved(), declined(ReversalStatus.NONE, AttemptState.DECLINED)):
        refusal = refused(Money(1250, "USD"), payment)
        assert refusal.reason == "FIELD_INVALID"
        assert "EUR" in refusal.detail


@given(st.lists(st.integers(1, 1500) | st.none(), max_size=6))
def test_the_reversals_of_a_payment_sum_up_to_at_most_its_approval(
    wishes: list[int | None],
) -> None:
    answer: Answer = told()
    payment = stored(PaymentState.CONCLUDED, AttemptState.APPROVED, answer)
    owed: list[OwedReversal] = []
    for amount in wishes:
        decided = decide(wish(None if amount is None else euros(amount)), payment, AT_MS)
        if isinstance(decided, ReversalClaim) and decided.owed is not None:
            owed.append(decided.owed)
            assert decided.answer.reversed_amount is not None
            answer.reversed_amount = decided.answer.reversed_amount
            answer.reversal = ReversalStatus.OWED
            payment.attempts[-1].state = decided.attempt_state or payment.attempts[-1].state
    assert sum(each.amount.amount_minor for each in owed) == answer.reversed_amount.amount_minor
    assert answer.reversed_amount.amount_minor <= 1250
    assert all(each.amount.amount_minor > 0 for each in owed)
    assert not any(each.full for each in owed[1:])


@given(st.integers(1, 1250), st.integers(0, 1250))
def test_a_reversal_in_full_is_one_of_all_that_was_approved(wanted: int, before: int) -> None:
    assume(before + wanted <= 1250)
    claim = claimed(euros(wanted), approved(before))
    assert claim.owed is not None
    assert claim.owed.full == (wanted == 1250)
    assert (claim.attempt_state is AttemptState.OWED) == claim.owed.full
    assert claim.answer.reversed_amount == euros(before + wanted)
