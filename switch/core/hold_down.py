"""The time a node has to wait after a failure before it leads again.

Down at once, up slowly: a node that failed comes back only after half a minute of continuous
health, because what fails and recovers in a breath will do so again, and each change moves the
whole traffic. Any sign of illness starts the half minute anew. Meanwhile the node is a spare: used
when no other node can take a payment, and for the few live permits by which its breaker closes.

A node that falls five times within ten minutes flaps; it waits four times as long, and an operator
is told.

An operator who enables a node has looked at it: that ends the waiting.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HoldDownSettings:
    """How long, and for whom longer."""

    hold_s: float = 30.0
    """Continuous health before a node leads again."""
    failback_every_s: float = 60.0
    """Of one processor's nodes, one at most comes back in this time while another carries."""
    flaps: int = 5
    """Falls within ``flap_s`` that make a node a flapping one."""
    flap_s: float = 600.0
    """How far back falls are counted."""
    flap_factor: float = 4.0
    """How much longer a flapping node waits."""

    def problems(self) -> list[str]:
        """Return the rules these values break, a sentence each."""
        broken = []
        if self.hold_s < 0:
            broken.append("hold_s must be 0 or more")
        if self.failback_every_s < 0:
            broken.append("failback_every_s must be 0 or more")
        if self.flaps < 2:
            broken.append("flaps must be 2 or more")
        if self.flap_s <= 0:
            broken.append("flap_s must be above 0")
        if self.flap_factor < 1:
            broken.append("flap_factor must be 1 or more")
        return broken


class HoldDown:
    """The waiting of one node."""

    __slots__ = ("_falls", "_healthy_at", "_settings", "flapping", "running")

    def __init__(self, settings: HoldDownSettings) -> None:
        """Begin with nothing to wait for."""
        self._settings = settings
        self._falls: deque[float] = deque(maxlen=settings.flaps)
        self._healthy_at = math.inf
        """Since when it has been healthy without a break; not yet, if infinite."""
        self.flapping = False
        self.running = False

    def fell(self, now: float) -> bool:
        """Begin to wait, as a node that worked has failed; return whether it now flaps."""
        falls, flapped = self._falls, self.flapping
        falls.append(now)
        self.flapping = (
            len(falls) == self._settings.flaps and now - falls[0] <= self._settings.flap_s
        )
        self.running = True
        self._healthy_at = math.inf
        return self.flapping and not flapped

    def ill(self) -> None:
        """Take a sign of illness: what was waited so far does not count."""
        self._healthy_at = math.inf

    def healthy(self, now: float) -> None:
        """Take a sign of health."""
        self._healthy_at = min(self._healthy_at, now)

    def ends_at(self) -> float:
        """Return when it is over if the node stays healthy; infinite while it is ill."""
        factor = self._settings.flap_factor if self.flapping else 1.0
        return self._healthy_at + self._settings.hold_s * factor

    def end(self) -> None:
        """Wait no longer."""
        self.running = False
