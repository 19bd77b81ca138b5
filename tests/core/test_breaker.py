"""The breaker: what trips it, how it finds back, and that it never grants more than it may."""

from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.core.breaker import ROUNDS, Breaker, BreakerSettings, BreakerState
from switch.core.outcome import Outcome
from switch.core.window import BUCKETS, Window
from tests.core.examples import Fixed

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
HARD = [Outcome.TECHNICAL, Outcome.IN_DOUBT, Outcome.CONNECT_FAILURE]
SETTINGS = BreakerSettings()


def closed() -> Breaker:
    return Breaker(SETTINGS, Fixed(0.5), 0.0)


def call(
    breaker: Breaker, outcome: Outcome = Outcome.SUCCESS, now: float = 0.0, duration_s: float = 0.0
) -> None:
    breaker.score(breaker.take(now), outcome, now, duration_s)


def half_open(echoes: int = 2) -> Breaker:
    """Return a breaker that is half-open at 1.0, and has seen some echoes."""
    breaker = closed()
    breaker.trip("test", 0.0)
    breaker.advance(1.0)
    for _ in range(echoes):
        breaker.echo_answered(1.0)
    return breaker


# --- tripping --------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", HARD)
def test_five_hard_failures_in_a_row_open_it(outcome: Outcome) -> None:
    breaker = closed()
    for _ in range(4):
        call(breaker, outcome)
    assert breaker.state is CLOSED
    call(breaker, outcome)
    assert (breaker.state, breaker.why) == (OPEN, "failed in a row")


def test_a_success_begins_the_row_anew() -> None:
    breaker = closed()
    for _ in range(2):
        for _ in range(4):
            call(breaker, Outcome.TECHNICAL)
        call(breaker)
    assert breaker.state is CLOSED


def test_neither_a_soft_failure_nor_what_is_ours_breaks_the_row() -> None:
    breaker = closed()
    for outcome in (Outcome.SOFT, Outcome.LOCAL, *[Outcome.IN_DOUBT] * 4, Outcome.SOFT):
        call(breaker, outcome)
    assert breaker.state is CLOSED
    call(breaker, Outcome.IN_DOUBT)
    assert breaker.state is OPEN


def test_half_of_twenty_calls_failed_open_it() -> None:
    breaker = closed()
    for _ in range(9):
        call(breaker, Outcome.TECHNICAL)
        call(breaker)
    call(breaker)
    assert breaker.state is CLOSED
    call(breaker, Outcome.TECHNICAL)
    assert (breaker.state, breaker.why) == (OPEN, "failures")


def test_soft_failures_count_half() -> None:
    breaker = closed()
    for _ in range(19):
        call(breaker, Outcome.SOFT)
    assert breaker.state is CLOSED
    call(breaker, Outcome.SOFT)
    assert breaker.state is OPEN


def test_half_of_twenty_calls_slow_open_it() -> None:
    breaker = closed()
    for _ in range(10):
        call(breaker, duration_s=0.6)
        call(breaker, duration_s=0.4)
    assert (breaker.state, breaker.why) == (OPEN, "slow")


def test_slow_is_more_than_twice_the_usual() -> None:
    breaker = closed()
    for _ in range(40):
        breaker.score(breaker.take(0.0), Outcome.SUCCESS, 0.0, duration_s=0.6, usual_p95_s=0.3)
    assert breaker.state is CLOSED


def test_what_is_older_than_ten_seconds_does_not_count() -> None:
    breaker = closed()
    for second in range(3):
        for _ in range(4):
            call(breaker, Outcome.TECHNICAL, now=float(second))
        call(breaker, now=float(second))
    for _ in range(5):
        call(breaker, Outcome.SOFT, now=12.0)
    assert breaker.state is CLOSED


def test_what_is_ours_is_never_scored() -> None:
    breaker = closed()
    for _ in range(40):
        call(breaker, Outcome.LOCAL)
    for _ in range(19):
        call(breaker, Outcome.SOFT)
    assert (breaker.state, breaker.generation) == (CLOSED, 0)


def test_it_opens_when_told_to_and_says_why() -> None:
    breaker = closed()
    breaker.trip("link lost", 3.0)
    assert (breaker.state, breaker.why, breaker.since) == (OPEN, "link lost", 3.0)
    assert not breaker.grants(3.0)


def test_an_open_breaker_keeps_its_reason_and_its_time() -> None:
    breaker = closed()
    breaker.trip("stalled", 0.0)
    breaker.trip("link lost", 0.9)
    assert breaker.why == "stalled"
    breaker.advance(1.0)
    assert breaker.state is HALF_OPEN


# --- open ------------------------------------------------------------------------------------


