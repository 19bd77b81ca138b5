"""The calls of the last ten seconds, counted at a constant cost.

Ten buckets of a second in a ring, and running sums over them: adding a call touches one bucket, and
each second the oldest falls out whole. So the window is nine to ten seconds long, which is all the
precision that a share of failures needs. Rejected: keeping each call (memory and time grow with the
load, just when there is none to spare).
"""

from __future__ import annotations

BUCKETS = 10
BUCKET_S = 1.0


class Window:
    """Calls, the weight of their failures, and how many were slow."""

    __slots__ = ("_buckets", "_number", "calls", "failed", "slow")

    def __init__(self) -> None:
        """Begin empty."""
        self._buckets = [[0, 0.0, 0] for _ in range(BUCKETS)]
        self._number = 0
        """Of the newest bucket, in the time's own count."""
        self.calls = 0
        self.failed = 0.0
        self.slow = 0

    def add(self, now: float, weight: float, *, slow: bool) -> None:
        """Add a call."""
        number = int(now // BUCKET_S)
        if number > self._number:
            self._turn(number)
        bucket = self._buckets[self._number % BUCKETS]
        bucket[0] += 1
        bucket[1] += weight
        bucket[2] += slow
        self.calls += 1
        self.failed += weight
        self.slow += slow

    def _turn(self, number: int) -> None:
        """Let the buckets fall out whose time is over."""
        for each in range(max(self._number + 1, number - BUCKETS + 1), number + 1):
            bucket = self._buckets[each % BUCKETS]
            self.calls -= int(bucket[0])
            self.failed -= bucket[1]
            self.slow -= int(bucket[2])
            bucket[:] = (0, 0.0, 0)
        self._number = number
