"""The routing table: owns the nodes, and chooses among them.

*The choice.* Those that may take a payment are ranked by three questions: does it lead, or is it a
spare (in hold-down, or half-open)? which tier? how loaded is it? The lowest wins; one without a
free slot is passed over, so a full node means the free slots of the next tier. A spare is used
when no leader can take it, because a payment refused beside a working node is worse than a node
used too early.

*Live permits.* A half-open breaker closes only by live payments, and a node that gets none never
recovers. So it gets them before its turn and across tiers, at most fifteen in a recovery: a backup
that is tried only when the primary is dead is no backup. But only a payment's first sending is used
for that; one that has seen trouble already goes where there is least to fear, and so does a node
whose health is down.

*Reversals* go wherever they can: to drained nodes, into the reserve, to spares. Somebody must be
first at a node that comes back, and a reversal does no harm.

*Failback.* A hold-down that is over ends at once if no other node of the processor is usable; else
at most one ends in a minute, for each moves the traffic, and begins with the ramp.

Every grant reserves the slot and the breaker's permit in the same step. The decision is linear in
a processor's nodes, which are few and sorted beforehand.

*Silence* of the last usable node is borne. It is the softest of all evidence: a ledger that pauses
silences every node before it, and to open every breaker would make a second of refusals out of a
quarter of a second of waiting. What waits keeps its time-outs, and those are hard evidence.

If all nodes that ever worked fall within two seconds of each other, it is rather us: our network,
our processor, our clock. That is told and nothing else: refusing everything would make it true.

Rejected: random choice of two (with two or three nodes it is a coin), consistent hashing (nothing
here is sticky), and a global view shared between switches (losing it may not change anything).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from switch.core.breaker import Breaker, BreakerSettings, BreakerState, Randomness
from switch.core.health import Health, HealthSettings
from switch.core.hold_down import HoldDown, HoldDownSettings
from switch.core.latency import Latency
from switch.core.limiter import Limiter, LimiterSettings
from switch.core.node import Node, NodeSettings, Permit
from switch.core.outcome import Outcome
from switch.core.snapshot import Fact, Intent, LinkState, NodeSnapshot
from switch.core.stall import Stall, StallSettings

__all__ = [
    "BreakerState",
    "Fact",
    "Intent",
    "LinkState",
    "Node",
    "NodeSettings",
    "NodeSnapshot",
    "Outcome",
    "Permit",
    "Refusal",
    "RoutingSettings",
    "RoutingTable",
]

_TOGETHER_S = 2.0
"""Nodes that fall within this time of each other fall together."""


class Refusal(IntEnum):
    """Why no permit is granted."""

    NOT_READY = 1
    """No node may take it."""
    FULL = 2
    """A node may take it, and has no free slot."""


@dataclass(frozen=True, slots=True)
class RoutingSettings:
    """The settings of what every node has."""

    breaker: BreakerSettings = field(default_factory=BreakerSettings)
    limiter: LimiterSettings = field(default_factory=LimiterSettings)
    health: HealthSettings = field(default_factory=HealthSettings)
    hold_down: HoldDownSettings = field(default_factory=HoldDownSettings)
    stall: StallSettings = field(default_factory=StallSettings)

    def problems(self) -> list[str]:
        """Return the rules these values break, a sentence each."""
        parts = {
            "breaker": self.breaker.problems(),
            "limiter": self.limiter.problems(),
            "health": self.health.problems(),
            "hold_down": self.hold_down.problems(),
            "stall": self.stall.problems(),
        }
        return [f"{name}.{problem}" for name, problems in parts.items() for problem in problems]


class RoutingTable:
    """The nodes, and which of them takes what."""

    __slots__ = ("_facts", "_failed_back_at", "_processors", "_settings", "ledgers", "nodes")

    def __init__(
        self,
        nodes: Sequence[NodeSettings],
        settings: RoutingSettings,
        random: Randomness,
        now: float,
    ) -> None:
        """Make the nodes, all without a link."""
        self._settings = settings
        self._facts: list[Fact] = []
        self.nodes: dict[str, Node] = {}
        """By name."""
        self.ledgers: dict[str, list[Node]] = {}
        """The nodes before each ledger, lower tiers first."""
        self._processors: dict[str, list[Node]] = {}
        self._failed_back_at: dict[str, float] = {}
        for each in sorted(nodes, key=lambda each: each.tier):
            assert each.name not in self.nodes, "a node's name is its own"
            node = self.nodes[each.name] = self._node(each, random, now)
            self.ledgers.setdefault(each.ledger, []).append(node)
            self._processors.setdefault(each.processor, []).append(node)

    # --- choosing ----------------------------------------------------------------------------

    def admit(
        self,
        processor: str,
        now: float,
        *,
        ledger: str | None = None,
        exclude: Collection[str] = (),
    ) -> Permit | Refusal:
        """Reserve a place for an authorization at a node of the processor, or of one ledger."""
        if ledger is not None:
            return self._choose(self.ledgers[ledger], now, exclude, reversal=False)
        nodes = self._processors.get(processor, [])
        if not exclude:
            for node in nodes:
                if node.wants_live(now):
                    return node.reserve(now, reversal=False)
        return self._choose(nodes, now, exclude, reversal=False)

    def admit_reversal(
        self, ledger: str, now: float, exclude: Collection[str] = ()
    ) -> Permit | Refusal:
        """Reserve a place for a reversal at a node of the ledger."""
        # What is owed may be owed to a ledger that is configured no more.
        return self._choose(self.ledgers.get(ledger, ()), now, exclude, reversal=True)

    def recheck(self, permit: Permit, now: float) -> bool:
        """Return whether what the permit was granted for may still be handed over."""
        return permit.node.honours(permit, now)

    def has_other_node(self, ledger: str, occupied: Collection[str]) -> bool:
        """Return whether the ledger has an enabled node outside ``occupied``, up or not."""
        return any(
            node.intent is Intent.ENABLED and node.settings.name not in occupied
            for node in self.ledgers[ledger]
        )

    def nodes_before(self, ledgers: Collection[str]) -> set[str]:
        """Return the names of the nodes that stand before these ledgers."""
        return {node.settings.name for ledger in ledgers for node in self.ledgers[ledger]}

    def _choose(
        self, nodes: Sequence[Node], now: float, exclude: Collection[str], *, reversal: bool
    ) -> Permit | Refusal:
        best: Node | None = None
        best_rank = (True, 0, 0.0)
        refusal = Refusal.NOT_READY
        for node in nodes:
            if best is not None and (False, node.settings.tier) > best_rank[:2]:
                break  # nodes come by tier, and a later tier does not beat a leader
            if node.settings.name in exclude or not node.takes(now, reversal=reversal):
                continue
            if not node.limiter.has_room(now, reversal=reversal):
                refusal = Refusal.FULL
                continue
            rank = (not node.leads(), node.settings.tier, node.limiter.load(now))
            if best is None or rank < best_rank:
                best, best_rank = node, rank
        return refusal if best is None else best.reserve(now, reversal=reversal)

    # --- orders, time and facts ----------------------------------------------------------------

    def set_intent(self, node: str, intent: Intent, now: float) -> None:
        """Take the operator's order for a node."""
        self.nodes[node].order(intent, now)

    def due(self, now: float) -> float | None:
        """Do what time does; return when to call again. To be called after every report too."""
        wake = math.inf
        for node in self.nodes.values():
            if node.fell_silent(now):
                if self._others_usable(node, now):
                    node.stall(now)
                else:
                    node.bear_silence(now)
            wake = min(wake, node.due(now), self._fail_back(node, now))
        return None if wake == math.inf else wake

    def take_facts(self) -> list[Fact]:
        """Return what has changed since this was last asked, oldest first."""
        facts, self._facts = self._facts, []
        return facts

    def _fail_back(self, node: Node, now: float) -> float:
        """Let a node lead whose hold-down is over; return when it will be, if not now."""
        at = node.leads_at()
        if at == math.inf:
            return at
        processor = node.settings.processor
        others = self._others_usable(node, now)
        if others:
            last = self._failed_back_at.get(processor, -math.inf)
            at = max(at, last + self._settings.hold_down.failback_every_s)
        if now < at:
            return at
        if others:
            self._failed_back_at[processor] = now
        # Without others it has carried everything already, and is warm.
        node.lead(now, "healthy for long enough", ramp=others)
        return math.inf

    def _others_usable(self, node: Node, now: float) -> bool:
        return any(
            other is not node and other.usable(now)
            for other in self._processors[node.settings.processor]
        )

    def _note(self, fact: Fact) -> None:
        self._facts.append(fact)
        if fact.name == "breaker_opened" and self._fell_together(fact):
            self._facts.append(Fact("", "suspect_ourselves", "all nodes fell together", fact.at))

    def _fell_together(self, last: Fact) -> bool:
        """Return whether this fall was the last of all."""
        if self.nodes[last.node].fell_at != last.at:
            return False
        known = [node for node in self.nodes.values() if node.was_ready]
        return len(known) > 1 and all(
            node.fell_at is not None and last.at - node.fell_at <= _TOGETHER_S for node in known
        )

    def _node(self, settings: NodeSettings, random: Randomness, now: float) -> Node:
        policies = self._settings
        return Node(
            settings,
            breaker=Breaker(policies.breaker, random, now),
            limiter=Limiter(settings.limit, settings.weight, policies.limiter, now),
            health=Health(policies.health),
            hold_down=HoldDown(policies.hold_down),
            stall=Stall(policies.stall),
            latency=Latency(now),
            note=self._note,
        )
