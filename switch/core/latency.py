"""How fast a node answers: a small histogram over the last seconds, and what is usual for it.

The histogram is log-linear, as in HdrHistogram: sixteen steps to each doubling, so a quantile is
read at most one sixteenth too high, from 15 µs to 64 s, in 304 counters. Recording is a shift and
an addition. The counters of each second are kept apart in a ring of five, so old seconds fall out
whole.

Two values are read on the hot path and therefore kept ready rather than computed:

* ``p99_s``, what the stall clock goes by: renewed when a second begins. A node of which nothing is
  known is taken to be infinitely slow, since impatience with a stranger would be a false alarm;
  until its first second is over the slowest answer so far stands in.
* ``usual_p95_s``, what "slow" is measured against: it follows the p95 by a sixtieth per second,
  so a bad minute does not become the measure of itself before the breaker has seen it.

Rejected: a reservoir sample (it needs randomness and misses the tail), and one moving average of
the duration (a mean says nothing about the slowest in a hundred).
"""

from __future__ import annotations

import math

_SLICES = 5
_SLICE_S = 1.0
_UNITS_PER_S = 65_536
_LONGEST = (1 << 22) - 1
"""64 s in units."""
_COUNTERS = 304
_FOLLOW = 1 / 60


class Latency:
    """The durations of a node's answers over the last five seconds."""

    __slots__ = ("_began_at", "_counts", "_learning", "_number", "_slices", "p99_s", "usual_p95_s")

    def __init__(self, now: float) -> None:
        """Begin with nothing known."""
        self._began_at = now
        self._number = 0
        """Of the running slice, counted from the beginning."""
        self._slices = [[0] * _COUNTERS for _ in range(_SLICES)]
        self._counts = [0] * _SLICES
        self._learning = True
        """No whole second had answers yet."""
        self.p99_s = math.inf
        """As of the last whole second that had answers."""
        self.usual_p95_s = 0.0

    def record(self, duration_s: float, now: float) -> None:
        """Take one answer."""
        if now - self._began_at >= (self._number + 1) * _SLICE_S:
            self._turn(now)
        place = _place(duration_s)
        if self._learning:
            value = _value(place)
            self.p99_s = value if self.p99_s == math.inf else max(self.p99_s, value)
        current = self._number % _SLICES
        self._slices[current][place] += 1
        self._counts[current] += 1

    def quantile(self, share: float, now: float) -> float:
        """Return the duration that ``share`` of the last answers did not exceed, 0 if none came."""
        self._turn(now)
        return self._quantile(share)

    def rate_per_s(self, now: float) -> float:
        """Return how many answers came per second."""
        self._turn(now)
        begun_at = max(0, self._number - _SLICES + 1) * _SLICE_S
        return sum(self._counts) / max(now - self._began_at - begun_at, _SLICE_S)

    def _turn(self, now: float) -> None:
        """Let the slices fall out whose time is over."""
        number = int((now - self._began_at) / _SLICE_S)
        if number <= self._number:
            return
        if any(self._counts):
            self.p99_s = self._quantile(0.99)
            p95_s = self._quantile(0.95)
            self.usual_p95_s += (p95_s - self.usual_p95_s) * (1 if self._learning else _FOLLOW)
            self._learning = False
        for each in range(max(self._number + 1, number - _SLICES + 1), number + 1):
            self._slices[each % _SLICES] = [0] * _COUNTERS
            self._counts[each % _SLICES] = 0
        self._number = number

    def _quantile(self, share: float) -> float:
        missing = math.ceil(sum(self._counts) * share)
        if missing == 0:
            return 0.0
        place = -1
        while missing > 0:
            place += 1
            missing -= sum(counters[place] for counters in self._slices)
        return _value(place)


def _place(duration_s: float) -> int:
    """Return the counter of a duration."""
    units = min(max(int(duration_s * _UNITS_PER_S), 0), _LONGEST)
    shift = max(units.bit_length() - 5, 0)
    return (shift << 4) + (units >> shift)


def _value(place: int) -> float:
    """Return the longest duration that falls into a counter."""
    shift = max((place >> 4) - 1, 0)
    return ((place - (shift << 4) + 1) << shift) / _UNITS_PER_S
