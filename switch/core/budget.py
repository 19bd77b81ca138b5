"""The failover budget: how often a sale may be tried a second time elsewhere.

Charged only when something already handed over is followed by another attempt at another ledger. A
processor that answers "malfunction" to everything would otherwise send its whole load to the next
one, and a bad minute at one becomes a bad hour at both. A token bucket: the capacity covers a
burst, the rate what a healthy day needs. Steering new payments around a dead node, and repeats on
one ledger, add no load and are free.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """Size of the bucket and its refill."""

    capacity: float = 512.0
    """Tokens at most; at least twice the limits of a tier."""
    refill_per_s: float = 25.0
    """Tokens that come back per second."""


class FailoverBudget:
    """A token bucket with an injected clock."""

    __slots__ = ("_at", "_settings", "_tokens")

    def __init__(self, settings: BudgetSettings, now: float) -> None:
        """Begin full."""
        self._settings = settings
        self._tokens = settings.capacity
        self._at = now

    def available(self, now: float) -> bool:
        """Return whether a token is there."""
        elapsed = max(0.0, now - self._at)
        self._at = max(self._at, now)
        self._tokens = min(
            self._settings.capacity, self._tokens + elapsed * self._settings.refill_per_s
        )
        return self._tokens >= 1.0

    def spend(self, now: float) -> None:
        """Take the token that ``available`` has shown."""
        assert self.available(now), "no token to spend"
        self._tokens -= 1.0
