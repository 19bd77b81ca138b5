"""The breaker of a node: whether it is worth asking, judged by how its sendings ended.

    CLOSED ──trips──▶ OPEN ──after a while──▶ HALF-OPEN ──every round succeeded──▶ CLOSED
                       ▲                          │
                       └───── anything fails ─────┘

*It trips* after five hard failures with no success between them; when, of at least twenty calls in
the last ten seconds, half failed (a soft failure counts half) or half were slow; or when told to:
the node fell silent, its link was lost, its health fell.

*It stays open* for a second, then twice as long each time it fails again, up to half a minute; with
jitter, so that a fleet of switches does not knock in step.

*Half-open* it is cautious by number, not by chance: two echoes through the link, then live permits
in rounds of 1, 2, 4 and 8. A permit is reserved when it is granted, so fifty callers in one instant
get one. Each round must succeed wholly before the next; a slow success is a failure here, since
slowness may be why it opened. A permit that ends for reasons of ours goes back. One that does not
come back at all expires, and its round goes on without it.

*Generations.* Every change of state and every expiry begins a new generation. A result carries the
generation of its permit, and one of an older generation says nothing: what was sent before the
breaker opened may not close it, and a permit that expired may not count twice.

Rejected: the libraries of the field (all of those tried admitted fifty of fifty in half-open, and
none takes the time as an argument); a failure *rate* alone (a node with one call a second would be
dead for twenty seconds before it was noticed, hence the five in a row).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from switch.core.outcome import Outcome
from switch.core.window import Window

ROUNDS = (1, 2, 4, 8)
"""How many live permits each round of half-open has."""

_SLOW = 2
"""An answer is slow that takes this many times the usual p95."""
_WEIGHTS = {
    Outcome.SUCCESS: 0.0,
    Outcome.SOFT: 0.5,
    Outcome.TECHNICAL: 1.0,
    Outcome.IN_DOUBT: 1.0,
    Outcome.CONNECT_FAILURE: 1.0,
}


class Randomness(Protocol):
    """A source of numbers in [0, 1)."""

    def random(self) -> float:
        """Return the next one."""
        ...


class BreakerState(IntEnum):
    """Whether the node is asked."""

    CLOSED = 1
    OPEN = 2
    HALF_OPEN = 3


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When it trips, and how it finds back."""

    consecutive_failures: int = 5
    """Hard failures in a row that trip it."""
    calls_min: int = 20
    """Shares of fewer calls than this say nothing."""
    failed_share: float = 0.5
    """The share of failures among the last calls that trips it."""
    slow_share: float = 0.5
    """The share of slow answers among them that trips it."""
    slow_floor_s: float = 0.5
    """An answer faster than this is never slow; half of the node timeout."""
    open_first_s: float = 1.0
    """How long it stays open the first time; doubled each time it fails again."""
    open_max_s: float = 30.0
    """How long it stays open at most."""
    echoes: int = 2
    """Echoes that must be answered before the first live permit."""
    echo_every_s: float = 0.25
    """How often an echo is asked for while one is missing."""
    permit_s: float = 5.0
    """After this, a live permit that did not come back is given up; more than the node timeout."""

    def problems(self) -> list[str]:
        """Return the rules these values break, a sentence each."""
        broken = []
        if self.consecutive_failures < 1:
            broken.append("consecutive_failures must be 1 or more")
        if self.calls_min < 1:
            broken.append("calls_min must be 1 or more")
        if not 0 < self.failed_share <= 1:
            broken.append("failed_share must be above 0 and at most 1")
        if not 0 < self.slow_share <= 1:
            broken.append("slow_share must be above 0 and at most 1")
        if self.slow_floor_s <= 0:
            broken.append("slow_floor_s must be above 0")
        if not 0 < self.open_first_s <= self.open_max_s:
            broken.append("open_first_s must be above 0 and at most open_max_s")
        if self.echoes < 1:
            broken.append("echoes must be 1 or more")
        if self.echo_every_s <= 0:
            broken.append("echo_every_s must be above 0")
        if self.permit_s <= 2 * self.slow_floor_s:
            broken.append("permit_s must be more than the node timeout, twice slow_floor_s")
        return broken


