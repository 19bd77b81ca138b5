"""What is owed and when it is sent: the order of the store-and-forward, without the sending.

One logical queue per ledger, and in it one line per reference: reversals of one reference go in
the order in which they were owed, because a partial one and the next may not cross; reversals of
different references have nothing to do with each other and go side by side, up to a bound. So one
poisoned message parks and blocks nobody but its own reference.

A reversal is sent until it is acknowledged. Every send is written down before it leaves (the count
is the repeat mark: from the first unacknowledged send on, it is a repeat, crash or no crash). After
a failure it waits, doubling from half a second to a minute, with jitter, so that a ledger that
comes back is not met by all that is owed to it at once. A ledger without a usable node is asked
again after a short, constant while: that costs no message, so it is no failed send, and the first
node that comes back is used within that while.

Rejected: a back-off per ledger (one slow reference would hold back all), and one head for
everything (a dead ledger would hold back the living).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from switch.core.agenda import Agenda
from switch.core.message import OwedReversal


class Randomness(Protocol):
    """A source of numbers in [0, 1)."""

    def random(self) -> float:
        """Return the next one."""
        ...


@dataclass(frozen=True, slots=True)
class BacklogSettings:
    """Pace of the store-and-forward, in seconds and messages."""

    backoff_first_s: float = 0.5
    """The wait after the first failed send; doubled each time."""
    backoff_max_s: float = 60.0
    """The longest wait."""
    parallel_max: int = 32
    """Reversals under way per ledger at most."""
    page_after_sends: int = 10
    """From this send on a person is told."""
    no_node_s: float = 0.1
    """How long a ledger without a usable node is left alone."""

    def problems(self) -> list[str]:
        """Return the rules these values break, a sentence each."""
        broken = []
        if not 0 < self.backoff_first_s <= self.backoff_max_s:
            broken.append("backoff_first_s must be above 0 and at most backoff_max_s")
        if self.parallel_max < 1:
            broken.append("parallel_max must be 1 or more")
        if self.no_node_s <= 0:
            broken.append("no_node_s must be above 0")
        return broken


class Backlog:
    """The reversals that are owed."""

    __slots__ = ("_lines", "_paused", "_random", "_ready", "_settings", "_under_way", "_waiting")

    def __init__(self, settings: BacklogSettings, random: Randomness) -> None:
        """Begin with nothing owed."""
        self._settings = settings
        self._random = random
        self._lines: dict[bytes, deque[OwedReversal]] = {}
        """By reference; the head is what may be sent."""
        self._ready: dict[str, deque[OwedReversal]] = {}
        """By ledger: heads that may be sent now, oldest first."""
        self._waiting: Agenda[OwedReversal] = Agenda()
        self._under_way: dict[str, int] = {}
        self._paused: dict[str, float] = {}
        """Ledgers without a usable node, and until when they are left alone."""

    def __len__(self) -> int:
        """Return how many are owed, parked ones left out."""
        return sum(len(line) for line in self._lines.values())

    def owe(self, owed: OwedReversal) -> None:
        """Add one; parked ones are not sent."""
        if owed.parked:
            return
        line = self._lines.get(owed.reference)
        if line is None:
            self._lines[owed.reference] = deque([owed])
            self._make_ready(owed)
        elif all(o.reversal_reference != owed.reversal_reference for o in line):
            line.append(owed)

    def due(self, now: float) -> list[OwedReversal]:
        """Return what may be sent now, oldest first; each is under way until told otherwise."""
        for owed in self._waiting.due(now):
            self._make_ready(owed)
        chosen: list[OwedReversal] = []
        for ledger, ready in self._ready.items():
            if self._paused.get(ledger, now) > now:
                continue
            under_way = self._under_way.get(ledger, 0)
            while ready and under_way < self._settings.parallel_max:
                chosen.append(ready.popleft())
                under_way += 1
            self._under_way[ledger] = under_way
        return chosen

    def no_node(self, owed: OwedReversal, now: float) -> None:
        """Put one back that found no node: nothing was sent, its ledger is left alone a while."""
        self._under_way[owed.ledger] -= 1
        self._ready[owed.ledger].appendleft(owed)
        self._paused[owed.ledger] = now + self._settings.no_node_s

    def failed(self, owed: OwedReversal, now: float) -> None:
        """Put one back that was sent and not acknowledged: it waits, longer each time."""
        self._under_way[owed.ledger] -= 1
        doubled = self._settings.backoff_first_s * 2.0 ** min(max(owed.sends - 1, 0), 20)
        delay = min(doubled, self._settings.backoff_max_s)
        self._waiting.add(now + delay * (0.5 + self._random.random() / 2), owed)

    def done(self, owed: OwedReversal) -> None:
        """Drop one that is acknowledged or parked; the next of its reference may go."""
        self._under_way[owed.ledger] -= 1
        line = self._lines[owed.reference]
        assert line[0] is owed, "reversals of one reference go in order"
        line.popleft()
        if line:
            self._make_ready(line[0])
        else:
            del self._lines[owed.reference]

    def holds(self, owed: OwedReversal) -> bool:
        """Return whether it is still owed, and its turn."""
        line = self._lines.get(owed.reference)
        return line is not None and line[0] is owed

    def next_at(self, now: float) -> float | None:
        """Return when ``due`` may have something, given that it has just been asked."""
        instants = [
            # It may have passed since: the commit between took its time.
            max(until, now)
            for ledger, until in self._paused.items()
            if self._ready.get(ledger)
            and self._under_way.get(ledger, 0) < self._settings.parallel_max
        ]
        waiting = self._waiting.next_at()
        if waiting is not None:
            instants.append(waiting)
        return min(instants, default=None)

    def _make_ready(self, owed: OwedReversal) -> None:
        self._ready.setdefault(owed.ledger, deque()).append(owed)