def test_it_stays_open_for_a_second_then_twice_as_long_up_to_half_a_minute() -> None:
    breaker = closed()
    now, stays = 0.0, []
    for _ in range(7):
        breaker.trip("again", now)
        until = breaker.next_at(now)
        stays.append(until - now)
        breaker.advance(until - 0.001)
        assert breaker.state is OPEN
        breaker.advance(until)
        assert breaker.state is HALF_OPEN
        now = until
    assert stays == [1, 2, 4, 8, 16, 30, 30]


def test_having_been_closed_it_begins_with_a_second_again() -> None:
    breaker = half_open()
    for _ in range(sum(ROUNDS)):
        call(breaker, now=1.0)
    breaker.trip("again", 2.0)
    assert breaker.next_at(2.0) == 3.0


@pytest.mark.parametrize(("chance", "stays"), [(0.0, 0.8), (1.0, 1.2)])
def test_the_time_it_stays_open_is_jittered(chance: float, stays: float) -> None:
    breaker = Breaker(SETTINGS, Fixed(chance), 0.0)
    breaker.trip("test", 0.0)
    assert breaker.next_at(0.0) == pytest.approx(stays)


# --- half-open -------------------------------------------------------------------------------


def test_half_open_begins_with_two_echoes() -> None:
    breaker = half_open(echoes=1)
    assert breaker.wants_echo(1.0)
    assert not breaker.grants(1.0)
    assert breaker.next_at(1.0) == 1.25
    breaker.echo_answered(1.1)
    assert not breaker.wants_echo(1.1)
    assert breaker.grants(1.1)
    breaker.echo_answered(1.2)
    assert breaker.grants(1.2)


def test_an_echo_is_wanted_from_the_instant_at_which_it_may_be_half_open() -> None:
    breaker = closed()
    breaker.echo_answered(0.0)
    assert not breaker.wants_echo(0.0)
    breaker.trip("test", 0.0)
    breaker.echo_answered(0.5)
    assert not breaker.wants_echo(0.5)
    assert breaker.wants_echo(1.0)
    breaker.echo_answered(1.0)
    assert breaker.state is HALF_OPEN
    breaker.echo_answered(1.0)
    assert breaker.grants(1.0)


def test_live_permits_come_in_rounds_of_one_two_four_and_eight() -> None:
    breaker, sizes = half_open(), []
    while breaker.state is HALF_OPEN:
        generations = []
        while breaker.grants(1.0):
            generations.append(breaker.take(1.0))
        sizes.append(len(generations))
        for each in generations:
            assert not breaker.grants(1.0), "the next round begins when all have succeeded"
            breaker.score(each, Outcome.SUCCESS, 1.0)
    assert sizes == [1, 2, 4, 8]
    assert (breaker.state, breaker.why) == (CLOSED, "")


def test_of_fifty_callers_in_one_instant_one_gets_a_permit() -> None:
    breaker = half_open()
    assert sum(1 for _ in range(50) if breaker.grants(1.0) and breaker.take(1.0)) == 1


def test_a_permit_that_was_not_shown_cannot_be_taken() -> None:
    breaker = half_open(echoes=0)
    with pytest.raises(AssertionError):
        breaker.take(1.0)


@pytest.mark.parametrize("outcome", [*HARD, Outcome.SOFT])
@pytest.mark.parametrize("successes", [0, 1, 5, 14])
def test_any_failure_opens_it_again(outcome: Outcome, successes: int) -> None:
    breaker = half_open()
    for _ in range(successes):
        call(breaker, now=1.0)
    call(breaker, outcome, now=1.0)
    assert (breaker.state, breaker.why) == (OPEN, f"half-open: {outcome.name.lower()}")
    breaker.advance(3.0)
    assert not breaker.grants(3.0), "and it wants two echoes again"


def test_a_slow_success_opens_it_again() -> None:
    breaker = half_open()
    call(breaker, now=1.0, duration_s=0.7)
    assert (breaker.state, breaker.why) == (OPEN, "half-open: slow")


def test_a_permit_that_ended_for_reasons_of_ours_goes_back() -> None:
    breaker = half_open()
    for _ in range(10):
        call(breaker, Outcome.LOCAL, now=1.0)
    assert breaker.grants(1.0)
    breaker.take(1.0)
    assert not breaker.grants(1.0)


def test_a_permit_expires_and_its_round_goes_on_without_it() -> None:
    breaker = half_open()
    call(breaker, now=1.0)
    kept, lost = breaker.take(1.0), breaker.take(1.5)
    breaker.score(kept, Outcome.SUCCESS, 2.0)
    assert breaker.next_at(2.0) == 6.5
    assert breaker.holds(lost, 6.4)
    assert not breaker.grants(6.4)
    assert not breaker.holds(lost, 6.5)
    assert breaker.grants(6.5)
    breaker.advance(6.5)
    breaker.score(lost, Outcome.IN_DOUBT, 6.6)
    assert breaker.state is HALF_OPEN, "an expired permit says nothing"
    assert sum(1 for _ in range(50) if breaker.grants(6.6) and breaker.take(6.6)) == 1


