"""Reading the journal's tables; on the writer's connection or on a reader's, it does not care."""

from __future__ import annotations

from pathlib import Path

import apsw

from switch.core.audit import AuditEntry, AuditRecord
from switch.core.message import PaymentKey, StoredAttempt, StoredPayment
from switch.core.operations import JournalCounts, StandingIntent
from switch.store.rows import (
    AttemptRow,
    History,
    LateAnswerRow,
    PaymentRow,
    PaymentRows,
    ReversalRow,
    TerminalReversalRow,
    stored_attempt,
    stored_payment,
)
from switch.store.sql import named_queries

QUERIES = named_queries(Path(__file__).with_name("queries.sql"))

_COUNT_OWED = QUERIES["count_owed"]
_COUNT_RUNNING = QUERIES["count_running"]
_FIND_REFERENCE = QUERIES["find_reference"]
_READ_AUDIT = QUERIES["read_audit"]
_READ_AUDIT_HEAD = QUERIES["read_audit_head"]
_READ_EARLIER_ATTEMPTS = QUERIES["read_earlier_attempts"]
_READ_INTENTS = QUERIES["read_intents"]
_READ_LATE_ANSWERS = QUERIES["read_late_answers"]
_READ_OWED = QUERIES["read_owed"]
_READ_PAYMENT = QUERIES["read_payment"]
_READ_REVERSALS = QUERIES["read_reversals"]
_READ_RUNNING = QUERIES["read_running"]
_READ_TERMINALS = QUERIES["read_terminals"]
_READ_TERMINAL_REVERSAL = QUERIES["read_terminal_reversal"]
_READ_TERMINAL_REVERSALS_OF = QUERIES["read_terminal_reversals_of"]

_PAYMENT = len(PaymentRow._fields)


class Reading:
    """The reads of one connection. Whoever wants several to agree begins a transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._execute = connection.execute

    def rows(self, key: PaymentKey) -> PaymentRows | None:
        """Read a payment with its attempts and reversals."""
        name = (key.request_id, key.terminal_id)
        found = self._execute(_READ_PAYMENT, name).get
        if found is None:
            return None
        payment, last = PaymentRow._make(found[:_PAYMENT]), found[_PAYMENT:]
        attempts = []
        if last[0] is not None:
            earlier = self._execute(_READ_EARLIER_ATTEMPTS, name)
            attempts = [AttemptRow._make((*row, 0)) for row in earlier]
            attempts.append(AttemptRow._make((*name, *last)))
        reversals = [ReversalRow._make(row) for row in self._execute(_READ_REVERSALS, name)]
        if len(reversals) > 1:
            reversals.sort(key=lambda row: (row.owed_ms, row.reversal_reference))
        return PaymentRows(payment, attempts, reversals)

    def payment(self, key: PaymentKey) -> StoredPayment | None:
        """Read a payment as of now."""
        rows = self.rows(key)
        return None if rows is None else stored_payment(rows)

    def history(self, key: PaymentKey) -> History:
        """Read what else happened to a payment."""
        name = (key.request_id, key.terminal_id)
        return History(
            [LateAnswerRow._make(row) for row in self._execute(_READ_LATE_ANSWERS, name)],
            [
                TerminalReversalRow._make(row)
                for row in self._execute(_READ_TERMINAL_REVERSALS_OF, name)
            ],
        )

    def keys(self, request_id: bytes) -> list[PaymentKey]:
        """Read which terminals have used a request id."""
        found = self._execute(_READ_TERMINALS, (request_id,))
        return [PaymentKey(terminal_id, request_id) for (terminal_id,) in found]

    def terminal_reversal(self, key: PaymentKey) -> TerminalReversalRow | None:
        """Read a terminal's reversal by its own id."""
        row = self._execute(_READ_TERMINAL_REVERSAL, (key.request_id, key.terminal_id)).get
        return None if row is None else TerminalReversalRow._make(row)

    def attempt(self, reference: bytes) -> tuple[PaymentKey, StoredAttempt] | None:
        """Read an attempt that was ever in doubt by its reference."""
        found = self._execute(_FIND_REFERENCE, (reference,)).get
        if found is None:
            return None
        request_id, terminal_id, ordinal = found
        key = PaymentKey(terminal_id, request_id)
        rows = self.rows(key)
        attempts = [] if rows is None else rows.attempts
        return next((key, stored_attempt(row)) for row in attempts if row.ordinal == ordinal)

    def owed(self) -> list[ReversalRow]:
        """Read all reversals that are owed, oldest first."""
        return [ReversalRow._make(row) for row in self._execute(_READ_OWED)]

    def running(self) -> list[PaymentKey]:
        """Read which payments run."""
        return [PaymentKey(terminal, request) for request, terminal in self._execute(_READ_RUNNING)]

    def counts(self) -> JournalCounts:
        """Count what is open."""
        running = self._execute(_COUNT_RUNNING).get
        owed, parked, oldest = self._execute(_COUNT_OWED).get
        head = self.audit_head()
        return JournalCounts(running, owed, parked, oldest, head[0])

    def intents(self) -> list[StandingIntent]:
        """Read what stands for each node, by name."""
        return [StandingIntent(*row) for row in self._execute(_READ_INTENTS)]

    def audit_head(self) -> tuple[int, bytes | None]:
        """Read the last audit record's number and hash; (0, None) when there is none."""
        return self._execute(_READ_AUDIT_HEAD).get or (0, None)

    def audit(self, from_number: int, limit: int) -> list[AuditRecord]:
        """Read a piece of the audit chain."""
        return [
            AuditRecord(number, AuditEntry(at_ms, actor, bool(proven), *rest), digest)
            for number, at_ms, actor, proven, *rest, digest in self._execute(
                _READ_AUDIT, (from_number, limit)
            )
        ]
