"""The histogram: quantiles of the last seconds, and what is usual."""

from math import ceil, inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.core.latency import Latency


def after(*durations_s: float, now: float = 0.0) -> Latency:
    latency = Latency(0.0)
    for each in durations_s:
        latency.record(each, now)
    return latency


@given(
    st.lists(st.floats(0.0001, 60.0), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99])
)
def test_a_quantile_is_at_most_a_sixteenth_above_the_true_one(
    durations_s: list[float], share: float
) -> None:
    true = sorted(durations_s)[ceil(len(durations_s) * share) - 1]
    read = after(*durations_s).quantile(share, 0.0)
    assert true <= read <= true * (1 + 1 / 16) + 1 / 32768


@pytest.mark.parametrize(("duration_s", "reads"), [(-1.0, 0.0), (0.0, 0.0), (1e9, 64.0)])
def test_what_is_out_of_range_counts_as_the_nearest(duration_s: float, reads: float) -> None:
    assert after(duration_s).quantile(0.5, 0.0) == pytest.approx(reads, abs=0.0001)


def test_nothing_is_as_fast_as_nothing() -> None:
    assert Latency(0.0).quantile(0.5, 100.0) == 0.0
    assert Latency(0.0).rate_per_s(100.0) == 0.0


def test_old_seconds_fall_out() -> None:
    latency = after(0.01)
    latency.record(1.0, 4.5)
    assert latency.quantile(0.5, 4.9) < 0.02
    assert latency.quantile(0.5, 5.0) > 0.9
    assert latency.quantile(0.5, 10.0) == 0.0
    latency.record(0.5, 1000.0)
    assert latency.quantile(0.5, 1000.9) == pytest.approx(0.5, rel=0.07)
    assert latency.rate_per_s(1000.9) == pytest.approx(1 / 4.9)


def test_the_rate_is_that_of_the_last_seconds() -> None:
    latency = Latency(0.0)
    for n in range(1000):
        latency.record(0.01, n / 100)
    assert latency.rate_per_s(10.0) == pytest.approx(100, rel=0.05)


def test_the_rate_of_the_first_second_is_what_it_brought() -> None:
    assert after(0.01, 0.01, now=0.1).rate_per_s(0.2) == 2.0


def test_a_stranger_is_infinitely_slow() -> None:
    assert Latency(0.0).p99_s == inf


def test_until_the_first_second_is_over_the_slowest_answer_stands_in_for_the_p99() -> None:
    latency = after(0.3, 0.01, now=7.5)
    assert latency.p99_s == pytest.approx(0.3, rel=0.07)
    for _ in range(200):
        latency.record(0.01, 7.9)
    latency.record(0.01, 8.1)
    assert latency.p99_s == pytest.approx(0.01, rel=0.07)


def test_the_p99_of_a_node_that_went_silent_stays_the_last_known() -> None:
    latency = after(0.01)
    latency.quantile(0.5, 1.0)
    latency.quantile(0.5, 100.0)
    assert latency.p99_s == pytest.approx(0.01, rel=0.07)


def test_what_is_usual_follows_slowly() -> None:
    latency = after(0.1)
    for second in range(1, 11):
        for _ in range(100):
            latency.record(1.0, second + 0.5)
    assert latency.usual_p95_s == pytest.approx(0.23, abs=0.03)
