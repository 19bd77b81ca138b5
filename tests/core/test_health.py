"""Health and hold-down: what is believed of a node, and how long it waits after a failure."""

from math import inf
from typing import Any

import pytest

from switch.core.health import Health, HealthSettings
from switch.core.hold_down import HoldDown, HoldDownSettings

HEALTH = HealthSettings()
HOLD_DOWN = HoldDownSettings()


# --- health ----------------------------------------------------------------------------------


def down() -> Health:
    health = Health(HEALTH)
    for _ in range(3):
        health.checked(ok=False)
    return health


def test_three_failures_in_a_row_are_a_fall() -> None:
    health = Health(HEALTH)
    assert [health.checked(ok=False) for _ in range(5)] == [False, False, True, False, False]
    assert not health.up


def test_a_success_between_them_begins_anew() -> None:
    health = Health(HEALTH)
    for ok in (False, False, True, False, False):
        assert not health.checked(ok)
    assert health.up


def test_two_successes_in_a_row_are_a_rise() -> None:
    health = down()
    ups = []
    for ok in (True, False, True, True):
        assert not health.checked(ok)
        ups.append(health.up)
    assert ups == [False, False, False, True]


def test_a_node_that_answered_within_the_last_second_is_alive_whatever_its_health_says() -> None:
    health = Health(HEALTH)
    assert health.counts(False, 0.0)
    health.answered(5.0)
    assert not health.counts(False, 6.0)
    assert health.counts(False, 6.01)
    assert health.counts(True, 5.0)


def test_a_new_link_is_a_new_beginning() -> None:
    health = down()
    health.forget()
    assert health.up
    assert not health.checked(ok=False)
    assert not health.checked(ok=False)
    assert health.checked(ok=False)


# --- hold-down -------------------------------------------------------------------------------


def test_a_node_waits_for_half_a_minute_of_continuous_health() -> None:
    hold_down = HoldDown(HOLD_DOWN)
    hold_down.fell(100.0)
    assert hold_down.running
    assert hold_down.ends_at() == inf
    hold_down.healthy(110.0)
    hold_down.healthy(120.0)
    assert hold_down.ends_at() == 140.0


def test_a_node_that_never_fell_waits_for_nothing() -> None:
    assert not HoldDown(HOLD_DOWN).running


def test_any_illness_starts_it_anew() -> None:
    hold_down = HoldDown(HOLD_DOWN)
    hold_down.fell(100.0)
    hold_down.healthy(110.0)
    hold_down.ill()
    assert hold_down.ends_at() == inf
    hold_down.healthy(120.0)
    assert hold_down.ends_at() == 150.0


def test_health_from_before_the_fall_does_not_count() -> None:
    hold_down = HoldDown(HOLD_DOWN)
    hold_down.healthy(0.0)
    hold_down.fell(100.0)
    assert hold_down.ends_at() == inf


def test_five_falls_within_ten_minutes_are_flapping_and_waited_for_four_times_as_long() -> None:
    hold_down = HoldDown(HOLD_DOWN)
    assert [hold_down.fell(100.0 * n) for n in range(7)] == [False] * 4 + [True] + [False] * 2
    hold_down.healthy(700.0)
    assert hold_down.ends_at() == 820.0


def test_falls_that_are_far_apart_are_no_flapping() -> None:
    hold_down = HoldDown(HOLD_DOWN)
    assert not any(hold_down.fell(151.0 * n) for n in range(10))
    hold_down.healthy(2000.0)
    assert hold_down.ends_at() == 2030.0


def test_a_node_that_stops_flapping_may_be_told_of_again() -> None:
    hold_down = HoldDown(HOLD_DOWN)
    told = [hold_down.fell(float(at)) for at in (1, 2, 3, 4, 5, 2000, 2001, 2002, 2003, 2004)]
    assert [n for n, each in enumerate(told) if each] == [4, 9]


def test_it_ends_when_it_is_ended() -> None:
    hold_down = HoldDown(HOLD_DOWN)
    hold_down.fell(0.0)
    hold_down.end()
    assert not hold_down.running


# --- settings --------------------------------------------------------------------------------


def test_the_defaults_have_no_problems() -> None:
    assert HEALTH.problems() == HOLD_DOWN.problems() == []


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        (HEALTH, "fall", 0),
        (HEALTH, "rise", 0),
        (HEALTH, "alive_s", -1.0),
        (HOLD_DOWN, "hold_s", -1.0),
        (HOLD_DOWN, "failback_every_s", -1.0),
        (HOLD_DOWN, "flaps", 1),
        (HOLD_DOWN, "flap_s", 0.0),
        (HOLD_DOWN, "flap_factor", 0.5),
    ],
)
def test_each_rule_of_the_settings_is_told_in_a_sentence(
    settings: HealthSettings | HoldDownSettings, name: str, value: Any
) -> None:
    (problem,) = type(settings)(**{name: value}).problems()
    assert problem.startswith(f"{name} must be ")
