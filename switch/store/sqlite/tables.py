"""Each of the journal's records, as what it changes in the tables.

One ``Tables`` belongs to the writing connection and is used inside its transaction. Records are
applied in the order in which they came. Neighbours of one kind go together, because a prepared
statement that is run for many rows costs a third of as many statements.

A record that does not fit what is written (a conclusion of a payment that does not run, say) is a
fault of ours, and asserts: the writer then undoes the whole transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple
from itertools import groupby
from typing import Any, TypeVar

import apsw

from switch.core.audit import BEGINNING, AuditEntry, AuditRecord, follow
from switch.core.message import (
    Claim,
    Conclusion,
    LateAnswer,
    OpenAttempt,
    OpenRepeat,
    PaymentKey,
    PaymentState,
    Record,
    ReversalAcknowledged,
    ReversalClaim,
    ReversalParked,
    ReversalSent,
    StoredPayment,
)
from switch.core.operations import IntentOrder, IntentResult, Recovery, obey
from switch.core.recovery import recovered
from switch.core.transaction import OPEN, AttemptState
from switch.store.journal import CLAIMED, Result
from switch.store.rows import (
    NO_CURRENCY,
    late_answer_row,
    reversal_row,
    terminal_reversal_row,
)
from switch.store.sqlite.reading import QUERIES, Reading

_ACKNOWLEDGE_REVERSAL = QUERIES["acknowledge_reversal"]
_ADD_AUDIT_RECORD = QUERIES["add_audit_record"]
_ADD_LATE_ANSWER = QUERIES["add_late_answer"]
_ADD_TOMBSTONE = QUERIES["add_tombstone"]
_BLAME_LATENESS = QUERIES["blame_lateness"]
_BURY_PAYMENT = QUERIES["bury_payment"]
_CLAIM_PAYMENT = QUERIES["claim_payment"]
_CLAIM_REVERSAL = QUERIES["claim_reversal"]
_CLOSE_ATTEMPT = QUERIES["close_attempt"]
_CONCLUDE_PAYMENT = QUERIES["conclude_payment"]
_COUNT_LATE_ANSWERS = QUERIES["count_late_answers"]
_DOUBT_ATTEMPT = QUERIES["doubt_attempt"]
_IS_REVERSAL_CLAIMED = QUERIES["is_reversal_claimed"]
_KEEP_ATTEMPT = QUERIES["keep_attempt"]
_OPEN_ATTEMPT = QUERIES["open_attempt"]
_OWE_EARLIER_ATTEMPT = QUERIES["owe_earlier_attempt"]
_OWE_LAST_ATTEMPT = QUERIES["owe_last_attempt"]
_OWE_REVERSAL = QUERIES["owe_reversal"]
_PARK_REVERSAL = QUERIES["park_reversal"]
_READ_CLAIM = QUERIES["read_claim"]
_REPEAT_ATTEMPT = QUERIES["repeat_attempt"]
_REVERSE_EARLIER_ATTEMPT = QUERIES["reverse_earlier_attempt"]
_REVERSE_LAST_ATTEMPT = QUERIES["reverse_last_attempt"]
_RUN_AGAIN = QUERIES["run_again"]
_SEND_REVERSAL = QUERIES["send_reversal"]
_SET_INTENT = QUERIES["set_intent"]
_VOID_ATTEMPT = QUERIES["void_attempt"]

_OWED = 11
"""Columns a reversal begins with; the others tell what became of it."""

Row = tuple[int | str | bytes | None, ...]
R = TypeVar("R")


class Tables:
    """The journal's tables, as its one writer changes them."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.reading = Reading(connection)
        self._execute = connection.execute
        self._executemany = connection.executemany
        self._changes = connection.total_changes
        self._appliers: dict[type[Record], Callable[[Any], Sequence[Result]]] = {
            Claim: self._claims,
            Conclusion: self._conclusions,
            OpenAttempt: self._one_by_one(self._open_attempt),
            OpenRepeat: self._one_by_one(self._open_repeat),
            LateAnswer: self._one_by_one(self._late_answer),
            ReversalClaim: self._one_by_one(self._reversal_claim),
            ReversalSent: self._reversals_sent,
            ReversalAcknowledged: self._one_by_one(self._reversal_acknowledged),
            ReversalParked: self._one_by_one(self._reversal_parked),
        }

    def apply(self, records: Sequence[Record]) -> list[Result]:
        """Write records; return what became of each."""
        results: list[Result] = []
        for kind, run in groupby(records, type):
            apply = self._appliers.get(kind)
            assert apply is not None, f"{kind.__name__} is no record of the journal"
            results += apply(list(run))
        return results

    def recover(self, at_ms: int) -> Recovery:
        """Conclude every payment that runs, and owe what may have been taken."""
        running = [self.reading.payment(key) for key in self.reading.running()]
        conclusions = [recovered(payment, at_ms) for payment in running if payment is not None]
        self.apply(conclusions)
        return Recovery(len(conclusions), sum(c.owed is not None for c in conclusions))

    def set_intent(self, order: IntentOrder) -> IntentResult:
        """Obey an operator's order, or see that it is out of date; and audit either."""
        standing = {intent.node: intent for intent in self.reading.intents()}
        obedience = obey(order, standing)
        if obedience.obeyed:
            self._executemany(_SET_INTENT, [astuple(intent) for intent in obedience.intents])
        audit = self.append(obedience.entry)
        return IntentResult(obedience.obeyed, obedience.intents, audit)

    def append(self, entry: AuditEntry) -> AuditRecord:
        """Add an entry to the end of the audit chain."""
        number, head = self.reading.audit_head()
        record = follow(number + 1, head or BEGINNING, entry)
        self._execute(_ADD_AUDIT_RECORD, (record.number, *astuple(entry), record.hash))
        return record

    # --- payments --------------------------------------------------------------------------

    def _claims(self, claims: Sequence[Claim]) -> Sequence[Result]:
        """Claim all identities at once; only if some were taken, find out which."""
        rows = [_claim_row(claim) for claim in claims]
        self._execute("SAVEPOINT claims")
        before = self._changes()
        self._executemany(_CLAIM_PAYMENT, rows)
        all_claimed = self._changes() - before == len(claims)
        if not all_claimed:
            self._execute("ROLLBACK TO claims")
        self._execute("RELEASE claims")
        if all_claimed:
            return [CLAIMED] * len(claims)
        return [self._claim(claim, row) for claim, row in zip(claims, rows, strict=True)]

    def _claim(self, claim: Claim, row: Row) -> Result:
        key = claim.request.key
        before = self._changes()
        self._execute(_CLAIM_PAYMENT, row)
        if self._changes() > before:
            return CLAIMED
        name = (key.request_id, key.terminal_id)
        state, fingerprint, last, _ = self._execute(_READ_CLAIM, name).get
        if (
            state == PaymentState.NOT_SENT
            and fingerprint == claim.request.fingerprint
            and claim.ordinal == last + 1
        ):
            self._open(key, claim)
            self._execute(_RUN_AGAIN, (*name, claim.configuration_version))
            return CLAIMED
        return self.reading.payment(key)

    def _open(self, key: PaymentKey, record: Claim | OpenAttempt) -> None:
        """Open a further attempt of a payment."""
        name = (key.request_id, key.terminal_id)
        self._execute(_KEEP_ATTEMPT, (*name, record.at_ms))
        self._execute(
            _OPEN_ATTEMPT,
            (
                *name,
                record.ordinal,
                record.reference,
                record.ledger,
                record.processor,
                record.node,
                record.at_ms,
            ),
        )

    def _conclusions(self, conclusions: Sequence[Conclusion]) -> Sequence[Result]:
        rows = [_conclusion_row(record) for record in conclusions]
        before = self._changes()
        self._executemany(_CONCLUDE_PAYMENT, rows)
        fitting = self._changes() - before
        assert fitting == len(rows), (
            f"{len(rows) - fitting} of {len(rows)} conclusions are not of the last attempt of a "
            f"running payment; the first is of {conclusions[0].key}"
        )
        for record in conclusions:
            if record.doubted:
                self._doubt(record)
            if record.owed is not None:
                self._execute(_OWE_REVERSAL, reversal_row(record.owed)[:_OWED])
        return [None] * len(conclusions)

    def _doubt(self, record: Conclusion | OpenRepeat) -> None:
        """Remember when and why an attempt was in doubt first."""
        terminal_id, request_id = record.key
        bindings = (request_id, terminal_id, record.ordinal, record.why, record.at_ms)
        self._execute(_DOUBT_ATTEMPT, bindings)

    def _open_attempt(self, record: OpenAttempt) -> None:
        name = (record.key.request_id, record.key.terminal_id)
        state, _, last, was = self._execute(_READ_CLAIM, name).get or (None,) * 4
        assert state == PaymentState.RUNNING, f"{record.key} does not run"
        assert last == record.closes < record.ordinal, f"{record.closes} is not the last attempt"
        assert was in OPEN or was == AttemptState.REVERSED, "the attempt to close is open"
        self._execute(_CLOSE_ATTEMPT, (*name, record.closed_state, record.closed_code))
        self._open(record.key, record)

    def _open_repeat(self, record: OpenRepeat) -> None:
        terminal_id, request_id = record.key
        before = self._changes()
        self._execute(_REPEAT_ATTEMPT, (request_id, terminal_id, record.ordinal, record.node))
        assert self._changes() > before, f"{record.key} has no open attempt {record.ordinal}"
        self._doubt(record)

    def _late_answer(self, record: LateAnswer) -> None:
        attempt = (record.key.request_id, record.key.terminal_id, record.ordinal)
        count = self._execute(_COUNT_LATE_ANSWERS, attempt).get
        assert count is not None, f"{record.key} has no attempt {record.ordinal}"
        self._execute(_ADD_LATE_ANSWER, late_answer_row(record, count + 1))
        self._execute(_BLAME_LATENESS, attempt)
        if record.owed is not None:
            for query in (_OWE_LAST_ATTEMPT, _OWE_EARLIER_ATTEMPT):
                self._execute(query, (*attempt, record.at_ms))
            self._execute(_OWE_REVERSAL, reversal_row(record.owed)[:_OWED])

    # --- reversals -------------------------------------------------------------------------

    def _reversal_claim(self, record: ReversalClaim) -> StoredPayment | None:
        key, original = record.request.key, record.request.original
        if self._execute(_IS_REVERSAL_CLAIMED, (key.request_id, key.terminal_id)).get:
            return None
        name = (original.request_id, original.terminal_id)
        state, _, last, _ = self._execute(_READ_CLAIM, name).get or (None,) * 4
        if not record.tombstone:
            assert state is not None, f"{original} is not known"
        elif state is None:
            amount_minor, currency = record.request.amount or (0, NO_CURRENCY)
            self._execute(_ADD_TOMBSTONE, (*name, amount_minor, currency, record.at_ms))
        elif state == PaymentState.NOT_SENT:
            self._execute(_BURY_PAYMENT, name)
        else:
            return self.reading.payment(original)
        self._execute(_CLAIM_REVERSAL, terminal_reversal_row(record))
        if record.owed is not None:
            self._execute(_OWE_REVERSAL, reversal_row(record.owed)[:_OWED])
        if record.attempt_state is not None:
            assert last is not None, f"{original} has no attempt"
            self._execute(_VOID_ATTEMPT, (*name, last, record.attempt_state))
        return None

    def _reversals_sent(self, records: Sequence[ReversalSent]) -> Sequence[Result]:
        self._executemany(_SEND_REVERSAL, [(r.reversal_reference, r.at_ms) for r in records])
        return [None] * len(records)

    def _reversal_acknowledged(self, record: ReversalAcknowledged) -> None:
        bindings = (record.reversal_reference, record.at_ms, record.node, record.response_code)
        for request_id, terminal_id, ordinal, in_full in self._execute(
            _ACKNOWLEDGE_REVERSAL, bindings
        ).fetchall():
            if in_full:
                for query in (_REVERSE_LAST_ATTEMPT, _REVERSE_EARLIER_ATTEMPT):
                    self._execute(query, (request_id, terminal_id, ordinal))

    def _reversal_parked(self, record: ReversalParked) -> None:
        self._execute(_PARK_REVERSAL, (record.reversal_reference, record.why, record.at_ms))

    @staticmethod
    def _one_by_one(apply: Callable[[R], Result]) -> Callable[[Sequence[R]], Sequence[Result]]:
        return lambda records: [apply(record) for record in records]


