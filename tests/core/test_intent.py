"""Intents: what must be durable before anything is sent."""

import pytest

from switch.core import intent
from switch.core.message import Claim, OpenAttempt, OpenRepeat
from switch.core.processor import Processor
from switch.core.transaction import AttemptState
from tests.core.examples import AT_MS, KEY, REFERENCE, attempt, payment


def test_a_claim_holds_the_identity_the_reference_and_who_decided_by_which_rules() -> None:
    first = attempt(ordinal=3)
    asked = first.payment.request
    assert intent.claim(first, "P-1", "v7", AT_MS) == Claim(
        request=asked,
        reference=REFERENCE,
        ordinal=3,
        ledger="L",
        processor="P",
        node="P-1",
        configuration_version="v7",
        at_ms=AT_MS,
    )


@pytest.mark.parametrize(
    ("before_state", "closed_state"),
    [
        (AttemptState.INTENDED, AttemptState.NOT_SENT),
        (AttemptState.FAILED, AttemptState.FAILED),
    ],
)
def test_the_next_attempt_closes_the_one_before_in_the_same_record(
    before_state: AttemptState, closed_state: AttemptState
) -> None:
    paid = payment()
    before = attempt(before_state, payment=paid, node_code="92")
    second = attempt(
        payment=paid, ordinal=1, reference=b"second", processor=Processor("Q"), ledger="M"
    )
    assert intent.next_attempt(before, second, "Q-1", AT_MS) == OpenAttempt(
        key=KEY,
        closes=0,
        closed_state=closed_state,
        closed_code="92",
        reference=b"second",
        ordinal=1,
        ledger="M",
        processor="Q",
        node="Q-1",
        at_ms=AT_MS,
    )
    assert before.state is closed_state


def test_doubt_is_written_down_before_its_first_repeat_and_once() -> None:
    doubtful = attempt(AttemptState.REPEATING, doubted=True, why="stalled", ordinal=2)
    assert intent.repeat(doubtful, "P-2", AT_MS) == OpenRepeat(
        key=KEY, ordinal=2, reference=REFERENCE, node="P-2", why="stalled", at_ms=AT_MS
    )
    doubtful.doubt_durable = True
    assert intent.repeat(doubtful, "P-1", AT_MS) is None
