"""A few nodes, and the hands that feed them: what the tests of routing have in common."""

from collections.abc import Sequence

from switch.core.breaker import BreakerSettings
from switch.core.hold_down import HoldDownSettings
from switch.core.limiter import LimiterSettings
from switch.core.routing import (
    Fact,
    Node,
    NodeSettings,
    Outcome,
    Permit,
    Refusal,
    RoutingSettings,
    RoutingTable,
)
from tests.core.examples import Fixed

QUICK = RoutingSettings(limiter=LimiterSettings(ramp_s=2.0), hold_down=HoldDownSettings(hold_s=2.0))
"""A hold-down and a ramp of two seconds each."""

PATIENT = RoutingSettings(breaker=BreakerSettings(permit_s=1e9))
"""Live permits never expire."""


def primary(name: str = "p", **changes: object) -> NodeSettings:
    """Return a node of tier 0 with 32 slots, before the ledger all share."""
    fields: dict[str, object] = {
        "name": name,
        "processor": "acme",
        "ledger": "main",
        "address": "-",
        "limit": 32,
    }
    return NodeSettings(**fields | changes)  # type: ignore[arg-type] # a test says what it means


def backup(name: str = "b", **changes: object) -> NodeSettings:
    """Return one of tier 1."""
    return primary(name, **{"tier": 1} | changes)


class Fleet:
    """A routing table at an instant, and short words for what happens to it."""

    def __init__(
        self,
        *nodes: NodeSettings,
        settings: RoutingSettings = QUICK,
        ready: bool = True,
    ) -> None:
        self.now = 1000.0
        self.table = RoutingTable(nodes or (primary(), backup()), settings, Fixed(0.5), self.now)
        if ready:
            for node in self.table.nodes.values():
                node.link_ready(self.now)

    def __getitem__(self, name: str) -> Node:
        return self.table.nodes[name]

    def wait(self, seconds: float) -> None:
        """Let time pass, as a shell does that wakes when it was asked to."""
        until = self.now + seconds
        while (at := self.table.due(self.now)) is not None and at <= until:
            assert at > self.now, "who asks to be woken at once never sleeps"
            self.now = at
        self.now = until
        self.table.due(self.now)

    def admit(self, **where: object) -> Permit:
        """Return the permit of an authorization that must find a place."""
        granted = self.table.admit("acme", self.now, **where)  # type: ignore[arg-type] # as above
        assert isinstance(granted, Permit)
        return granted

    def reverse(self) -> Permit:
        """Return the permit of a reversal that must find a place."""
        granted = self.table.admit_reversal("main", self.now)
        assert isinstance(granted, Permit)
        return granted

    def refused(self, **where: object) -> Refusal:
        """Return why an authorization finds no place."""
        granted = self.table.admit("acme", self.now, **where)  # type: ignore[arg-type] # as above
        assert isinstance(granted, Refusal)
        return granted

    def where(self, **where: object) -> str:
        """Return where an authorization would go."""
        permit = self.admit(**where)
        permit.release(self.now)
        return permit.node.settings.name

    def finish(self, permit: Permit, outcome: Outcome = Outcome.SUCCESS) -> None:
        """Let a sending end, as the shell tells of it."""
        permit.score(outcome, self.now)
        permit.release(self.now)

    def pay(self, count: int = 1) -> list[str]:
        """Let payments succeed one after the other; return where they went."""
        went = []
        for _ in range(count):
            permit = self.admit()
            went.append(permit.node.settings.name)
            self.finish(permit)
        return went

    def lose(self, name: str) -> None:
        """End a node's link."""
        self[name].link_lost(self.now)

    def revive(self, name: str) -> None:
        """Bring a link back, and let two echoes be answered as soon as they are wanted."""
        self[name].link_ready(self.now)
        self.wait(1.0)
        for _ in range(2):
            assert self[name].wants_echo(self.now)
            self[name].echo_answered(self.now)

    def facts(self) -> list[str]:
        """Return what has changed, as node:name."""
        return [f"{fact.node}:{fact.name}" for fact in self.table.take_facts()]

    def last_facts(self) -> Sequence[Fact]:
        """Return what has changed."""
        return self.table.take_facts()