def test_a_permit_is_taken_in_the_place_of_an_expired_one_before_time_was_told() -> None:
    breaker = half_open()
    lost = breaker.take(1.0)
    fresh = breaker.take(6.0)
    assert fresh != lost
    assert not breaker.grants(6.0)
    breaker.score(lost, Outcome.SUCCESS, 6.0)
    assert not breaker.grants(6.0)


def test_a_result_of_an_older_state_is_harmless() -> None:
    breaker = closed()
    before = breaker.take(0.0)
    breaker.trip("stalled", 0.0)
    breaker.score(before, Outcome.SUCCESS, 0.5)
    breaker.advance(1.0)
    breaker.echo_answered(1.0)
    breaker.echo_answered(1.0)
    breaker.score(before, Outcome.SUCCESS, 1.0)
    breaker.take(1.0)
    assert not breaker.grants(1.0), "an old success wins no round"
    breaker.score(before, Outcome.IN_DOUBT, 1.0)
    breaker.score(before, Outcome.LOCAL, 1.0)
    assert breaker.state is HALF_OPEN, "an old failure opens nothing"
    assert not breaker.grants(1.0), "and gives no permit back"


def test_closing_forgets_what_was_before() -> None:
    breaker = closed()
    for _ in range(15):
        call(breaker, Outcome.SOFT)
    for _ in range(4):
        call(breaker, Outcome.TECHNICAL)
    breaker.trip("test", 0.0)
    breaker.advance(1.0)
    breaker.echo_answered(1.0)
    breaker.echo_answered(1.0)
    for _ in range(sum(ROUNDS)):
        call(breaker, now=1.0)
    for _ in range(4):
        call(breaker, Outcome.TECHNICAL, now=1.0)
    assert breaker.state is CLOSED


def test_only_what_time_can_change_asks_to_be_woken() -> None:
    assert closed().next_at(0.0) == float("inf")
    assert half_open().next_at(1.0) == float("inf")


# --- against a twin that keeps everything and counts it each time --------------------------------


class Call(NamedTuple):
    at: float
    outcome: Outcome
    slow: bool


class DumbBreaker:
    """The rules, read aloud. Nothing is kept but what happened."""

    def __init__(self) -> None:
        self.state = CLOSED
        self.calls: list[Call] = []
        self.openings = 0
        self.open_until = 0.0
        self.echoes = 0
        self.round = 0
        self.permits: dict[int, float] = {}
        """Live permits that are out: their number, and when they were granted."""
        self.won = 0

    def open(self, now: float) -> None:
        self.state = OPEN
        self.open_until = now + min(30.0, 2.0**self.openings)
        self.openings += 1
        self.permits.clear()

    def time(self, now: float) -> None:
        if self.state is OPEN and now >= self.open_until:
            self.state, self.echoes, self.round, self.won = HALF_OPEN, 0, 0, 0
            self.permits.clear()
        if self.permits and now >= max(self.permits.values()) + SETTINGS.permit_s:
            self.permits.clear()

    def grants(self) -> bool:
        if self.state is HALF_OPEN:
            return self.echoes >= 2 and len(self.permits) + self.won < ROUNDS[self.round]
        return self.state is CLOSED

    def live(self, number: int, call: Call) -> None:
        if self.permits.pop(number, None) is None or call.outcome is Outcome.LOCAL:
            return
        if call.outcome is not Outcome.SUCCESS or call.slow:
            self.open(call.at)
            return
        self.won += 1
        if self.won == ROUNDS[self.round]:
            self.round, self.won = self.round + 1, 0
            if self.round == len(ROUNDS):
                self.state, self.calls, self.openings = CLOSED, [], 0

    def score(self, call: Call) -> None:
        if call.outcome is Outcome.LOCAL:
            return
        self.calls.append(call)
        recent = [c for c in self.calls if int(c.at) > int(call.at) - BUCKETS]
        failed = sum({Outcome.SUCCESS: 0.0, Outcome.SOFT: 0.5}.get(c.outcome, 1.0) for c in recent)
        row = [c for c in self.calls if c.outcome is not Outcome.SOFT][-5:]
        in_a_row = len(row) == 5 and all(c.outcome is not Outcome.SUCCESS for c in row)
        slow = sum(c.slow for c in recent)
        # A soft failure or a success is not what completes a row.
        row_done = in_a_row and call.outcome not in (Outcome.SOFT, Outcome.SUCCESS)
        half = len(recent) / 2
        if row_done or (len(recent) >= 20 and (failed >= half or slow >= half)):
            self.open(call.at)


