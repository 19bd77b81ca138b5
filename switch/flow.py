"""The story of a payment.

    accept     take a frame of requests; twins join the payment that runs
    admit      choose a node and reserve its permit, or look the id up and refuse
    intend     one commit: identity, reference, ledger
    hand over  recheck the permit and append to the node's link
    settle     the one funnel for whatever comes back, or does not
    conclude   one commit: the outcome, and what it leaves owed
    answer     tell everybody who asked

Every step takes all that waits and does one piece of I/O for it. Nothing here measures time,
reads bytes or compares codes: the core decides, the ports act, and this file is the order in which
it happens. The two rules it must never break stand where they are kept: no byte to a node before
``_intend`` has committed, no word to a terminal before ``_conclude`` has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from aiorwlock import RWLock

from switch.clock import Clock, Wake
from switch.core import conclusion, intent
from switch.core.agenda import Agenda
from switch.core.budget import FailoverBudget
from switch.core.choice import ChoiceSettings, Later, Place, Repeat, place, way_out
from switch.core.evidence import Evidence, Kind
from switch.core.identity import (
    reference,
    retrieval_reference_number,
)
from switch.core.message import (
    Answer,
    Authorization,
    AuthorizationRequest,
    Claim,
    Conclusion,
    Event,
    LateAnswer,
    NodeAnswer,
    OpenAttempt,
    OpenRepeat,
    OwedReversal,
    PaymentKey,
    PaymentState,
    Record,
    Refused,
    Reply,
    ReversalAnswer,
    StoredPayment,
)
from switch.core.payment import Attempt, Payment, Wish
from switch.core.processor import Processor
from switch.core.replay import REUSED, replay
from switch.core.route import RouteBook
from switch.core.routing import Permit, Refusal, RoutingTable
from switch.core.sending import Sending
from switch.core.transaction import AttemptEvent, AttemptState
from switch.dispatcher import Dispatcher
from switch.errors import JournalInDoubt, JournalUnavailable
from switch.inbox import Inbox
from switch.late_answers import LateAnswers
from switch.ports import Journal
from switch.telemetry import Counters


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """Bounds of a payment's life, in seconds."""

    conclude_margin_s: float = 0.1
    """Kept back for the conclusion's commit and the way to the terminal."""
    lookups_max: int = 4096
    """Refused requests that wait for their look-up at most."""


class _Intent(NamedTuple):
    """One hand-over to come, and what must be durable before it."""

    attempt: Attempt
    permit: Permit
    record: Record | None

    @property
    def opens_attempt(self) -> bool:
        """Return whether the attempt itself becomes durable by the record."""
        return isinstance(self.record, (Claim, OpenAttempt))


class _Settlement(NamedTuple):
    """Records to commit together, and who is told when they are durable."""

    records: tuple[Record, ...]
    payment: Payment | None
    verdict: Answer | Refused | None
    owed: OwedReversal | None
    granted: tuple[Wish, ReversalAnswer] | None = None


