"""What a node says of its own health, and how much of it is believed.

The node is checked every second. Three failures in a row are a fall, two successes a rise: one lost
datagram is not an outage, one lucky answer not a recovery. Both numbers are small because a switch
has few nodes: the outlier rules of the big proxies need five hosts and compare them.

Deeds count more than words: a node that answered a payment within the last second is alive,
whatever its health says, so a failed check is then not even counted. The other way round health
vouches for nothing: a fall trips the breaker, a rise never closes it.

A new link is a new beginning: what was counted before it says nothing about who answers now.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """How many checks make a change."""

    fall: int = 3
    """Failed checks in a row that make a node ill."""
    rise: int = 2
    """Good checks in a row that make it well."""
    alive_s: float = 1.0
    """For this long after an answered payment a failed check does not count."""

    def problems(self) -> list[str]:
        """Return the rules these values break, a sentence each."""
        broken = []
        if self.fall < 1:
            broken.append("fall must be 1 or more")
        if self.rise < 1:
            broken.append("rise must be 1 or more")
        if self.alive_s < 0:
            broken.append("alive_s must be 0 or more")
        return broken


class Health:
    """The health of one node; up until it is shown to be down."""

    __slots__ = ("_against", "_answered_at", "_settings", "up")

    def __init__(self, settings: HealthSettings) -> None:
        """Begin up."""
        self._settings = settings
        self._answered_at = -math.inf
        self._against = 0
        """Checks in a row that contradict ``up``."""
        self.up = True

    def answered(self, now: float) -> None:
        """Take note that a payment was answered."""
        self._answered_at = now

    def counts(self, ok: bool, now: float) -> bool:
        """Return whether a check is believed: a failed one not of a node that just answered."""
        return ok or now - self._answered_at > self._settings.alive_s

    def checked(self, ok: bool) -> bool:
        """Take a check that counts; return whether the node fell with it."""
        if ok is self.up:
            self._against = 0
            return False
        self._against += 1
        if self._against < (self._settings.rise if ok else self._settings.fall):
            return False
        self._against = 0
        self.up = ok
        return not ok

    def forget(self) -> None:
        """Begin again, as up: the link is a new one."""
        self._against = 0
        self.up = True