class Breaker:
    """Closed, open or half-open, in the judgement of one node's outcomes."""

    __slots__ = (
        "_echoes_missing",
        "_failed_in_a_row",
        "_granted",
        "_granted_at",
        "_openings",
        "_random",
        "_round",
        "_settings",
        "_succeeded",
        "_until",
        "_window",
        "generation",
        "since",
        "state",
        "why",
    )

    def __init__(self, settings: BreakerSettings, random: Randomness, now: float) -> None:
        """Begin closed."""
        self._settings = settings
        self._random = random
        self._window = Window()
        self._failed_in_a_row = 0
        self._openings = 0
        """Since it was last closed."""
        self._until = -math.inf
        self._echoes_missing = 0
        self._round = 0
        self._granted = 0
        """Permits of this round that were granted and did not go back."""
        self._granted_at = -math.inf
        self._succeeded = 0
        self.state = BreakerState.CLOSED
        self.generation = 0
        self.why = ""
        """Why it opened, for as long as it is not closed."""
        self.since = now
        """When it came into this state."""

    def grants(self, now: float) -> bool:
        """Return whether it would grant a permit."""
        if self.state is BreakerState.CLOSED:
            return True
        return (
            self.state is BreakerState.HALF_OPEN
            and not self._echoes_missing
            and (self._granted < ROUNDS[self._round] or self._expired(now))
        )

    def take(self, now: float) -> int:
        """Take the permit that ``grants`` has shown; return its generation."""
        assert self.grants(now), "no permit to take"
        if self.state is BreakerState.HALF_OPEN:
            self._expire(now)
            self._granted += 1
            self._granted_at = now
        return self.generation

    def holds(self, generation: int, now: float) -> bool:
        """Return whether a permit of ``generation`` may still be used."""
        return generation == self.generation and not self._expired(now)

    def score(
        self,
        generation: int,
        outcome: Outcome,
        now: float,
        duration_s: float = 0.0,
        usual_p95_s: float = 0.0,
    ) -> None:
        """Take the end of a permit of ``generation``; LOCAL gives it back."""
        if generation != self.generation:
            return
        weight = _WEIGHTS.get(outcome)
        slow = duration_s > max(_SLOW * usual_p95_s, self._settings.slow_floor_s)
        if self.state is BreakerState.HALF_OPEN:
            self._score_live(weight, outcome, now, slow=slow)
        elif weight is not None:
            self._score_closed(weight, now, slow=slow)

    def echo_answered(self, now: float) -> None:
        """Take an echo; while half-open each brings the first live permit nearer."""
        self.advance(now)
        if self.state is BreakerState.HALF_OPEN and self._echoes_missing:
            self._echoes_missing -= 1

    def wants_echo(self, now: float) -> bool:
        """Return whether an echo would bring it nearer to being closed."""
        if self.state is BreakerState.OPEN:
            return now >= self._until
        return self.state is BreakerState.HALF_OPEN and self._echoes_missing > 0

    def trip(self, why: str, now: float) -> None:
        """Open on evidence from elsewhere; an open breaker stays as it is."""
        if self.state is not BreakerState.OPEN:
            self._open(why, now)

    def advance(self, now: float) -> None:
        """Do what time does: half-open after a while, expire permits."""
        if self.state is BreakerState.OPEN and now >= self._until:
            self._become(BreakerState.HALF_OPEN, now)
            self._echoes_missing = self._settings.echoes
            self._round = self._granted = self._succeeded = 0
        elif self.state is BreakerState.HALF_OPEN:
            self._expire(now)

    def next_at(self, now: float) -> float:
        """Return when ``advance`` would do something, or an echo be due again."""
        if self.state is BreakerState.OPEN:
            return self._until
        if self.state is BreakerState.HALF_OPEN:
            if self._echoes_missing:
                return now + self._settings.echo_every_s
            if self._granted > self._succeeded:
                return self._granted_at + self._settings.permit_s
        return math.inf

    def _score_closed(self, weight: float, now: float, *, slow: bool) -> None:
        settings, window = self._settings, self._window
        window.add(now, weight, slow=slow)
        if weight == 0:
            self._failed_in_a_row = 0
        elif weight == 1:
            self._failed_in_a_row += 1
            if self._failed_in_a_row >= settings.consecutive_failures:
                self._open("failed in a row", now)
                return
        if window.calls >= settings.calls_min:
            if window.failed >= settings.failed_share * window.calls:
                self._open("failures", now)
            elif window.slow >= settings.slow_share * window.calls:
                self._open("slow", now)

    def _score_live(
        self, weight: float | None, outcome: Outcome, now: float, *, slow: bool
    ) -> None:
        if weight is None:
            self._granted -= 1
        elif weight:
            self._open(f"half-open: {outcome.name.lower()}", now)
        elif slow:
            self._open("half-open: slow", now)
        else:
            self._succeeded += 1
            if self._succeeded == ROUNDS[self._round]:
                self._next_round(now)

    def _next_round(self, now: float) -> None:
        if self._round + 1 == len(ROUNDS):
            self._become(BreakerState.CLOSED, now)
            self._openings = 0
            self.why = ""
            return
        self._round += 1
        self._granted = self._succeeded = 0

    def _open(self, why: str, now: float) -> None:
        doubled = self._settings.open_first_s * 2.0 ** min(self._openings, 20)
        jitter = 0.8 + 0.4 * self._random.random()
        self._until = now + min(doubled, self._settings.open_max_s) * jitter
        self._openings += 1
        self.why = why
        self._become(BreakerState.OPEN, now)

    def _become(self, state: BreakerState, now: float) -> None:
        self.state = state
        self.since = now
        self.generation += 1
        self._failed_in_a_row = 0
        self._window = Window()

    def _expired(self, now: float) -> bool:
        return self._granted > self._succeeded and now >= self._granted_at + self._settings.permit_s

    def _expire(self, now: float) -> None:
        """Give up the permits that did not come back; the round keeps what succeeded."""
        if self._expired(now):
            self._granted = self._succeeded
            self.generation += 1