class Flow:
    """Takes payments from terminals to nodes and back."""

    def __init__(
        self,
        *,
        switch_id: str,
        configuration_version: str,
        settings: FlowSettings,
        choices: ChoiceSettings,
        routes: RouteBook,
        processors: Mapping[str, Processor],
        routing: RoutingTable,
        budget: FailoverBudget,
        journal: Journal,
        dispatcher: Dispatcher,
        clock: Clock,
        counters: Counters,
        owe: Callable[[OwedReversal], None],
    ) -> None:
        """Wire the ports; ``owe`` is told of every reversal once it is durable."""
        self._switch_id = switch_id
        self._configuration_version = configuration_version
        self._settings = settings
        self._choices = choices
        self._routes = routes
        self._processors = processors
        self._routing = routing
        self._budget = budget
        self._journal = journal
        self._dispatcher = dispatcher
        self._clock = clock
        self._counters = counters
        self._owe = owe
        self._running: dict[PaymentKey, Payment] = {}
        self._to_look_up: Inbox[tuple[Payment, Refused]] = Inbox()
        self._to_intend: Inbox[_Intent] = Inbox()
        self._to_conclude: Inbox[_Settlement] = Inbox()
        self._undecided: Agenda[Attempt] = Agenda()
        self._wake = Wake(clock, self._choose_again)
        self.late_answers = LateAnswers(journal, processors, clock, counters, self._record_late)
        self._held: dict[PaymentKey, list[tuple[AuthorizationRequest, Reply]]] = {}
        self._refusing: Refused | None = None
        self.wishes: Inbox[Wish] = Inbox()
        """Terminals' reversals that wait to be decided; the reversals' pump takes them."""
        self.toggles = RWLock(fast=True)

    # --- accept and admit ------------------------------------------------------------------

    def accept(self, requests: Sequence[AuthorizationRequest], reply: Reply) -> None:
        """Take a frame of valid requests; each is replied to exactly once, later or at once."""
        now = self._clock.now()
        running = self._running
        for request in requests:
            self._counters.accepted += 1
            if self._held and request.key in self._held:
                self._held[request.key].append((request, reply))
                continue
            twin = running.get(request.key)
            if twin is not None:
                # One upstream message in all; who is a twin in truth is seen when it is durable.
                twin.listeners.append((request, reply))
                continue
            decide_by = now + request.timeout_s - self._settings.conclude_margin_s
            payment = Payment(request, now, decide_by, [(request, reply)])
            running[request.key] = payment
            if self._refusing is not None:
                self._refuse(payment, self._refusing)
                continue
            payment.plan = self._plan(request)
            if not payment.plan:
                self._refuse(payment, Refused("NO_ENVELOPE", "no envelope fits the route"))
                continue
            self._admit(payment, now)

    def _plan(self, request: AuthorizationRequest) -> tuple[Processor, ...]:
        names = self._routes.processors_for(
            request.bin, request.merchant_id, request.amount.currency
        )
        sealed = request.envelopes
        return tuple([self._processors[name] for name in names if name in sealed])

    def _admit(self, payment: Payment, now: float) -> None:
        """Find a place for a payment that no ledger may know."""
        found = place(payment, self._routing, self._budget, self._choices, now)
        if isinstance(found, Place):
            self._placed(payment, found)
        elif payment.attempts:
            self._end_unsent(payment.attempt, _unplaced(found))
        else:
            self._refuse(payment, _unplaced(found))

    def _placed(self, payment: Payment, found: Place) -> None:
        """Queue the hand-over, with the record its place asks for."""
        permit, node = found.permit, found.permit.node.settings.name
        record: Record | None = None
        if payment.attempts:
            self._counters.failed_over += 1
        if found.fresh:
            before = payment.attempts[-1] if payment.attempts else None
            attempt = self._open_attempt(payment, found)
            at_ms = self._clock.utc_ms()
            if before is None:
                record = intent.claim(attempt, node, self._configuration_version, at_ms)
            else:
                record = intent.next_attempt(before, attempt, node, at_ms)
        self._queue(payment.attempt, permit, record)

    def _queue(self, attempt: Attempt, permit: Permit, record: Record | None) -> None:
        attempt.queued = True
        self._to_intend.put(_Intent(attempt, permit, record))

    def _open_attempt(self, payment: Payment, found: Place) -> Attempt:
        payment.last_ordinal += 1
        ordinal = payment.last_ordinal
        terminal_id, request_id = payment.request.key
        name = reference(self._switch_id, terminal_id, request_id, ordinal)
        attempt = Attempt(
            payment,
            ordinal,
            name,
            retrieval_reference_number(name),
            found.processor,
            found.permit.node.settings.ledger,
        )
        payment.attempts.append(attempt)
        return attempt

    # --- known ids are looked up before they are refused --------------------------------------

    def _refuse(self, payment: Payment, refused: Refused) -> None:
        """Refuse a payment of which this call wrote nothing, unless its id is known."""
        if len(self._to_look_up) < self._settings.lookups_max:
            self._to_look_up.put((payment, refused))
        else:
            self._answer(payment, refused)

    async def look_up(self) -> None:
        """Pump: answer refused requests whose outcome is known after all."""
        while True:
            batch = await self._to_look_up.take()
            try:
                found = await self._journal.find([p.request.key for p, _ in batch])
            except (JournalUnavailable, JournalInDoubt):
                found = [None] * len(batch)
            for (payment, refused), stored in zip(batch, found, strict=True):
                if stored is None or stored.state is PaymentState.NOT_SENT:
                    self._answer(payment, refused)
                else:
                    self._replay(payment, stored)

    def _replay(self, payment: Payment, stored: StoredPayment) -> None:
        """Answer everybody who asked from what was stored."""
        self._forget(payment)
        for request, reply in payment.listeners:
            verdict = replay(request, stored)
            if verdict is None:
                self._resume(request, reply, stored)
                continue
            if isinstance(verdict, Answer):
                self._counters.replayed += 1
            else:
                self._counters.refused += 1
            reply(request, verdict)

    def _resume(self, request: AuthorizationRequest, reply: Reply, stored: StoredPayment) -> None:
        """Run a payment again that ended not sent, under its next reference."""
        twin = self._running.get(request.key)
        if twin is not None:
            twin.listeners.append((request, reply))
            return
        now = self._clock.now()
        decide_by = now + request.timeout_s - self._settings.conclude_margin_s
        payment = Payment(request, now, decide_by, [(request, reply)], self._plan(request))
        payment.last_ordinal = stored.attempts[-1].ordinal
        self._running[request.key] = payment
        self._admit(payment, now)

    # --- intend and hand over --------------------------------------------------------------

    async def intend(self) -> None:
        """Pump: write down what is about to be sent, then hand it over."""
        while True:
            batch = await self._to_intend.take()
            # Operators' toggles are writers: what is rechecked here is handed over before they
            # come into force, or not at all.
            async with self.toggles.reader_lock:
                now = self._clock.now()
                batch = [
                    i
                    for i in batch
                    if self._still_placed(i.attempt, i.permit, i.opens_attempt, now)
                ]
                records = [i.record for i in batch if i.record is not None]
                try:
                    results = iter(await self._journal.commit(records) if records else [])
                except JournalUnavailable:
                    self._unintended(batch, "JOURNAL_UNAVAILABLE")
                    continue
                except JournalInDoubt:
                    self._unintended(batch, "OUTCOME_UNKNOWN")
                    continue
                # One deadline for all that is handed over together.
                now = self._clock.now()
                for item in batch:
                    result = next(results) if item.record is not None else None
                    if isinstance(result, StoredPayment):
                        item.permit.release(now)
                        self._replay(item.attempt.payment, result)
                    else:
                        self._hand_over(item, now)

    def _still_placed(self, attempt: Attempt, permit: Permit, unwritten: bool, now: float) -> bool:
        """Return whether the permit still holds; if not, choose again.

        ``unwritten``: the attempt is not durable yet, so it is as if it had never been opened.
        """
        if attempt.running and self._routing.recheck(permit, now):
            return True
        attempt.queued = False
        permit.release(now)
        if not attempt.running:
            # Settled while it waited here: by an older sending's answer, or by the terminal.
            return False
        if attempt.state is AttemptState.REPEATING:
            self._pursue(attempt, now)
            return False
        if unwritten:
            attempt.payment.attempts.pop()
            attempt.payment.last_ordinal -= 1
        self._admit(attempt.payment, now)
        return False

    def _unintended(self, batch: list[_Intent], reason: str) -> None:
        """End what could not be written down: nothing of it was sent."""
        now = self._clock.now()
        for item in batch:
            item.permit.release(now)
            first = isinstance(item.record, Claim)
            self._answer(
                item.attempt.payment,
                Refused(reason if first else "OUTCOME_UNKNOWN", "the journal cannot be written"),
            )

    def _hand_over(self, item: _Intent, now: float) -> None:
        """Offer a durable intent to its node's link."""
        attempt, permit = item.attempt, item.permit
        if isinstance(item.record, OpenRepeat):
            attempt.doubt_durable = True
        intended = attempt.state is AttemptState.INTENDED
        if intended and attempt.payment.voids and self._cancel_if_wished(attempt):
            permit.release(now)
            return
        if not self._still_placed(attempt, permit, False, now):
            return
        attempt.queued = False
        repeat = attempt.state is AttemptState.REPEATING
        if repeat:
            self._counters.repeated += 1
        request = attempt.payment.request
        message = Authorization(
            attempt.reference,
            request,
            request.envelopes[attempt.processor.name],
            repeat,
            attempt.retrieval_reference_number[-6:],
            attempt.retrieval_reference_number,
        )
        attempt.advance(AttemptEvent.HAND_OVER)
        attempt.reached = True
        sending = self._dispatcher.prepare(
            message,
            permit,
            min(now + attempt.processor.node_timeout_s, attempt.payment.decide_by),
            partial(self._settle, attempt),
        )
        attempt.sent(sending)
        self._dispatcher.send(sending, now)

    # --- settle ------------------------------------------------------------------------------

    def _settle(self, attempt: Attempt, sending: Sending, event: Event, evidence: Evidence) -> None:
        """Take what came back for an attempt, or did not."""
        now = self._clock.now()
        if not attempt.running:
            if isinstance(event, NodeAnswer):
                self.late_answers.take(attempt, sending, event, evidence)
            return
        kind = evidence.kind
        if kind is Kind.APPROVED or kind is Kind.DECLINED:
            assert isinstance(event, NodeAnswer), "only an answer is final"
            self._final(attempt, event, evidence)
        elif kind is Kind.NOTHING:
            attempt.advance(AttemptEvent.RECALL)
            self._came_back(attempt, sending, evidence, now)
        elif kind is Kind.FAILED:
            assert isinstance(event, NodeAnswer), "only an answer is technical"
            attempt.advance(AttemptEvent.FAIL)
            attempt.why = evidence.why
            self._failed(attempt, event, evidence, now)
        else:
            self._doubt(attempt, evidence, now)

    def _final(self, attempt: Attempt, said: NodeAnswer, evidence: Evidence) -> None:
        """Conclude with the ledger's final answer."""
        at_ms = self._clock.utc_ms()
        attempt.node_code = said.response_code
        attempt.final = said
        if attempt.doubted:
            attempt.why = attempt.why or evidence.why
        if evidence.kind is Kind.DECLINED:
            attempt.advance(AttemptEvent.DECLINE)
            self._conclude(attempt, conclusion.declined(attempt, said, at_ms))
            return
        attempt.advance(AttemptEvent.APPROVE)
        if evidence.partial and not attempt.payment.request.accepts_partial:
            attempt.advance(AttemptEvent.VOID)
            self._conclude(attempt, conclusion.part_refused(attempt, said, at_ms))
        else:
            self._conclude(attempt, conclusion.approved(attempt, said, at_ms))

    def _came_back(
        self, attempt: Attempt, sending: Sending, evidence: Evidence, now: float
    ) -> None:
        """A sending provably had no effect: another node, unless an older one is in doubt."""
        payment = attempt.payment
        if attempt.state is AttemptState.REPEATING:
            self._ask_again(attempt, now)
            return
        # It was the only one: whatever doubt there was is resolved by it.
        attempt.reached = attempt.doubted = False
        attempt.why = evidence.why
        if evidence.reseal:
            self._end_unsent(attempt, Refused("RESEAL", "the envelope's key is not known"))
            return
        payment.spent_nodes |= {sending.permit.node.settings.name}
        self._admit(payment, now)

    def _failed(self, attempt: Attempt, said: NodeAnswer, evidence: Evidence, now: float) -> None:
        """A technical answer: another ledger if the code allows it, else the terminal is told."""
        if attempt.state is AttemptState.REPEATING:
            self._ask_again(attempt, now)
            return
        attempt.node_code = said.response_code
        attempt.payment.failure = said
        if evidence.other_ledger:
            found = place(attempt.payment, self._routing, self._budget, self._choices, now)
            if isinstance(found, Place):
                self._placed(attempt.payment, found)
                return
        self._conclude(attempt, conclusion.declined(attempt, said, self._clock.utc_ms()))

    def _doubt(self, attempt: Attempt, evidence: Evidence, now: float) -> None:
        """Something left and no final answer is known, or the ledger asks us to wait."""
        if not attempt.doubted:
            attempt.doubted = True
            self._counters.in_doubt += 1
        attempt.why = evidence.why
        attempt.reason = evidence.reason
        if evidence.kind is Kind.WAIT:
            self._ask_again(attempt, now)
        else:
            self._pursue(attempt, now)

    def _pursue(self, attempt: Attempt, now: float) -> None:
        """Choose the way out of doubt, unless somebody else is still about to find it."""
        if not attempt.in_doubt or attempt.queued or attempt.awaited():
            return
        chosen = way_out(attempt, self._routing, self.late_answers.distrusted, self._choices, now)
        if isinstance(chosen, Repeat):
            attempt.advance(AttemptEvent.REPEAT)
            node = chosen.permit.node.settings.name
            record = intent.repeat(attempt, node, self._clock.utc_ms())
            if record is not None and node not in attempt.asked:
                self._counters.failed_over += 1
            self._queue(attempt, chosen.permit, record)
        elif isinstance(chosen, Later):
            self._choose_later(attempt, chosen.at)
        else:
            attempt.advance(AttemptEvent.GIVE_UP)
            self._conclude(attempt, conclusion.given_up(attempt, self._clock.utc_ms()))

    def _ask_again(self, attempt: Attempt, now: float) -> None:
        """Give the ledger, or a node that could not help, a moment."""
        at = min(now + self._choices.ask_again_s, attempt.payment.decide_by)
        self._choose_later(attempt, at)

    def _choose_later(self, attempt: Attempt, at: float) -> None:
        self._undecided.add(at, attempt)
        self._wake.at(at)

    def _choose_again(self) -> None:
        now = self._clock.now()
        for attempt in self._undecided.due(now):
            self._pursue(attempt, now)
        self._wake.at(self._undecided.next_at())

    # --- conclude and answer -----------------------------------------------------------------

    def _conclude(self, attempt: Attempt, ended: Conclusion) -> None:
        verdict = ended.answer
        assert verdict is not None, "what was sent ends with an answer"
        self._to_conclude.put(_Settlement((ended,), attempt.payment, verdict, ended.owed))

    def _end_unsent(self, attempt: Attempt, refused: Refused) -> None:
        """End a payment that reached nobody: durably not sent, then refused."""
        if attempt.state is AttemptState.INTENDED:
            attempt.advance(AttemptEvent.CLOSE)
        failure = attempt.payment.failure
        if failure is not None:
            # It did reach a ledger before, which could not decide: that is what is told.
            ended = conclusion.declined(attempt, failure, self._clock.utc_ms())
            self._conclude(attempt, ended)
            return
        ended = conclusion.not_sent(attempt, self._clock.utc_ms())
        self._to_conclude.put(_Settlement((ended,), attempt.payment, refused, None))

    def _record_late(self, record: LateAnswer) -> None:
        self._to_conclude.put(_Settlement((record,), None, None, record.owed))

    async def conclude(self) -> None:
        """Pump: write down how payments ended, then say so."""
        while True:
            batch = await self._to_conclude.take()
            try:
                await self._journal.commit([r for s in batch for r in s.records])
            except (JournalUnavailable, JournalInDoubt):
                for settlement in batch:
                    self._tell(settlement, _UNKNOWN)
                continue
            for settlement in batch:
                if settlement.owed is not None:
                    self._counters.owed += 1
                    self._owe(settlement.owed)
                self._tell(settlement, None)

    def _tell(self, settlement: _Settlement, instead: Refused | None) -> None:
        """Tell whoever waits for a settlement: its verdict, or what is said instead."""
        payment, verdict = settlement.payment, instead or settlement.verdict
        if payment is not None and verdict is not None:
            if isinstance(verdict, Answer):
                if verdict.approved:
                    self._counters.approved += 1
                else:
                    self._counters.declined += 1
            self._answer(payment, verdict)
        if settlement.granted is not None:
            wish, answer = settlement.granted
            wish.tell(instead or answer)

    def _answer(self, payment: Payment, verdict: Answer | Refused) -> None:
        """Tell everybody who asked for a payment; it runs no more."""
        if self._running.get(payment.request.key) is not payment:
            # The journal failed in the middle of it, and they were told so.
            return
        self._forget(payment)
        request, reply = payment.listeners[0]
        reply(request, verdict)
        if isinstance(verdict, Refused):
            self._counters.refused += len(payment.listeners)
        if len(payment.listeners) == 1:
            return
        for twin, reply in payment.listeners[1:]:
            if isinstance(verdict, Refused):
                reply(twin, verdict)
            elif twin.fingerprint != request.fingerprint:
                self._counters.refused += 1
                reply(twin, REUSED)
            else:
                self._counters.replayed += 1
                reply(twin, replace(verdict, replayed=True))

    def _forget(self, payment: Payment) -> None:
        del self._running[payment.request.key]
        # An attempt that may still be answered knows its payment. Without the way back there is no
        # circle, and what has ended is freed at once instead of by the collector.
        payment.attempts.clear()
        for wish in payment.voids:
            self.wishes.put(wish)

    # --- what the terminal's reversals need of a running payment ---------------------------------

    def running(self, key: PaymentKey) -> Payment | None:
        """Return the payment if it runs."""
        return self._running.get(key)

    def void(self, payment: Payment, wish: Wish) -> None:
        """Reverse a running payment: at once if something left, else before it does.

        A wish that cannot be granted while the payment runs is put back into ``wishes`` when the
        payment has ended.
        """
        payment.voids += (wish,)
        if payment.attempts and payment.attempt.state in (
            AttemptState.SENT,
            AttemptState.REPEATING,
        ):
            self._cancel_if_wished(payment.attempt)

    def _cancel_if_wished(self, attempt: Attempt) -> bool:
        """End the attempt if its terminal has reversed all of it."""
        payment = attempt.payment
        asked = payment.request.amount
        wish = next((w for w in payment.voids if w.request.amount in (None, asked)), None)
        if wish is None:
            return False
        payment.voids = tuple(w for w in payment.voids if w is not wish)
        attempt.advance(AttemptEvent.VOID)
        attempt.why = "cancelled"
        at_ms = self._clock.utc_ms()
        ended = conclusion.cancelled(attempt, at_ms)
        claim = conclusion.cancellation(attempt, wish.request, at_ms)
        self._to_conclude.put(
            _Settlement((ended, claim), payment, ended.answer, ended.owed, (wish, claim.answer))
        )
        return True

    @contextmanager
    def held(self, key: PaymentKey) -> Iterator[None]:
        """Keep requests for a payment that does not run waiting while its reversal is decided."""
        waiting = self._held[key] = []
        try:
            yield
        finally:
            del self._held[key]
            for request, reply in waiting:
                self.accept([request], reply)

    # --- the end ---------------------------------------------------------------------------------

    def refuse_all(self, refused: Refused) -> None:
        """Take no new payments from now on; known ones are still answered."""
        self._refusing = refused

    def running_count(self) -> int:
        """Return how many payments are between accept and answer."""
        return len(self._running)


_UNKNOWN = Refused("OUTCOME_UNKNOWN", "the outcome could not be written down")


def _unplaced(found: Refusal | None) -> Refused:
    if found is None:
        return Refused("DEADLINE_TOO_SHORT", "too little time was left to begin")
    if found is Refusal.FULL:
        return Refused("OVERLOADED", "busy, try again in 2 s")
    return Refused("NO_NODE_READY", "no node is ready, try again in 1 s")
