"""A node that has fallen silent with work on its hands: the fastest sign of its death.

A stopped process keeps its connection open and swallows what is written; a time-out tells so one
payment at a time, after a second each. Silence tells it of all of them at once: eight or more wait
and nothing at all came back for a quarter of a second, or for three times the p99 if that is
longer, or for a second at the most.

The clock starts at the last completion, or at the hand-over of the oldest that waits if that was
later. Both are one number: a completion sets it, and so does the hand-over before which nobody
waited, since while anybody waits and nothing completes the oldest stays the oldest. So there is no
queue to keep.

An alarm that itself comes late is not believed at once: if this process was away for a while, the
answers may lie in its sockets. It marks the node as suspect and asks to be called again in a
millisecond, so that one pass of input runs first.

Fewer than eight in flight may simply be slow; for them the time-outs and the breaker are enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StallSettings:
    """What silence means."""

    waiting_min: int = 8
    """Silence of a node with fewer than this many sendings says nothing."""
    silence_min_s: float = 0.25
    """Silence shorter than this is no stall."""
    silence_max_s: float = 1.0
    """Silence longer than this always is."""
    p99_factor: float = 3.0
    """In between, silence is a stall from this many times the node's p99 on."""
    look_every_s: float = 0.025
    """How often a silent node with too few sendings is looked at again."""
    late_s: float = 0.05
    """A look that comes later than this lets one pass of input run first."""
    pass_s: float = 0.001
    """How long that pass gets."""

    def problems(self) -> list[str]:
        """Return the rules these values break, a sentence each."""
        broken = []
        if self.waiting_min < 1:
            broken.append("waiting_min must be 1 or more")
        if not 0 < self.silence_min_s <= self.silence_max_s:
            broken.append("silence_min_s must be above 0 and at most silence_max_s")
        if self.p99_factor < 1:
            broken.append("p99_factor must be 1 or more")
        if not 0 < self.look_every_s <= self.silence_min_s:
            broken.append("look_every_s must be above 0 and at most silence_min_s")
        if not 0 < self.pass_s <= self.late_s:
            broken.append("pass_s must be above 0 and at most late_s")
        return broken


class Stall:
    """The clock of one node's silence."""

    __slots__ = ("_believed_at", "_settings", "_silent_since", "waiting")

    def __init__(self, settings: StallSettings) -> None:
        """Begin with nobody waiting."""
        self._settings = settings
        self._silent_since = math.inf
        self.waiting = 0
        """Sendings handed over that are still waited for."""
        self._believed_at: float | None = None
        """When silence is believed that was noticed late."""

    def handed_over(self, now: float) -> None:
        """Take a hand-over."""
        if not self.waiting:
            self._silent_since = now
            self._believed_at = None
        self.waiting += 1

    def answered(self, now: float) -> None:
        """Take a completion, waited for or late: the node is not silent."""
        self._silent_since = now
        self._believed_at = None

    def settled(self) -> None:
        """Stop waiting for one sending; one that was never handed over changes nothing."""
        if self.waiting:
            self.waiting -= 1

    def stalled(self, p99_s: float, now: float) -> bool:
        """Return whether the node has stalled; after a stall the clock starts anew."""
        if self.waiting < self._settings.waiting_min:
            self._believed_at = None
            return False
        late_s = now - self._stalls_at(p99_s)
        if late_s < 0:
            return False
        if late_s > self._settings.late_s and self._believed_at is None:
            self._believed_at = now + self._settings.pass_s
        if self._believed_at is not None and now < self._believed_at:
            return False
        self.answered(now)
        return True

    @property
    def suspect(self) -> bool:
        """Return whether the node is silent, and one pass of input is waited for."""
        return self._believed_at is not None

    def next_at(self, p99_s: float, now: float) -> float:
        """Return when to look again; no stall is seen later than ``look_every_s`` after it."""
        if self._believed_at is not None:
            return self._believed_at
        if not self.waiting:
            return now + self._settings.silence_min_s
        return max(self._stalls_at(p99_s), now + self._settings.look_every_s)

    def _stalls_at(self, p99_s: float) -> float:
        settings = self._settings
        silence_s = max(settings.silence_min_s, settings.p99_factor * p99_s)
        return self._silent_since + min(silence_s, settings.silence_max_s)
