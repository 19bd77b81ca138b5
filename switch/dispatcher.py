"""Carries messages to nodes: one hand-over, one slot, one funnel for whatever comes back.

The flow and the forwarder decide *what* is sent and *where*; this room does the sending for both
and keeps three promises for them:

* a slot is held until the node has answered, the link is lost, or the bounded flight time is over,
  whether or not anybody still waits for the answer (I12);
* every event of a sending is read once, scored once with the node's breaker, and passed on once,
  scored *before* it is passed on, so that the next choice already sees a breaker that opened;
* a deadline is an event, not a task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from switch.clock import Clock, Wake
from switch.core.agenda import Agenda
from switch.core.evidence import Evidence, read
from switch.core.message import Event, Message, NodeAnswer, Unanswered
from switch.core.processor import Processor
from switch.core.routing import Permit
from switch.core.sending import Sending
from switch.ports import Heard, Links


@dataclass(frozen=True, slots=True)
class DispatcherSettings:
    """Bounds of a sending."""

    flight_time_s: float = 30.0
    """How long an unanswered sending holds its slot at most."""


class Dispatcher:
    """Sends, and settles what was sent."""

    __slots__ = (
        "_agenda",
        "_clock",
        "_in_flight",
        "_links",
        "_number",
        "_processors",
        "_settings",
        "_wake",
    )

    def __init__(
        self,
        processors: Mapping[str, Processor],
        clock: Clock,
        settings: DispatcherSettings,
    ) -> None:
        """Begin with nothing in flight; ``connect`` comes before the first sending."""
        self._links: Links
        self._processors = processors
        self._clock = clock
        self._settings = settings
        self._wake = Wake(clock, self._due)
        # Numbers, not sendings: what has landed is freed at once, and its memory is used again
        # while it is warm, though its number stays here until its deadline.
        self._agenda: Agenda[int] = Agenda()
        self._in_flight: dict[int, Sending] = {}
        self._number = 0

    def connect(self, links: Links) -> None:
        """Name the links; they and we need each other, so this comes after both are made."""
        self._links = links

    def prepare(
        self, message: Message, permit: Permit, deadline_at: float, heard: Heard
    ) -> Sending:
        """Make the sending that uses up the permit; nothing leaves yet."""
        self._number += 1
        return Sending(self._number, message, permit, deadline_at, self.settle, heard)

    def send(self, sending: Sending, now: float) -> None:
        """Hand a prepared sending over to its node's link."""
        sending.offered_at = now
        self._in_flight[sending.number] = sending
        self._agenda.add(sending.deadline_at, sending.number)
        self._wake.at(sending.deadline_at)
        sending.permit.node.handed_over(now)
        self._links.offer(sending)

    def settle(self, sending: Sending, event: Event) -> None:
        """Take one event of a sending: the one funnel."""
        if sending.landed:
            return
        now = self._clock.now()
        permit = sending.permit
        node = permit.node
        evidence = read(event, sending.message, self._processors[node.settings.processor].codes)
        sending.open = False
        if isinstance(event, NodeAnswer):
            duration_s = now - sending.offered_at
            node.answered(duration_s, now)
            permit.score(evidence.outcome, now, duration_s)
        else:
            permit.score(evidence.outcome, now)
        # After a silence the node may still be at it: its slot stays taken.
        heard = sending.heard
        if event is not Unanswered.EXPIRED and event is not Unanswered.STALLED:
            self._land(sending, now)
        heard(sending, event, evidence)

    def stalled(self, node: str) -> None:
        """Settle what waits at a node that fell silent; the slots stay taken."""
        for sending in list(self._in_flight.values()):
            here = sending.permit.node.settings.name == node
            if here and sending.open and sending.written:
                self.settle(sending, Unanswered.STALLED)

    def in_flight_count(self) -> int:
        """Return how many sendings hold a slot."""
        return len(self._in_flight)

    def _due(self) -> None:
        """Look at each sending at its deadline, and at the end of its flight if it is still up."""
        now = self._clock.now()
        for number in self._agenda.due(now):
            sending = self._in_flight.get(number)
            if sending is None:
                continue
            if not sending.written:
                # It never left the link's outbox, and now it never will.
                self._links.forget(sending)
                self.settle(sending, Unanswered.NOT_SENT)
                continue
            # This process may have slept through both instants: first the one, then the other.
            if sending.open:
                self.settle(sending, Unanswered.EXPIRED)
            flight_ends_at = sending.offered_at + self._settings.flight_time_s
            if now < flight_ends_at:
                self._agenda.add(flight_ends_at, number)
            else:
                self._links.forget(sending)
                self._land(sending, now)
        self._wake.at(self._agenda.next_at())

    def _land(self, sending: Sending, now: float) -> None:
        sending.landed = True
        # Whoever awaited it holds it, too: nothing that has ended may lie in a circle.
        sending.heard = _nobody
        del self._in_flight[sending.number]
        sending.permit.release(now)


def _nobody(sending: Sending, event: Event, evidence: Evidence, /) -> None:
    """Await nothing: the sending has landed."""
