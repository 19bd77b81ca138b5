"""A node: what was ordered of it, what is seen of it, and what follows.

Three things are kept apart. The operator's *intent* is an order and outranks everything. What is
*observed* (the link, the health, how sendings end) feeds the breaker, the limiter and the
hold-down, each of which has its own file and its own rules. What *applies* is computed from both
when it is asked for, never stored, so it cannot be stale.

    may it take one?   link ready · intent allows · breaker grants · a slot is free
    may it lead?       and its breaker is closed, and its hold-down over; else it is a spare

How the observations work on each other:

* A ready link that is lost is hard evidence and opens the breaker at once. One that ends after its
  node said goodbye is no failure; the node ramps up when it is back. A node that was never ready is
  not broken, only not there.
* The first time a link is ready it is used at once, since there was no failure to wait after.
* A breaker that opens begins the hold-down; one that closes begins the ramp.
* Time passes for a breaker only while the link is there: an echo needs it.

A *permit* is a slot and the breaker's leave in one, reserved in the step that granted it. It is
scored once at most and released exactly once; released without a score it ended for reasons of
ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from switch.core.breaker import Breaker, BreakerState
from switch.core.health import Health
from switch.core.hold_down import HoldDown
from switch.core.latency import Latency
from switch.core.limiter import Limiter
from switch.core.outcome import Outcome
from switch.core.snapshot import Fact, Intent, LinkState, NodeSnapshot
from switch.core.stall import Stall


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """One address of a processor."""

    name: str
    processor: str
    ledger: str
    """What remembers its authorizations; nodes with one ledger may stand in for each other."""
    address: str
    tier: int = 0
    """Lower ones are asked first."""
    limit: int = 128
    """In flight at most."""
    weight: float = 1.0
    """Its share among equals."""


class Node:
    """One address of a processor, with everything that is known of it."""

    __slots__ = (
        "_latency",
        "_note",
        "_seen",
        "_stall",
        "answered_count",
        "breaker",
        "doubted_count",
        "fell_at",
        "health",
        "hold_down",
        "intent",
        "limiter",
        "link",
        "settings",
        "was_ready",
    )

    def __init__(
        self,
        settings: NodeSettings,
        *,
        breaker: Breaker,
        limiter: Limiter,
        health: Health,
        hold_down: HoldDown,
        stall: Stall,
        latency: Latency,
        note: Callable[[Fact], None],
    ) -> None:
        """Begin enabled and without a link; ``note`` is told what changes."""
        self.settings = settings
        self.breaker = breaker
        self.limiter = limiter
        self.health = health
        self.hold_down = hold_down
        self._stall = stall
        self._latency = latency
        self._note = note
        self.intent = Intent.ENABLED
        self.link = LinkState.DOWN
        self.answered_count = 0
        self.doubted_count = 0
        """Sendings that ended in doubt since the start."""
        self.fell_at: float | None = None
        """When its breaker last opened from closed."""
        self.was_ready = False
        self._seen = breaker.state
        """The breaker's state when it was last looked at."""

    # --- what is seen of it ------------------------------------------------------------------

    def link_ready(self, now: float) -> None:
        """The link can carry payments."""
        self.link = LinkState.READY
        self.health.forget()
        self.hold_down.healthy(now)
        if self.was_ready:
            self.limiter.ramp(now)
        else:
            self.limiter.first_ready(now)
        self.was_ready = True
        self.breaker.advance(now)
        self._follow(now)

    def link_draining(self, now: float) -> None:
        """The node said that it will end the link."""
        if self.link is LinkState.READY:
            self.link = LinkState.DRAINING

    def link_lost(self, now: float) -> None:
        """The link ended."""
        was, self.link = self.link, LinkState.DOWN
        self.hold_down.ill()
        # A half-open breaker has learned about a link that is no more.
        if was is LinkState.READY or self.breaker.state is BreakerState.HALF_OPEN:
            self.breaker.trip("link lost", now)
            self._follow(now)

    def health_checked(self, ok: bool, now: float) -> None:
        """Take the result of a health check."""
        if self.link is not LinkState.READY or not self.health.counts(ok, now):
            return
        fell = self.health.checked(ok)
        if not ok:
            self.hold_down.ill()
        elif self.health.up:
            self.hold_down.healthy(now)
        if fell:
            self.breaker.trip("health", now)
            self._follow(now)

    def echo_answered(self, now: float) -> None:
        """Take an echo that came back through the link."""
        if self.health.up:
            self.hold_down.healthy(now)
        self.breaker.echo_answered(now)
        self._follow(now)

    def handed_over(self, now: float) -> None:
        """Take note that a sending was offered to the link."""
        self._stall.handed_over(now)

    def answered(self, duration_s: float, now: float) -> None:
        """Take note of an answer, whatever it said and whoever waits for it."""
        self.answered_count += 1
        self._stall.answered(now)
        self._latency.record(duration_s, now)
        self.health.answered(now)

    # --- what follows from it ----------------------------------------------------------------

    def usable(self, now: float) -> bool:
        """Return whether it may be given an authorization, free slots aside."""
        return self.takes(now, reversal=False)

    def takes(self, now: float, *, reversal: bool) -> bool:
        """Return whether it may be given one, free slots aside."""
        return self.link is LinkState.READY and self._allows(reversal) and self.breaker.grants(now)

    def leads(self) -> bool:
        """Return whether it is more than a spare, given that it may be used."""
        return self.breaker.state is BreakerState.CLOSED and not self.hold_down.running

    def wants_live(self, now: float) -> bool:
        """Return whether its breaker has a live permit to try it with, and it may be tried."""
        return (
            self.breaker.state is BreakerState.HALF_OPEN
            and self.health.up
            and self.takes(now, reversal=False)
            and self.limiter.has_room(now, reversal=False)
        )

    def wants_echo(self, now: float) -> bool:
        """Return whether an echo would help its breaker on; one in flight at a time is enough."""
        return self.link is LinkState.READY and self.breaker.wants_echo(now)

    @property
    def in_flight(self) -> int:
        """Return how many slots are taken."""
        return self.limiter.in_flight

    def limit_now(self, now: float) -> int:
        """Return the limit with the ramp applied."""
        return self.limiter.limit_now(now)

    def snapshot(self, now: float) -> NodeSnapshot:
        """Return the node as operators see it."""
        return NodeSnapshot(
            name=self.settings.name,
            intent=self.intent,
            link=self.link,
            breaker=self.breaker.state,
            why=self.breaker.why,
            since=self.breaker.since,
            usable=self.usable(now),
            hold_down=self.hold_down.running,
            in_flight=self.in_flight,
            limit=self.limit_now(now),
            answered=self.answered_count,
            in_doubt=self.limiter.in_doubt,
            rate_per_s=self._latency.rate_per_s(now),
            p50_s=self._latency.quantile(0.5, now),
            p99_s=self._latency.quantile(0.99, now),
        )

    # --- permits -----------------------------------------------------------------------------

    def reserve(self, now: float, *, reversal: bool) -> Permit:
        """Reserve a slot and the breaker's leave; both were seen to be free."""
        generation = self.breaker.take(now)
        self.limiter.take()
        probe = self.breaker.state is BreakerState.HALF_OPEN
        return Permit(self, generation, probe=probe, reversal=reversal)

    def honours(self, permit: Permit, now: float) -> bool:
        """Return whether what the permit was granted for may still be handed over."""
        return (
            self.link is LinkState.READY
            and self._allows(permit.reversal)
            and self.breaker.holds(permit.generation, now)
        )

    def settled(self, permit: Permit, outcome: Outcome, now: float, duration_s: float) -> None:
        """Take how a sending ended."""
        self._stall.settled()
        if outcome is Outcome.IN_DOUBT:
            self.doubted_count += 1
            self.limiter.doubt()
        if outcome is not Outcome.SUCCESS and outcome is not Outcome.LOCAL:
            self.limiter.failed(now)
        self.breaker.score(permit.generation, outcome, now, duration_s, self._latency.usual_p95_s)
        self._follow(now)

    def released(self, permit: Permit, outcome: Outcome | None, now: float) -> None:
        """Take a slot back; without an outcome the permit was never used."""
        self.limiter.give_back(in_doubt=outcome is Outcome.IN_DOUBT)
        if outcome is None:
            self.breaker.score(permit.generation, Outcome.LOCAL, now)

    # --- orders and time ---------------------------------------------------------------------

    def order(self, intent: Intent, now: float) -> None:
        """Take the operator's order; enabling ends the hold-down and begins the ramp."""
        before, self.intent = self.intent, intent
        if intent is not Intent.ENABLED:
            return
        if self.hold_down.running:
            self.lead(now, "operator", ramp=True)
        elif before is not intent:
            self.limiter.ramp(now)

    def lead(self, now: float, why: str, *, ramp: bool) -> None:
        """End the hold-down."""
        self.hold_down.end()
        if ramp:
            self.limiter.ramp(now)
        self._tell("hold_down_ended", why, now)

    def leads_at(self) -> float:
        """Return when its hold-down is over; infinite if there is none, or no end in sight."""
        closed = self.breaker.state is BreakerState.CLOSED
        if not (self.hold_down.running and closed and self.link is LinkState.READY):
            return math.inf
        return self.hold_down.ends_at()

    def due(self, now: float) -> float:
        """Do what time does; return when there is more, infinite if nothing can be."""
        if self.link is LinkState.DOWN:
            return math.inf
        self.breaker.advance(now)
        self._follow(now)
        return min(self.breaker.next_at(now), self._stall.next_at(self._latency.p99_s, now))

    def fell_silent(self, now: float) -> bool:
        """Return whether it has stalled; true once for each stall."""
        return self.link is not LinkState.DOWN and self._stall.stalled(self._latency.p99_s, now)

    def stall(self, now: float) -> None:
        """Take its silence for a failure; ``stalled`` says that what waits may go elsewhere."""
        self._tell("stalled", f"{self._stall.waiting} wait", now)
        self.breaker.trip("stalled", now)
        self._follow(now)

    def bear_silence(self, now: float) -> None:
        """Leave it in business: there is nobody to take its place."""
        self._tell("silent", f"{self._stall.waiting} wait, and no other node is usable", now)

    def _allows(self, reversal: bool) -> bool:
        return self.intent is Intent.ENABLED or (reversal and self.intent is Intent.DRAINED)

    def _follow(self, now: float) -> None:
        """Draw the consequences of what the breaker has become."""
        before, state = self._seen, self.breaker.state
        if state is before:
            return
        self._seen = state
        if state is BreakerState.HALF_OPEN:
            self._tell("breaker_half_opened", self.breaker.why, now)
        elif state is BreakerState.CLOSED:
            self.limiter.ramp(now)
            self._tell("breaker_closed", "", now)
        elif before is BreakerState.HALF_OPEN:
            self.hold_down.ill()
            self._tell("breaker_opened", self.breaker.why, now)
        else:
            self.fell_at = now
            flaps = self.hold_down.fell(now)
            self._tell("breaker_opened", self.breaker.why, now)
            if flaps:
                self._tell("node_flapping", "it fell too often", now)

    def _tell(self, name: str, why: str, now: float) -> None:
        self._note(Fact(self.settings.name, name, why, now))


class Permit:
    """A slot at a node and its breaker's leave to use it."""

    __slots__ = ("_outcome", "_released", "generation", "node", "probe", "reversal")

    def __init__(self, node: Node, generation: int, *, probe: bool, reversal: bool) -> None:
        """Hold what the node has reserved."""
        self.node = node
        self.generation = generation
        """The breaker's when it was granted."""
        self.probe = probe
        """One of the few with which a half-open breaker tries its node."""
        self.reversal = reversal
        self._outcome: Outcome | None = None
        self._released = False

    def score(self, outcome: Outcome, now: float, duration_s: float = 0.0) -> None:
        """Tell how the sending ended; only the first time counts."""
        if self._outcome is None and not self._released:
            self._outcome = outcome
            self.node.settled(self, outcome, now, duration_s)

    def release(self, now: float) -> None:
        """Free the slot; without a score the permit ended for reasons of ours."""
        assert not self._released, "a permit is released exactly once"
        self._released = True
        self.node.released(self, self._outcome, now)
