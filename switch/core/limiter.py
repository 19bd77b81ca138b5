"""How much a node may carry, and how much it carries: slots, the ramp, the load.

The limit is a hard cap on what is in flight, because it is the only bound on what can be in doubt:
a node that stopped still swallows megabytes before a write blocks. A slot is held until the answer,
the link's loss, or the end of the flight time, whether or not anybody still waits.

* **Reserve.** Authorizations leave a sixteenth of the slots, at least one, to reversals: a node
  full of sales must still be able to give money back. A limit of one has nothing to reserve.
* **Ramp.** A node that comes back gets a tenth of its limit and of its weight, and the rest over
  the ramp's time in a straight line: caches are cold and pools are empty. Two slots are the least,
  one for each kind. What is in doubt from before holds slots of the limit but none of the ramp's:
  it is no work any more, and a node that recovered would else be kept from it for the flight time.
* **Load** is what the choice among equals goes by: (in flight + 1) / (weight * ramp). A node that
  fails in a fifth of a millisecond has nothing in flight and would attract everything; so each
  failure weighs like a call in flight that lasts for ``failure_s``. The weights decay exponentially
  with that time constant, which by Little's law is the same in the mean and costs one number
  instead of a queue.

Rejected: an adaptive limit (it has to be watched in shadow first), and round robin (it feeds a slow
node as much as a fast one).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_LEAST = 2


@dataclass(frozen=True, slots=True)
class LimiterSettings:
    """The ramp, the reserve, and the price of a failure."""

    ramp_s: float = 30.0
    """How long a node that came back takes to its full share."""
    ramp_first: float = 0.1
    """The share it begins with."""
    reserve_of: int = 16
    """One slot of this many is kept for reversals."""
    start_s: float = 10.0
    """A node first ready within this time after our own start needs no ramp."""
    failure_s: float = 0.5
    """How long a failure weighs like a call in flight; half of the node timeout."""

    def problems(self) -> list[str]:
        """Return the rules these values break, a sentence each."""
        broken = []
        if self.ramp_s < 0:
            broken.append("ramp_s must be 0 or more")
        if not 0 < self.ramp_first <= 1:
            broken.append("ramp_first must be above 0 and at most 1")
        if self.reserve_of < 2:
            broken.append("reserve_of must be 2 or more")
        if self.start_s < 0:
            broken.append("start_s must be 0 or more")
        if self.failure_s <= 0:
            broken.append("failure_s must be above 0")
        return broken


class Limiter:
    """The slots of one node."""

    __slots__ = (
        "_failures",
        "_failures_at",
        "_ramp_at",
        "_settings",
        "_started_at",
        "_unreserved",
        "_weight",
        "in_doubt",
        "in_flight",
        "limit",
    )

    def __init__(self, limit: int, weight: float, settings: LimiterSettings, now: float) -> None:
        """Begin with nothing in flight and no ramp."""
        self._settings = settings
        self._weight = weight
        self._started_at = now
        self._ramp_at = -math.inf
        self._failures = 0.0
        self._failures_at = -math.inf
        self._unreserved = self._bound(limit, reversal=False)
        self.limit = limit
        self.in_flight = 0
        self.in_doubt = 0
        """Of those in flight."""

    def share(self, now: float) -> float:
        """Return how far the ramp is, from its first share to 1."""
        elapsed = now - self._ramp_at
        if elapsed >= self._settings.ramp_s:
            return 1.0
        first = self._settings.ramp_first
        return first + (1 - first) * elapsed / self._settings.ramp_s

    def limit_now(self, now: float) -> int:
        """Return the limit with the ramp applied."""
        return min(self.limit, max(_LEAST, int(self.limit * self.share(now))))

    def has_room(self, now: float, *, reversal: bool) -> bool:
        """Return whether a slot is free for a reversal, or for an authorization."""
        if self.in_flight >= (self.limit if reversal else self._unreserved):
            return False
        if now - self._ramp_at >= self._settings.ramp_s:
            return True
        return self.in_flight - self.in_doubt < self._bound(self.limit_now(now), reversal)

    def load(self, now: float) -> float:
        """Return what the node would carry with one more, for its weight and ramp."""
        carried = self.in_flight + 1 + self._failures_now(now)
        return carried / (self._weight * self.share(now))

    def take(self) -> None:
        """Take the slot that ``has_room`` has shown."""
        assert self.in_flight < self.limit, "in flight never exceeds the limit"
        self.in_flight += 1

    def doubt(self) -> None:
        """Take note that what holds a slot is in doubt."""
        self.in_doubt += 1
        assert self.in_doubt <= self.in_flight, "what is in doubt holds a slot"

    def give_back(self, *, in_doubt: bool) -> None:
        """Free a slot."""
        assert self.in_flight > 0, "no slot is taken"
        self.in_flight -= 1
        self.in_doubt -= in_doubt

    def failed(self, now: float) -> None:
        """Let a failure weigh like a slow call."""
        self._failures = self._failures_now(now) + 1
        self._failures_at = now

    def first_ready(self, now: float) -> None:
        """Ramp unless all of us has only just begun: a restart under load may not crawl."""
        if now - self._started_at > self._settings.start_s:
            self.ramp(now)

    def ramp(self, now: float) -> None:
        """Begin again with the first share."""
        self._ramp_at = now

    def _bound(self, limit: int, reversal: bool) -> int:
        """Return what is left of a limit beside the reserve."""
        if reversal:
            return limit
        return max(1, limit - max(1, limit // self._settings.reserve_of))

    def _failures_now(self, now: float) -> float:
        if not self._failures:
            return 0.0
        return self._failures * math.exp((self._failures_at - now) / self._settings.failure_s)
