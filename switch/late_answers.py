"""Late answers: what comes when nobody waits any more, and what it proves.

An answer after the end of its attempt is recorded and changes no answer that was given. It may
prove that money was taken which nobody was told of: then that is owed back. It may contradict what
the ledger said before: then the ledger gets no repeats any more, because a repeat relies on its
promise.

Most late answers belong to a sending that still holds its slot, and come with their attempt. The
others, after a restart or after the flight time, are strangers: they are looked up by reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from switch.clock import Clock
from switch.core import conclusion
from switch.core.evidence import LATE_EVENTS, Evidence, Kind
from switch.core.late import late_answer
from switch.core.message import Disposition, LateAnswer, NodeAnswer, ReversalReason
from switch.core.payment import Attempt
from switch.core.processor import Processor
from switch.core.response_code import CODES
from switch.core.sending import Sending
from switch.errors import JournalInDoubt, JournalUnavailable
from switch.inbox import Inbox
from switch.ports import Journal
from switch.telemetry import Counters, log

_STRANGERS_MAX = 4096
"""A node that floods us with answers nobody asked for fills this and no more."""


class LateAnswers:
    """Takes answers that nobody waits for."""

    __slots__ = ("_clock", "_counters", "_journal", "_processors", "_record", "_strangers",
                 "distrusted")  # fmt: skip

    def __init__(
        self,
        journal: Journal,
        processors: Mapping[str, Processor],
        clock: Clock,
        counters: Counters,
        record: Callable[[LateAnswer], None],
    ) -> None:
        """Wire the ports; ``record`` writes one down, with what it leaves owed."""
        self._journal = journal
        self._processors = processors
        self._clock = clock
        self._counters = counters
        self._record = record
        self._strangers: Inbox[tuple[str, NodeAnswer]] = Inbox()
        self.distrusted: set[str] = set()
        """Ledgers that do not keep their promise, or made none: they get no repeats."""

    def take(
        self, attempt: Attempt, sending: Sending, said: NodeAnswer, evidence: Evidence
    ) -> None:
        """Take an answer to an attempt that has ended."""
        at_ms = self._clock.utc_ms()
        contradicts, owed = False, None
        happened = LATE_EVENTS.get(evidence.kind)
        # Only what was decided can contradict: "already reversed" may be our own doing.
        if happened is not None and said.disposition is Disposition.PROCESSED:
            before = attempt.state
            contradicts = attempt.advance(happened).contradicts
            if evidence.kind is Kind.APPROVED and attempt.differs(said):
                contradicts = True
            if attempt.state is not before:
                owed = conclusion.owed_in_full(attempt, ReversalReason.LATE, at_ms)
        record = LateAnswer(
            key=attempt.payment.request.key,
            ordinal=attempt.ordinal,
            reference=attempt.reference,
            node=sending.permit.node.settings.name,
            response_code=said.response_code,
            approved_amount_minor=said.approved_amount_minor,
            delay_ms=int((self._clock.now() - sending.offered_at) * 1000),
            contradicts=contradicts,
            owed=owed,
            at_ms=at_ms,
        )
        self._note(record, attempt.ledger)

    def stranger(self, node: str, said: NodeAnswer) -> None:
        """Take an answer that no sending in flight belongs to."""
        if len(self._strangers) < _STRANGERS_MAX:
            self._strangers.put((node, said))
        else:
            self._counters.strangers += 1

    async def run(self) -> None:
        """Pump: find out what strangers belong to."""
        while True:
            for node, said in await self._strangers.take():
                try:
                    await self._look_up(node, said)
                except (JournalUnavailable, JournalInDoubt):
                    # What it could prove is owed already, or its payment was answered.
                    log().error("late_answer_unread", node=node)

    async def _look_up(self, node: str, said: NodeAnswer) -> None:
        found = await self._journal.find_reference(said.reference)
        stored = (await self._journal.find([found[0]]))[0] if found else None
        if found is None or stored is None:
            self._counters.strangers += 1
            log().warning("answer_to_unknown_reference", node=node)
            return
        attempt = found[1]
        # A processor that is configured no more has no words of its own left.
        processor = self._processors.get(attempt.processor)
        codes = CODES if processor is None else processor.codes
        self._note(
            late_answer(stored, attempt, node, said, codes, self._clock.utc_ms()), attempt.ledger
        )

    def _note(self, record: LateAnswer, ledger: str) -> None:
        self._counters.late_answers += 1
        if record.contradicts:
            self._counters.contradictions += 1
            self.distrusted.add(ledger)
            log().error("ledger_contradicts_itself", ledger=ledger, node=record.node)
        self._record(record)