# These two are made for every payment: plain tuples, which cost a third of named ones.


def _claim_row(claim: Claim) -> Row:
    request = claim.request
    terminal_id, request_id = request.key
    amount_minor, currency = request.amount
    return (
        request_id,
        terminal_id,
        request.fingerprint,
        PaymentState.RUNNING,
        request.kind,
        amount_minor,
        currency,
        request.bin,
        request.last_four,
        request.merchant_id,
        request.merchant_category_code,
        request.country,
        request.entry_mode,
        request.accepts_partial,
        claim.configuration_version,
        request.terminal_time_ms,
        claim.at_ms,
        claim.ordinal,
        claim.reference,
        claim.ledger,
        claim.processor,
        claim.node,
        AttemptState.INTENDED,
        0,
        claim.at_ms,
    )


def _conclusion_row(record: Conclusion) -> Row:
    assert record.state not in OPEN, f"{record.state.name} concludes nothing"
    terminal_id, request_id = record.key
    answer = record.answer
    if answer is None:
        said: Row = (None, "", 0, "", "", "")
        state, currency = PaymentState.NOT_SENT, None
    else:
        approved_minor, currency = answer.approved_amount
        state = PaymentState.CONCLUDED
        said = (
            answer.approved,
            answer.response_code,
            approved_minor,
            answer.authorization_code,
            answer.processor,
            answer.retrieval_reference_number,
        )
    return (
        state,
        record.state,
        record.node_answer_code,
        record.why,
        *said,
        record.at_ms,
        request_id,
        terminal_id,
        record.ordinal,
        currency,
    )
