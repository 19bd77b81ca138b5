"""A payment while it runs: who waits for it, and its attempts.

These two nouns live in memory between accept and answer. What must survive stands in the journal;
what is here can be forgotten at any instant, because recovery goes by what is written, never by
what was meant. The cards' envelopes are here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from switch.core.message import (
    AuthorizationRequest,
    Disposition,
    NodeAnswer,
    Refused,
    Reply,
    ReversalAnswer,
    ReversalReason,
    ReversalRequest,
)
from switch.core.processor import Processor
from switch.core.sending import Sending
from switch.core.transaction import OPEN, AttemptEvent, AttemptState, Step, advance


@dataclass(slots=True, eq=False)
class Wish:
    """A terminal's reversal that waits to be decided."""

    request: ReversalRequest
    tell: Callable[[ReversalAnswer | Refused], None]
    """Called exactly once, when what is told is durable."""


@dataclass(slots=True, eq=False)
class Payment:
    """One payment between accept and answer."""

    request: AuthorizationRequest
    accepted_at: float
    decide_by: float
    """Monotonic: the conclusion is begun by then, so that the answer is in time."""
    listeners: list[tuple[AuthorizationRequest, Reply]]
    """Who asked: the first, and the twins that joined it."""
    plan: tuple[Processor, ...] = ()
    """The processors that may take it, in route order."""
    attempts: list[Attempt] = field(default_factory=list)
    last_ordinal: int = -1
    """Of the identity's attempts, earlier runs included."""
    spent_nodes: frozenset[str] = frozenset()
    """Nodes that said, for this payment, that they will not have it."""
    failure: NodeAnswer | None = None
    """A technical answer that ended an attempt: what the terminal is told if no other takes it."""
    voids: tuple[Wish, ...] = ()
    """The terminal's reversals that came while it runs."""

    @property
    def attempt(self) -> Attempt:
        """Return the newest attempt."""
        return self.attempts[-1]

    def ledgers_reached(self) -> int:
        """Return how many ledgers something has left for."""
        return sum(1 for a in self.attempts if a.reached)


@dataclass(slots=True, eq=False)
class Attempt:
    """One reference's life at one ledger."""

    payment: Payment
    ordinal: int
    reference: bytes
    retrieval_reference_number: str
    processor: Processor
    ledger: str
    state: AttemptState = AttemptState.INTENDED
    reached: bool = False
    """Something was handed over under this reference, and may have arrived."""
    doubted: bool = False
    doubt_durable: bool = False
    queued: bool = False
    """A hand-over waits for its commit."""
    why: str = ""
    """The evidence that settled it, or put it in doubt."""
    reason: ReversalReason = ReversalReason.TIMED_OUT
    """What its reversal would say."""
    node_code: str = ""
    final: NodeAnswer | None = None
    """The ledger's final answer."""
    sendings: list[Sending] = field(default_factory=list)
    """Those that may still hold a slot at their node, waited for or not."""
    asked: set[str] = field(default_factory=set)
    """Nodes that were sent this reference."""

    def advance(self, event: AttemptEvent) -> Step:
        """Take the step of the life-cycle table."""
        step = advance(self.state, event)
        self.state = step.state
        return step

    @property
    def running(self) -> bool:
        """Return whether its outcome is still to be found."""
        return self.state in OPEN

    @property
    def in_doubt(self) -> bool:
        """Return whether something left and no final answer is known."""
        return self.doubted and self.state in (AttemptState.SENT, AttemptState.REPEATING)

    def awaited(self) -> bool:
        """Return whether a sending is out that may still answer in time."""
        return any(s.open for s in self.sendings)

    def differs(self, said: NodeAnswer) -> bool:
        """Return whether another approval is not the one the ledger gave first."""
        first = self.final
        return (
            first is not None
            and self.state is AttemptState.APPROVED
            and said.disposition is Disposition.PROCESSED
            and (said.approved_amount_minor, said.authorization_code)
            != (first.approved_amount_minor, first.authorization_code)
        )

    def sent(self, sending: Sending) -> None:
        """Remember a sending; forget those that hold no slot any more."""
        self.asked.add(sending.permit.node.settings.name)
        if self.sendings:
            self.sendings = [s for s in self.sendings if not s.landed]
        self.sendings.append(sending)

    def occupied(self) -> set[str]:
        """Return the nodes that hold an unanswered sending of this reference."""
        return {s.permit.node.settings.name for s in self.sendings if not s.landed}
