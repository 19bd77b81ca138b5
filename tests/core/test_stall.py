"""The stall clock: silence with work on hand, and nothing else, is a stall."""

from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.core.stall import Stall, StallSettings

SETTINGS = StallSettings()
P99_S = 0.01


def waiting(count: int, now: float = 0.0) -> Stall:
    stall = Stall(SETTINGS)
    for _ in range(count):
        stall.handed_over(now)
    return stall


def test_eight_in_flight_and_a_quarter_second_of_silence_are_a_stall() -> None:
    stall = waiting(8)
    assert not stall.stalled(P99_S, 0.249)
    assert stall.stalled(P99_S, 0.25)


def test_seven_in_flight_may_simply_be_slow() -> None:
    assert not waiting(7).stalled(P99_S, 0.9)


def test_silence_is_three_times_the_p99_if_that_is_longer() -> None:
    assert not waiting(8).stalled(0.2, 0.59)
    assert waiting(8).stalled(0.2, 0.61)


@pytest.mark.parametrize("p99_s", [0.5, inf])
def test_silence_of_a_second_is_enough_for_the_slowest(p99_s: float) -> None:
    assert not waiting(8).stalled(p99_s, 0.99)
    assert waiting(8).stalled(p99_s, 1.0)


def test_a_completion_starts_the_clock_anew() -> None:
    stall = waiting(9)
    stall.answered(0.2)
    stall.settled()
    assert not stall.stalled(P99_S, 0.44)
    assert stall.stalled(P99_S, 0.45)


def test_the_clock_of_a_node_that_was_idle_starts_with_the_first_hand_over() -> None:
    stall = waiting(1)
    stall.answered(0.1)
    stall.settled()
    for _ in range(8):
        stall.handed_over(50.0)
    assert not stall.stalled(P99_S, 50.24)
    assert stall.stalled(P99_S, 50.25)


def test_what_ends_without_an_answer_is_no_completion() -> None:
    stall = waiting(9)
    stall.settled()
    assert stall.stalled(P99_S, 0.25)


def test_what_was_never_handed_over_can_end_too() -> None:
    stall = waiting(0)
    stall.settled()
    assert stall.waiting == 0


def test_after_a_stall_the_clock_starts_anew() -> None:
    stall = waiting(8)
    assert stall.stalled(P99_S, 0.25)
    assert not stall.stalled(P99_S, 0.26)
    assert stall.stalled(P99_S, 0.5)


# --- an alarm that comes late ----------------------------------------------------------------


def test_an_alarm_that_comes_late_only_marks_the_node_and_wants_to_be_called_again() -> None:
    stall = waiting(8)
    assert not stall.stalled(P99_S, 0.31)
    assert stall.suspect
    assert stall.next_at(P99_S, 0.31) == pytest.approx(0.311)
    assert not stall.stalled(P99_S, 0.3105), "the pass of input has not been yet"
    assert stall.stalled(P99_S, 0.311)
    assert not stall.suspect


def test_an_alarm_that_comes_a_little_late_is_believed() -> None:
    assert waiting(8).stalled(P99_S, 0.299)


def test_an_answer_in_the_pass_of_input_clears_the_suspicion() -> None:
    stall = waiting(8)
    stall.stalled(P99_S, 0.31)
    stall.answered(0.3105)
    assert not stall.suspect
    assert not stall.stalled(P99_S, 0.311)


def test_the_suspicion_ends_when_too_few_are_waiting() -> None:
    stall = waiting(8)
    stall.stalled(P99_S, 0.31)
    stall.settled()
    assert not stall.stalled(P99_S, 0.311)
    assert not stall.suspect


def test_a_first_hand_over_clears_the_suspicion() -> None:
    stall = waiting(8)
    stall.stalled(P99_S, 0.31)
    for _ in range(8):
        stall.settled()
    stall.handed_over(0.3105)
    assert not stall.suspect


# --- when to look ----------------------------------------------------------------------------


def test_an_idle_node_cannot_stall_sooner_than_the_shortest_silence() -> None:
    assert waiting(0).next_at(P99_S, 7.0) == 7.25


def test_a_busy_node_is_looked_at_when_its_silence_would_be_a_stall() -> None:
    assert waiting(1).next_at(P99_S, 0.1) == 0.25


def test_a_silent_node_with_too_few_waiting_is_looked_at_often() -> None:
    assert waiting(7).next_at(P99_S, 0.9) == pytest.approx(0.925)


# --- against a twin that keeps every sending -----------------------------------------------------


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["hand over", "hand over", "answer", "expire"]),
            st.sampled_from([0.0, 0.01, 0.02, 0.1]),
        ),
        max_size=80,
    )
)
def test_looking_as_asked_finds_each_stall_within_25_ms_of_it(
    steps: list[tuple[str, float]],
) -> None:
    stall = Stall(SETTINGS)
    now, completed_at, look_at = 0.0, -inf, 0.0
    out: list[float] = []
    """When each sending that still waits was handed over."""
    quiet_since: float | None = None
    """When a twin that keeps every sending would first have seen a stall."""
    for what, wait in [*steps, ("answer", 2.0)]:
        until = now + wait
        while look_at <= until:
            now = look_at
            found = stall.stalled(P99_S, now)
            # No completion since: whoever was handed over before it was waited for all the time.
            stalled = len(out) >= 8 and now >= max(completed_at, out[0]) + 0.25
            assert not found or stalled, "no false alarm"
            if stalled:
                assert quiet_since is None or now - quiet_since <= 0.026
                quiet_since = None
            if found:
                completed_at = now
            look_at = stall.next_at(P99_S, now)
            assert look_at > now, "who asks to be called at once never sleeps"
        now = until
        if what == "hand over":
            stall.handed_over(now)
            out.append(now)
            if len(out) == 8 and now >= max(completed_at, out[0]) + 0.25:
                quiet_since = now
        elif what == "answer":
            stall.answered(now)
            completed_at = now
            quiet_since = None
            if out:
                stall.settled()
                out.pop(0)
        elif out:
            stall.settled()
            out.pop()
            quiet_since = None


# --- settings --------------------------------------------------------------------------------


def test_the_defaults_have_no_problems() -> None:
    assert SETTINGS.problems() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("waiting_min", 0),
        ("silence_min_s", 2.0),
        ("p99_factor", 0.5),
        ("look_every_s", 0.3),
        ("pass_s", 0.06),
    ],
)
def test_each_rule_of_the_settings_is_told_in_a_sentence(name: str, value: Any) -> None:
    (problem,) = StallSettings(**{name: value}).problems()
    assert problem.startswith(f"{name} must be ")
