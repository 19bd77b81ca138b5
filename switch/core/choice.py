"""The two choices of the switch: where a payment goes, and the way out of doubt.

*Where it goes* (``place``). A payment that has no reference yet may go to any processor of its
route that can open its card, in order. One whose reference is durable, and of which nothing has
left, goes to another node of the same ledger for nothing; only if that ledger has no node does it
take a new reference at another one. One that was answered with a technical code may go to another
ledger if the code allows it, which costs a token of the failover budget: without the budget, a
processor that fails everything would double the load of the next one at the worst moment. Steering
around what was never sent is free. At most two ledgers are ever reached for one payment.

*The way out of doubt* (``way_out``). Something left, and no final answer is known. If the
ledger accepts repeats, another node of it is asked under the same reference, at once; if there is
a node that was not asked yet but none can take it now, the choice is made again a little later, as
long as the terminal's time lasts. Otherwise the reversal is owed. Never another ledger: its first
approval and this one's late one would both be charged.

Both reserve what they grant: a returned permit holds its slot.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from switch.core.budget import FailoverBudget
from switch.core.payment import Attempt, Payment
from switch.core.processor import Processor
from switch.core.routing import Permit, Refusal, RoutingTable
from switch.core.transaction import AttemptState

LEDGERS_MAX = 2
"""How many ledgers may be reached for one payment."""


@dataclass(frozen=True, slots=True)
class ChoiceSettings:
    """Bounds of the choices, in seconds."""

    dispatch_floor_s: float = 0.05
    """Less time than this is not worth a sending."""
    ask_again_s: float = 0.05
    """How long to wait before a ledger in progress, or one without a free node, is asked again."""


class Place(NamedTuple):
    """The node that takes it."""

    permit: Permit
    processor: Processor
    fresh: bool
    """At a ledger that has no reference of this payment's current attempt: a new one is due."""


class Repeat(NamedTuple):
    """Ask again under the same reference."""

    permit: Permit


class Later(NamedTuple):
    """Choose again at this monotonic instant."""

    at: float


class GiveUp(NamedTuple):
    """The reversal is owed."""


def place(
    payment: Payment,
    routing: RoutingTable,
    budget: FailoverBudget,
    settings: ChoiceSettings,
    now: float,
) -> Place | Refusal | None:
    """Return where the payment goes next, why it goes nowhere, or None if its time is up."""
    if payment.decide_by - now < settings.dispatch_floor_s:
        return None
    if not payment.attempts:
        return _along(payment, routing, payment.spent_nodes, Refusal.NOT_READY, now)
    spent = payment.spent_nodes
    refusal = Refusal.NOT_READY
    current = payment.attempts[-1]
    if current.state is AttemptState.INTENDED:
        granted = routing.admit(current.processor.name, now, ledger=current.ledger, exclude=spent)
        if isinstance(granted, Permit):
            return Place(granted, current.processor, fresh=False)
        refusal = granted
    if payment.ledgers_reached() >= LEDGERS_MAX:
        return refusal
    failed = current.state is AttemptState.FAILED
    if failed and not budget.available(now):
        return refusal
    before = routing.nodes_before({a.ledger for a in payment.attempts})
    found = _along(payment, routing, spent | before, refusal, now)
    if failed and isinstance(found, Place):
        budget.spend(now)
    return found


def _along(
    payment: Payment,
    routing: RoutingTable,
    exclude: Collection[str],
    refusal: Refusal,
    now: float,
) -> Place | Refusal:
    """Return a place along the payment's route, or the best reason why there is none."""
    for processor in payment.plan:
        granted = routing.admit(processor.name, now, exclude=exclude)
        if isinstance(granted, Permit):
            return Place(granted, processor, fresh=True)
        if granted is Refusal.FULL:
            refusal = granted
    return refusal


def way_out(
    attempt: Attempt,
    routing: RoutingTable,
    distrusted: set[str],
    settings: ChoiceSettings,
    now: float,
) -> Repeat | Later | GiveUp:
    """Return what is done about an attempt in doubt. Ledgers in ``distrusted`` get no repeats."""
    processor = attempt.processor
    if not processor.accepts_repeat or attempt.ledger in distrusted:
        return GiveUp()
    decide_by = attempt.payment.decide_by
    if decide_by - now < settings.dispatch_floor_s:
        return GiveUp()
    occupied = attempt.occupied()
    granted = routing.admit(processor.name, now, ledger=attempt.ledger, exclude=occupied)
    if isinstance(granted, Permit):
        return Repeat(granted)
    if granted is Refusal.FULL or routing.has_other_node(attempt.ledger, attempt.asked):
        return Later(min(now + settings.ask_again_s, decide_by))
    return GiveUp()