class Taken(NamedTuple):
    """A permit of both."""

    number: int
    live: bool
    generation: int
    spell: int
    """In which the twin granted it."""


STEPS = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0, 6.0, 40.0])),
    st.tuples(st.just("take"), st.integers(1, 20)),
    st.tuples(
        st.just("end"),
        st.tuples(st.integers(0, 99), st.sampled_from(list(Outcome)), st.booleans()),
    ),
    st.tuples(
        st.just("calls"),
        st.tuples(st.integers(1, 25), st.sampled_from(list(Outcome)), st.booleans()),
    ),
    st.just(("echo", None)),
    st.just(("trip", None)),
)
RECOVERY: list[tuple[str, object]] = [
    ("trip", None),
    ("wait", 40.0),
    ("echo", None),
    ("echo", None),
]
MOVES = st.lists(st.one_of(STEPS.map(lambda s: [s]), st.just(RECOVERY)), max_size=40).map(
    lambda parts: [step for part in parts for step in part]
)


@given(MOVES)
def test_it_does_what_its_dumb_twin_does(steps: list[tuple[str, object]]) -> None:
    breaker, twin = closed(), DumbBreaker()
    now, number, spell = 0.0, 0, 0
    out: list[Taken] = []

    def same() -> None:
        breaker.advance(now)
        twin.time(now)
        assert breaker.state is twin.state
        assert breaker.grants(now) is twin.grants()
        if twin.state is OPEN:
            assert breaker.next_at(now) == twin.open_until

    def take() -> None:
        nonlocal number
        if breaker.grants(now):
            number += 1
            live = twin.state is HALF_OPEN
            if live:
                twin.permits[number] = now
            out.append(Taken(number, live, breaker.take(now), spell))
            assert sum(1 for t in out if t.number in twin.permits) <= ROUNDS[-1]

    def end(taken: Taken, outcome: Outcome, slow: bool) -> None:
        nonlocal spell
        before = twin.state
        breaker.score(taken.generation, outcome, now, 1.0 if slow else 0.0)
        if taken.live:
            twin.live(taken.number, Call(now, outcome, slow))
        elif taken.spell == spell and twin.state is CLOSED:
            twin.score(Call(now, outcome, slow))
        if twin.state is not before:
            spell += 1
            twin.calls = []

    for what, how in steps:
        if what == "wait":
            assert isinstance(how, float)
            now += how
        elif what == "take":
            assert isinstance(how, int)
            for _ in range(how):
                take()
        elif what == "end" and out:
            assert isinstance(how, tuple)
            end(out.pop(how[0] % len(out)), how[1], how[2])
        elif what == "calls":
            assert isinstance(how, tuple)
            for _ in range(how[0]):
                take()
                if out:
                    end(out.pop(), how[1], how[2])
                same()
        elif what == "echo":
            breaker.echo_answered(now)
            twin.time(now)
            twin.echoes += 1
        elif what == "trip":
            breaker.trip("told", now)
            if twin.state is not OPEN:
                twin.open(now)
                twin.calls = []
                spell += 1
        same()


@given(st.lists(st.tuples(st.floats(0, 4), st.sampled_from([0.0, 0.5, 1.0]), st.booleans())))
def test_the_window_counts_what_its_dumb_twin_counts(
    calls: list[tuple[float, float, bool]],
) -> None:
    window, now = Window(), 5.0
    kept: list[tuple[int, float, bool]] = []
    for wait, weight, slow in calls:
        now += wait * wait
        window.add(now, weight, slow=slow)
        kept.append((int(now), weight, slow))
        recent = [c for c in kept if c[0] > int(now) - BUCKETS]
        assert window.calls == len(recent)
        assert window.failed == sum(weight for _, weight, _ in recent)
        assert window.slow == sum(slow for _, _, slow in recent)


# --- settings --------------------------------------------------------------------------------


def test_the_defaults_have_no_problems() -> None:
    assert SETTINGS.problems() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("consecutive_failures", 0),
        ("calls_min", 0),
        ("failed_share", 0.0),
        ("slow_share", 1.1),
        ("slow_floor_s", 0.0),
        ("open_first_s", 31.0),
        ("echoes", 0),
        ("echo_every_s", 0.0),
        ("permit_s", 1.0),
    ],
)
def test_each_rule_of_the_settings_is_told_in_a_sentence(name: str, value: Any) -> None:
    (problem,) = BreakerSettings(**{name: value}).problems()
    assert problem.startswith(f"{name} must be ")
