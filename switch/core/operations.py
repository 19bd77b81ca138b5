"""What operators order and see: standing orders for nodes, whole payments, counts.

An order for a node stands until another operator's order or its own end, across restarts. Each has
a version that goes up by one, so that of two operators who look at the same version and both give
an order, the second is told instead of obeyed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from json import dumps
from typing import NamedTuple

from switch.core.audit import AuditEntry, AuditRecord
from switch.core.message import Kind, StoredPayment


@dataclass(frozen=True, slots=True)
class StandingIntent:
    """What was ordered for a node last."""

    node: str
    intent: int
    """The number of the operator protocol's NodeIntent."""
    version: int
    """From 1, one higher with each order for this node."""
    actor: str
    reason: str
    at_ms: int
    expires_ms: int | None
    """When the order ends by itself, if it does."""

    def in_force(self, utc_ms: int) -> bool:
        """Return whether the order has not ended by itself."""
        return self.expires_ms is None or utc_ms < self.expires_ms


@dataclass(frozen=True, slots=True)
class IntentOrder:
    """An operator's order for nodes: all of them or none."""

    nodes: tuple[str, ...]
    intent: int
    actor: str
    authenticated: bool
    reason: str
    at_ms: int
    expires_ms: int | None = None
    expected: tuple[tuple[str, int], ...] = ()
    """Versions that nodes must still have; 0: no order was ever given."""
    origin: str = ""
    """Where the order came from, as the audit is to say it."""


class Obedience(NamedTuple):
    """What an order comes to, before it is written."""

    obeyed: bool
    """False: a version had moved on, and nothing is changed."""
    intents: tuple[StandingIntent, ...]
    """What stands for the order's nodes now; a node without any order is left out."""
    entry: AuditEntry


class IntentResult(NamedTuple):
    """What became of an order; both ends are in the audit chain."""

    obeyed: bool
    """False: a version had moved on, and nothing was changed."""
    intents: tuple[StandingIntent, ...]
    """What stands for the order's nodes now; a node without any order is left out."""
    audit: AuditRecord


@dataclass(slots=True)
class PaymentView:
    """All that is stored of a payment; its timeline is filled in."""

    stored: StoredPayment
    kind: Kind | None
    """None: a tombstone. The texts below are empty then."""
    bin: str
    last_four: str
    merchant_id: str
    merchant_category_code: str
    country: str
    entry_mode: int
    accepts_partial: bool
    configuration_version: str
    terminal_time_ms: int
    claimed_ms: int
    concluded_ms: int | None


class JournalCounts(NamedTuple):
    """What is open in the journal now."""

    running: int
    owed: int
    """Reversals not acknowledged, parked ones too."""
    parked: int
    oldest_owed_ms: int | None
    audit_number: int
    """Of the last audit record; 0: there is none."""


class Recovery(NamedTuple):
    """What the first commit after a start had to settle."""

    concluded: int
    """Payments that were running when the switch went away."""
    owed: int
    """Reversals of theirs that are owed now."""


def obey(order: IntentOrder, standing: Mapping[str, StandingIntent]) -> Obedience:
    """Return what an order comes to where ``standing`` are the orders that stand, by node."""
    obeyed = all(_version(standing.get(node)) == version for node, version in order.expected)
    before = {node: standing.get(node) for node in order.nodes}
    after = dict(before)
    if obeyed:
        for node, intent in before.items():
            after[node] = StandingIntent(
                node=node,
                intent=order.intent,
                version=_version(intent) + 1,
                actor=order.actor,
                reason=order.reason,
                at_ms=order.at_ms,
                expires_ms=order.expires_ms,
            )
    detail = {
        "origin": order.origin,
        "reason": order.reason,
        "ordered": {"intent": order.intent, "expires_ms": order.expires_ms},
        "before": {node: _told(intent) for node, intent in before.items()},
        "after": {node: _told(intent) for node, intent in after.items()},
        "result": "obeyed" if obeyed else "refused: another order came first",
    }
    entry = AuditEntry(
        at_ms=order.at_ms,
        actor=order.actor,
        authenticated=order.authenticated,
        action="node.intent",
        subject=",".join(after),
        detail_json=dumps(detail, sort_keys=True, separators=(",", ":")),
    )
    return Obedience(obeyed, tuple(i for i in after.values() if i is not None), entry)


def _version(intent: StandingIntent | None) -> int:
    return 0 if intent is None else intent.version


def _told(intent: StandingIntent | None) -> dict[str, int] | None:
    return None if intent is None else {"intent": intent.intent, "version": intent.version}
