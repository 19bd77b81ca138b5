"""What a restart makes of payments that were running."""

import pytest

from switch.core.identity import reversal_reference
from switch.core.message import (
    PaymentKey,
    PaymentState,
    ReversalReason,
    ReversalStatus,
    StoredAttempt,
    StoredPayment,
)
from switch.core.money import Money
from switch.core.recovery import recovered
from switch.core.transaction import OPEN, AttemptState

REFERENCE = bytes(range(16))


def running(state: AttemptState) -> StoredPayment:
    """Return a payment whose last attempt is in ``state``."""
    first = StoredAttempt(
        0, bytes(16), "acme-ledger", "acme", "acme-1", AttemptState.FAILED, False, "92", 0
    )
    last = StoredAttempt(1, REFERENCE, "zenith-ledger", "zenith", "zenith-1", state, False, "", 0)
    return StoredPayment(
        key=PaymentKey("T-1", bytes(16)),
        fingerprint=bytes(16),
        state=PaymentState.RUNNING,
        amount=Money(1000, "EUR"),
        answer=None,
        attempts=[first, last],
    )


@pytest.mark.parametrize("state", sorted(OPEN))
def test_an_open_attempt_is_in_doubt_and_its_reversal_owed(state: AttemptState) -> None:
    conclusion = recovered(running(state), at_ms=7000)
    assert (conclusion.ordinal, conclusion.state) == (1, AttemptState.OWED)
    assert (conclusion.doubted, conclusion.why, conclusion.at_ms) == (True, "restarted", 7000)
    owed = conclusion.owed
    assert owed is not None
    assert owed.reversal_reference == reversal_reference(REFERENCE)
    assert (owed.reference, owed.ledger, owed.ordinal) == (REFERENCE, "zenith-ledger", 1)
    assert (owed.full, owed.reason) == (True, ReversalReason.TIMED_OUT)
    assert (owed.amount, owed.owed_at_ms) == (Money(1000, "EUR"), 7000)
    answer = conclusion.answer
    assert answer is not None
    assert (answer.approved, answer.response_code) == (False, "91")
    assert (answer.processor, answer.reversal) == ("zenith", ReversalStatus.OWED)
    assert (answer.replayed, answer.processing_s) == (False, None)
    assert answer.approved_amount == answer.reversed_amount == Money(0, "EUR")


@pytest.mark.parametrize("state", [AttemptState.OWED, AttemptState.REVERSED, AttemptState.NOT_SENT])
def test_an_attempt_its_terminal_had_reversed_owes_nothing_new(state: AttemptState) -> None:
    conclusion = recovered(running(state), at_ms=7000)
    assert conclusion.state is state
    assert conclusion.owed is None
    assert not conclusion.doubted
    assert conclusion.answer is not None
    assert conclusion.answer.response_code == "91"
    assert conclusion.answer.reversal is ReversalStatus.NONE
