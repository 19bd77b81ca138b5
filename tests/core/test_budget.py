"""The failover budget: how many sales may be tried a second time elsewhere."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.core.budget import BudgetSettings, FailoverBudget

QUARTERS = st.integers(0, 40).map(lambda n: n / 4)  # exact in binary: the twin needs no tolerance


def available_by_the_book(
    settings: BudgetSettings, begun: float, spent: list[float], now: float
) -> bool:
    """Decide from the whole history: no stretch of time may see more than burst and rate allow."""
    capacity, rate = Fraction(settings.capacity), Fraction(settings.refill_per_s)
    return all(
        sum(1 for at in spent if at >= since) + 1 <= capacity + rate * Fraction(now - since)
        for since in {begun, now, *spent}
    )


@given(
    st.builds(BudgetSettings, capacity=QUARTERS, refill_per_s=QUARTERS),
    st.lists(st.tuples(QUARTERS, st.integers(0, 6))),
)
def test_the_budget_agrees_with_its_dumb_twin(
    settings: BudgetSettings, story: list[tuple[float, int]]
) -> None:
    now = begun = 1000.0
    budget = FailoverBudget(settings, now)
    spent: list[float] = []
    for elapsed, wanted in story:
        now += elapsed
        for _ in range(wanted):
            expected = available_by_the_book(settings, begun, spent, now)
            assert budget.available(now) == expected
            if expected:
                budget.spend(now)
                spent.append(now)
    assert len(spent) <= settings.capacity + settings.refill_per_s * (now - begun)


@given(st.lists(QUARTERS), QUARTERS)
def test_looking_costs_nothing(looks: list[float], elapsed: float) -> None:
    settings = BudgetSettings(capacity=2.0, refill_per_s=0.25)
    watched, left_alone = FailoverBudget(settings, 0.0), FailoverBudget(settings, 0.0)
    for budget in (watched, left_alone):
        budget.spend(0.0)
        budget.spend(0.0)
    now = 0.0
    for look in looks:
        now += look
        watched.available(now)
    assert watched.available(now + elapsed) == left_alone.available(now + elapsed)


def test_what_is_not_there_cannot_be_spent() -> None:
    budget = FailoverBudget(BudgetSettings(capacity=1.0, refill_per_s=1.0), 0.0)
    budget.spend(0.0)
    with pytest.raises(AssertionError, match="no token"):
        budget.spend(0.5)
    budget.spend(1.0)


def test_a_burst_of_the_whole_capacity_is_covered_and_no_more() -> None:
    budget = FailoverBudget(BudgetSettings(), 0.0)
    for _ in range(512):
        budget.spend(0.0)
    assert not budget.available(0.0)


def test_the_budget_we_ship_gives_twenty_five_tokens_back_in_a_second() -> None:
    budget = FailoverBudget(BudgetSettings(), 0.0)
    for _ in range(512):
        budget.spend(0.0)
    for _ in range(25):
        budget.spend(1.0)
    assert not budget.available(1.0)


def test_a_long_rest_saves_up_no_more_than_the_capacity() -> None:
    budget = FailoverBudget(BudgetSettings(capacity=2.0, refill_per_s=1.0), 0.0)
    budget.spend(1e6)
    budget.spend(1e6)
    assert not budget.available(1e6)


def test_a_clock_that_steps_back_gives_nothing_and_takes_nothing() -> None:
    budget = FailoverBudget(BudgetSettings(capacity=1.0, refill_per_s=1.0), 100.0)
    budget.spend(100.0)
    assert not budget.available(0.0)
    assert not budget.available(100.5)
    assert budget.available(101.0)


def test_without_capacity_nothing_is_ever_tried_elsewhere() -> None:
    budget = FailoverBudget(BudgetSettings(capacity=0.0, refill_per_s=1000.0), 0.0)
    assert not budget.available(1e9)
