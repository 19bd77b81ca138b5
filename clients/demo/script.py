"""What happens when: the script of a demonstration, written for thirty seconds and scaled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

WRITTEN_FOR_S = 30.0
HOLD_DOWN_S = 2.0
"""How long a node must be well before it is used again, and how long its share then grows. The
switch's own default is 30 s, which would outlast the show."""


class Act(Enum):
    """One thing that is done."""

    KILL_PRIMARY = "kill -9 the primary node"
    RESTART_PRIMARY = "restart the primary node"
    KILL_SWITCH = "kill -9 the switch itself"
    STOP_SALES = "stop new sales"


class Cue(NamedTuple):
    """When, in seconds after the first sale, and what."""

    at_s: float
    act: Act


@dataclass(frozen=True, slots=True)
class Script:
    """One demonstration."""

    seconds: float = WRITTEN_FOR_S
    rate: float = 400.0
    """Sales a second, all terminals together."""
    seed: int = 1
    separate_ledgers: bool = False
    kill_switch: bool = True

    def cues(self) -> Iterator[Cue]:
        """List what is done, in order."""
        scale = self.seconds / WRITTEN_FOR_S
        yield Cue(5 * scale, Act.KILL_PRIMARY)
        yield Cue(8 * scale, Act.RESTART_PRIMARY)
        yield Cue(14 * scale, Act.KILL_PRIMARY)
        yield Cue(16 * scale, Act.RESTART_PRIMARY)
        if self.kill_switch:
            yield Cue(21 * scale, Act.KILL_SWITCH)
        yield Cue(self.sell_for_s, Act.STOP_SALES)

    @property
    def sell_for_s(self) -> float:
        """For how long terminals sell."""
        return 28 * self.seconds / WRITTEN_FOR_S

    @property
    def hold_down_s(self) -> float:
        """The hold-down, and the ramp after it."""
        return round(HOLD_DOWN_S * min(self.seconds / WRITTEN_FOR_S, 1.0), 3)
