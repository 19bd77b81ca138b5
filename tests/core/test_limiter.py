"""The limiter: slots, the reserve, the ramp, and what attracts traffic."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.core.limiter import Limiter, LimiterSettings

SETTINGS = LimiterSettings()


def limiter(limit: int = 128, weight: float = 1.0) -> Limiter:
    return Limiter(limit, weight, SETTINGS, 0.0)


def fill(slots: Limiter, now: float, *, reversal: bool) -> int:
    """Take all that is free; return how many are in flight then."""
    while slots.has_room(now, reversal=reversal):
        slots.take()
    return slots.in_flight


# --- slots and reserve -----------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "authorizations"), [(128, 120), (32, 30), (15, 14), (2, 1)])
def test_authorizations_leave_a_sixteenth_and_at_least_one_slot_to_reversals(
    limit: int, authorizations: int
) -> None:
    slots = limiter(limit)
    assert fill(slots, 0.0, reversal=False) == authorizations
    assert fill(slots, 0.0, reversal=True) == limit


def test_a_limit_of_one_has_nothing_to_reserve() -> None:
    assert fill(limiter(1), 0.0, reversal=False) == 1


def test_a_freed_slot_can_be_taken_again() -> None:
    slots = limiter(2)
    fill(slots, 0.0, reversal=True)
    slots.give_back(in_doubt=False)
    assert fill(slots, 0.0, reversal=True) == 2


def test_more_than_the_limit_cannot_be_taken() -> None:
    slots = limiter(2)
    fill(slots, 0.0, reversal=True)
    with pytest.raises(AssertionError):
        slots.take()


def test_what_was_not_taken_cannot_be_freed() -> None:
    with pytest.raises(AssertionError):
        limiter().give_back(in_doubt=False)


def test_what_holds_no_slot_cannot_be_in_doubt() -> None:
    with pytest.raises(AssertionError):
        limiter().doubt()


# --- the ramp --------------------------------------------------------------------------------


def test_the_ramp_goes_from_a_tenth_to_all_in_a_straight_line() -> None:
    slots = limiter(100)
    slots.ramp(50.0)
    assert [slots.limit_now(50.0 + t) for t in (0.0, 10.0, 20.0, 30.0, 31.0)] == [
        10,
        40,
        70,
        100,
        100,
    ]


@pytest.mark.parametrize(("limit", "least"), [(128, 12), (12, 2), (2, 2), (1, 1)])
def test_the_ramp_begins_with_at_least_a_slot_for_each_kind(limit: int, least: int) -> None:
    slots = limiter(limit)
    slots.ramp(0.0)
    assert slots.limit_now(0.0) == least
    assert fill(slots, 0.0, reversal=False) == max(1, least - 1)


def test_without_time_there_is_no_ramp() -> None:
    slots = Limiter(128, 1.0, replace(SETTINGS, ramp_s=0.0), 0.0)
    slots.ramp(5.0)
    assert slots.limit_now(5.0) == 128


def test_a_node_first_ready_soon_after_our_own_start_needs_no_ramp() -> None:
    slots = limiter()
    slots.first_ready(10.0)
    assert slots.limit_now(10.0) == 128
    slots.first_ready(10.1)
    assert slots.limit_now(10.1) == 12


def test_what_is_in_doubt_takes_none_of_the_ramps_slots() -> None:
    slots = limiter()
    for _ in range(100):
        slots.take()
        slots.doubt()
    slots.ramp(0.0)
    assert fill(slots, 0.0, reversal=False) == 111
    assert fill(slots, 0.0, reversal=True) == 112


def test_what_is_in_doubt_holds_slots_of_the_limit() -> None:
    slots = limiter()
    for _ in range(128):
        slots.take()
        slots.doubt()
    assert not slots.has_room(0.0, reversal=True)
    slots.give_back(in_doubt=True)
    assert slots.has_room(0.0, reversal=True)


# --- the load --------------------------------------------------------------------------------


def test_the_load_is_what_would_be_in_flight_for_the_weight_and_the_ramp() -> None:
    slots = limiter(weight=2.0)
    for _ in range(5):
        slots.take()
    assert slots.load(0.0) == 3.0
    slots.ramp(0.0)
    assert slots.load(0.0) == pytest.approx(30.0)
    assert slots.load(30.0) == 3.0


def test_failures_weigh_like_slow_calls() -> None:
    slots = limiter()
    now = 0.0
    for _ in range(4000):
        now += 0.001
        slots.failed(now)
    # A thousand failures a second, each like a call of half a second, are 500 in flight.
    assert slots.load(now) == pytest.approx(501, rel=0.01)
    assert slots.load(now + 10) == pytest.approx(1, rel=0.01)


# --- against a twin that keeps a list --------------------------------------------------------


class DumbSlots:
    """Each slot is an entry that says whether it is in doubt."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.slots: list[bool] = []
        self.ramped_at: float | None = None

    def limit_now(self, now: float) -> int:
        if self.ramped_at is None or now >= self.ramped_at + 30:
            return self.limit
        share = 0.1 + 0.9 * (now - self.ramped_at) / 30
        return min(self.limit, max(2, int(self.limit * share)))

    def has_room(self, now: float, reversal: bool) -> bool:
        live = sum(not in_doubt for in_doubt in self.slots)
        for limit, taken in ((self.limit, len(self.slots)), (self.limit_now(now), live)):
            kept = 0 if reversal or limit == 1 else max(1, limit // 16)
            if taken + kept >= limit:
                return False
        return True


@given(
    st.integers(1, 40),
    st.lists(
        st.one_of(
            st.tuples(st.just("take"), st.booleans()),
            st.tuples(st.just("take"), st.booleans()),
            st.tuples(st.just("doubt"), st.integers(0, 50)),
            st.tuples(st.just("free"), st.integers(0, 50)),
            st.tuples(st.just("wait"), st.integers(0, 20)),
            st.tuples(st.just("ramp"), st.just(0)),
        ),
        max_size=120,
    ),
)
def test_it_grants_what_its_dumb_twin_grants_and_never_more_than_the_limit(
    limit: int, steps: list[tuple[str, int]]
) -> None:
    slots, twin, now = limiter(limit), DumbSlots(limit), 0.0
    for what, how in steps:
        if what == "take":
            room = slots.has_room(now, reversal=bool(how))
            assert room is twin.has_room(now, bool(how))
            if room:
                slots.take()
                twin.slots.append(False)
        elif what == "doubt" and twin.slots and not twin.slots[how % len(twin.slots)]:
            slots.doubt()
            twin.slots[how % len(twin.slots)] = True
        elif what == "free" and twin.slots:
            slots.give_back(in_doubt=twin.slots.pop(how % len(twin.slots)))
        elif what == "wait":
            now += how
        elif what == "ramp":
            slots.ramp(now)
            twin.ramped_at = now
        assert slots.limit_now(now) == twin.limit_now(now)
        assert slots.in_flight == len(twin.slots) <= limit
        assert slots.in_doubt == sum(twin.slots)


# --- settings --------------------------------------------------------------------------------


def test_the_defaults_have_no_problems() -> None:
    assert SETTINGS.problems() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ramp_s", -1.0),
        ("ramp_first", 0.0),
        ("reserve_of", 1),
        ("start_s", -1.0),
        ("failure_s", 0.0),
    ],
)
def test_each_rule_of_the_settings_is_told_in_a_sentence(name: str, value: Any) -> None:
    (problem,) = LimiterSettings(**{name: value}).problems()
    assert problem.startswith(f"{name} must be ")
