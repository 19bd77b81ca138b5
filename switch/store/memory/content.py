"""What a journal in memory holds, and how its records change it.

The rows are those of every other store. They are never changed in place: a transaction works on
copies of the payments it touches, and they are taken over when it has come to its end. So a call
can be tried and thrown away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from switch.core.audit import BEGINNING, AuditEntry, AuditRecord, follow
from switch.core.message import (
    Claim,
    Conclusion,
    LateAnswer,
    OpenAttempt,
    OpenRepeat,
    OwedReversal,
    PaymentKey,
    PaymentState,
    Record,
    ReversalAcknowledged,
    ReversalClaim,
    ReversalParked,
    ReversalReason,
    ReversalSent,
    StoredPayment,
)
from switch.core.operations import (
    IntentOrder,
    IntentResult,
    Recovery,
    StandingIntent,
    obey,
)
from switch.core.recovery import recovered
from switch.core.transaction import OPEN, AttemptState
from switch.store.journal import CLAIMED, Result
from switch.store.rows import (
    NO_CURRENCY,
    AttemptRow,
    History,
    LateAnswerRow,
    PaymentRow,
    PaymentRows,
    ReversalRow,
    TerminalReversalRow,
    late_answer_row,
    reversal_row,
    stored_payment,
    terminal_reversal_row,
)

_REVERSAL_WINS = (AttemptState.OWED, AttemptState.REVERSED)
_GAVE_UP = (ReversalReason.TIMED_OUT, ReversalReason.UNREADABLE)
"""Reasons that are ours, and that a late answer makes LATE."""


@dataclass(slots=True)
class KeptPayment:
    """One payment's rows. Copied before it is changed."""

    row: PaymentRow
    attempts: dict[int, AttemptRow] = field(default_factory=dict)
    reversals: dict[bytes, ReversalRow] = field(default_factory=dict)
    late_answers: list[LateAnswerRow] = field(default_factory=list)
    wishes: list[TerminalReversalRow] = field(default_factory=list)

    def copy(self) -> KeptPayment:
        """Return a copy that may be changed; rows themselves never are."""
        return KeptPayment(
            self.row,
            dict(self.attempts),
            dict(self.reversals),
            list(self.late_answers),
            list(self.wishes),
        )

    def rows(self) -> PaymentRows:
        """Return the rows as a database would, in their order."""
        attempts = [self.attempts[ordinal] for ordinal in sorted(self.attempts)]
        reversals = sorted(self.reversals.values(), key=lambda r: (r.owed_ms, r.reversal_reference))
        return PaymentRows(self.row, attempts, reversals)

    def history(self) -> History:
        """Return what else happened."""
        wishes = sorted(self.wishes, key=lambda w: (w.at_ms, w.request_id, w.terminal_id))
        return History(self.late_answers, wishes)

    def stored(self) -> StoredPayment:
        """Return the payment as of now."""
        return stored_payment(self.rows())

    def change(self, ordinal: int, **columns: Any) -> None:
        """Change columns of an attempt."""
        self.attempts[ordinal] = self.attempts[ordinal]._replace(**columns)

    def owe(self, owed: OwedReversal) -> None:
        """Owe a reversal; what is owed already stays as it is."""
        self.reversals.setdefault(owed.reversal_reference, reversal_row(owed))


@dataclass(slots=True)
class Content:
    """All that is durable; or, within a call, all that the call has changed so far."""

    payments: dict[PaymentKey, KeptPayment] = field(default_factory=dict)
    terminal_reversals: dict[PaymentKey, TerminalReversalRow] = field(default_factory=dict)
    reversed_payments: dict[bytes, PaymentKey] = field(default_factory=dict)
    """By reversal reference."""
    references: dict[bytes, tuple[PaymentKey, int]] = field(default_factory=dict)
    intents: dict[str, StandingIntent] = field(default_factory=dict)
    audit: list[AuditRecord] = field(default_factory=list)

    def take_over(self, changed: Content) -> None:
        """Make durable what a transaction has changed."""
        self.payments.update(changed.payments)
        self.terminal_reversals.update(changed.terminal_reversals)
        self.reversed_payments.update(changed.reversed_payments)
        self.references.update(changed.references)
        self.intents.update(changed.intents)
        self.audit.extend(changed.audit)


class Transaction:
    """One call's changes, seen by itself only until they are taken over."""

    def __init__(self, content: Content) -> None:
        self.changed = Content()
        self._content = content

    def apply(self, record: Record) -> Result:
        """Write one record."""
        apply = _APPLIERS.get(type(record))
        assert apply is not None, f"{type(record).__name__} is no record of the journal"
        return apply(self, record)

    def recover(self, at_ms: int) -> Recovery:
        """Conclude every payment that runs, and owe what may have been taken."""
        conclusions = [
            recovered(payment.stored(), at_ms)
            for _, payment in sorted(self._content.payments.items())
            if payment.row.state == PaymentState.RUNNING
        ]
        for conclusion in conclusions:
            self._conclude(conclusion)
        return Recovery(len(conclusions), sum(c.owed is not None for c in conclusions))

    def set_intent(self, order: IntentOrder) -> IntentResult:
        """Obey an operator's order, or see that it is out of date; and audit either."""
        obedience = obey(order, self._content.intents | self.changed.intents)
        if obedience.obeyed:
            self.changed.intents |= {intent.node: intent for intent in obedience.intents}
        return IntentResult(obedience.obeyed, obedience.intents, self.append(obedience.entry))

    def append(self, entry: AuditEntry) -> AuditRecord:
        """Add an entry to the end of the audit chain."""
        number = len(self._content.audit) + len(self.changed.audit)
        last = (self.changed.audit or self._content.audit)[-1:]
        record = follow(number + 1, last[0].hash if last else BEGINNING, entry)
        self.changed.audit.append(record)
        return record

    # --- payments --------------------------------------------------------------------------

    def _claim(self, claim: Claim) -> Result:
        key = claim.request.key
        payment = self._payment(key)
        if payment is None:
            payment = self.changed.payments[key] = KeptPayment(_payment_row(claim))
        elif (
            payment.row.state == PaymentState.NOT_SENT
            and payment.row.fingerprint == claim.request.fingerprint
            and claim.ordinal == max(payment.attempts) + 1
        ):
            payment.row = payment.row._replace(
                state=PaymentState.RUNNING,
                configuration_version=claim.configuration_version,
                concluded_ms=None,
            )
        else:
            return payment.stored()
        self._open(payment, key, claim)
        return CLAIMED

    def _open(self, payment: KeptPayment, key: PaymentKey, record: Claim | OpenAttempt) -> None:
        payment.attempts[record.ordinal] = _attempt_row(record)
        self.changed.references[record.reference] = key, record.ordinal

    def _conclude(self, record: Conclusion) -> None:
        assert record.state not in OPEN, f"{record.state.name} concludes nothing"
        payment, attempt = self._attempt(record.key, record.ordinal)
        assert payment.row.state == PaymentState.RUNNING, f"{record.key} does not run"
        assert record.ordinal == max(payment.attempts), f"{record.ordinal} is not the last attempt"
        answer = record.answer
        if answer is None:
            payment.row = payment.row._replace(
                state=PaymentState.NOT_SENT, concluded_ms=record.at_ms
            )
        else:
            assert answer.approved_amount.currency == payment.row.currency, "another currency"
            payment.row = payment.row._replace(
                state=PaymentState.CONCLUDED,
                approved=answer.approved,
                response_code=answer.response_code,
                approved_minor=answer.approved_amount.amount_minor,
                authorization_code=answer.authorization_code,
                processor=answer.processor,
                retrieval_reference_number=answer.retrieval_reference_number,
                concluded_ms=record.at_ms,
            )
        if record.doubted and attempt.doubted_ms is None:
            attempt = attempt._replace(doubted_ms=record.at_ms, doubted_why=record.why)
        payment.attempts[record.ordinal] = attempt._replace(
            state=attempt.state if attempt.state in _REVERSAL_WINS else record.state,
            doubted=attempt.doubted or record.doubted,
            node_answer_code=record.node_answer_code,
            approved_minor=payment.row.approved_minor if payment.row.approved else 0,
            closed_ms=record.at_ms,
            closed_why=record.why,
        )
        self._owe(record.owed)

    def _open_attempt(self, record: OpenAttempt) -> None:
        payment, attempt = self._attempt(record.key, record.closes)
        assert payment.row.state == PaymentState.RUNNING, f"{record.key} does not run"
        assert max(payment.attempts) == record.closes < record.ordinal, "not the last attempt"
        assert attempt.state in OPEN | {AttemptState.REVERSED}, "the attempt to close is open"
        payment.change(
            record.closes,
            state=record.closed_state if attempt.state in OPEN else attempt.state,
            node_answer_code=record.closed_code,
            closed_ms=record.at_ms,
        )
        self._open(payment, record.key, record)

    def _open_repeat(self, record: OpenRepeat) -> None:
        payment, attempt = self._attempt(record.key, record.ordinal)
        assert attempt.state in OPEN, "the attempt to repeat is open"
        if attempt.doubted_ms is None:
            payment.change(record.ordinal, doubted_ms=record.at_ms, doubted_why=record.why)
        payment.change(
            record.ordinal, state=AttemptState.REPEATING, doubted=True, repeat_node=record.node
        )

    def _late_answer(self, record: LateAnswer) -> None:
        payment, attempt = self._attempt(record.key, record.ordinal)
        number = len(payment.late_answers) + 1
        payment.late_answers.append(late_answer_row(record, number))
        for reference, row in payment.reversals.items():
            unsent = row.acknowledged_ms is None and row.sends == 0
            if row.ordinal == record.ordinal and unsent and row.reason in _GAVE_UP:
                payment.reversals[reference] = row._replace(reason=ReversalReason.LATE)
        if record.owed is not None:
            if attempt.state != AttemptState.REVERSED:
                payment.change(record.ordinal, state=AttemptState.OWED)
            if attempt.doubted_ms is None:
                payment.change(record.ordinal, doubted_ms=record.at_ms)
            payment.change(record.ordinal, doubted=True)
            self._owe(record.owed)

    # --- reversals -------------------------------------------------------------------------

    def _reversal_claim(self, record: ReversalClaim) -> StoredPayment | None:
        key, original = record.request.key, record.request.original
        if key in self.changed.terminal_reversals or key in self._content.terminal_reversals:
            return None
        payment = self._payment(original)
        if not record.tombstone:
            assert payment is not None, f"{original} is not known"
        elif payment is None:
            payment = self.changed.payments[original] = KeptPayment(_tombstone_row(record))
        elif payment.row.state == PaymentState.NOT_SENT:
            payment.row = payment.row._replace(state=PaymentState.REVERSED_IN_ADVANCE)
        else:
            return payment.stored()
        wish = terminal_reversal_row(record)
        self.changed.terminal_reversals[key] = wish
        payment.wishes.append(wish)
        self._owe(record.owed)
        if record.attempt_state is not None:
            assert payment.attempts, f"{original} has no attempt"
            last = max(payment.attempts)
            if payment.attempts[last].state != AttemptState.REVERSED:
                payment.change(last, state=record.attempt_state)
        return None

    def _reversal_sent(self, record: ReversalSent) -> None:
        for payment, row in self._owed_reversal(record.reversal_reference):
            payment.reversals[row.reversal_reference] = row._replace(
                sends=row.sends + 1,
                first_sent_ms=record.at_ms if row.first_sent_ms is None else row.first_sent_ms,
            )

    def _reversal_acknowledged(self, record: ReversalAcknowledged) -> None:
        for payment, row in self._owed_reversal(record.reversal_reference):
            payment.reversals[row.reversal_reference] = row._replace(
                acknowledged_ms=record.at_ms,
                acknowledged_by=record.node,
                acknowledged_code=record.response_code,
            )
            if row.in_full:
                payment.change(row.ordinal, state=AttemptState.REVERSED)

    def _reversal_parked(self, record: ReversalParked) -> None:
        for payment, row in self._owed_reversal(record.reversal_reference):
            payment.reversals[row.reversal_reference] = row._replace(
                parked=record.why, parked_ms=record.at_ms
            )

    # --- rows ------------------------------------------------------------------------------

    def _payment(self, key: PaymentKey) -> KeptPayment | None:
        """Return a payment that may be changed."""
        payment = self.changed.payments.get(key)
        if payment is None and key in self._content.payments:
            payment = self.changed.payments[key] = self._content.payments[key].copy()
        return payment

    def _attempt(self, key: PaymentKey, ordinal: int) -> tuple[KeptPayment, AttemptRow]:
        payment = self._payment(key)
        assert payment is not None, f"{key} is not known"
        assert ordinal in payment.attempts, f"{key} has no attempt {ordinal}"
        return payment, payment.attempts[ordinal]

    def _owe(self, owed: OwedReversal | None) -> None:
        if owed is not None:
            payment = self._payment(owed.key)
            assert payment is not None, f"{owed.key} is not known"
            payment.owe(owed)
            self.changed.reversed_payments[owed.reversal_reference] = owed.key

    def _owed_reversal(self, reference: bytes) -> list[tuple[KeptPayment, ReversalRow]]:
        """Return the reversal that is owed under a reference, if one is."""
        key = self.changed.reversed_payments.get(reference)
        key = key or self._content.reversed_payments.get(reference)
        payment = None if key is None else self._payment(key)
        if payment is None or payment.reversals[reference].acknowledged_ms is not None:
            return []
        return [(payment, payment.reversals[reference])]


_APPLIERS: dict[type[Record], Callable[[Transaction, Any], Result]] = {
    Claim: Transaction._claim,
    Conclusion: Transaction._conclude,
    OpenAttempt: Transaction._open_attempt,
    OpenRepeat: Transaction._open_repeat,
    LateAnswer: Transaction._late_answer,
    ReversalClaim: Transaction._reversal_claim,
    ReversalSent: Transaction._reversal_sent,
    ReversalAcknowledged: Transaction._reversal_acknowledged,
    ReversalParked: Transaction._reversal_parked,
}


def _payment_row(claim: Claim) -> PaymentRow:
    """Return a payment as it begins."""
    request = claim.request
    terminal_id, request_id = request.key
    amount_minor, currency = request.amount
    return PaymentRow(
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
    )


def _tombstone_row(record: ReversalClaim) -> PaymentRow:
    """Return what stands for a payment that was reversed before it came."""
    terminal_id, request_id = record.request.original
    amount_minor, currency = record.request.amount or (0, NO_CURRENCY)
    return PaymentRow(
        request_id=request_id,
        terminal_id=terminal_id,
        fingerprint=b"",
        state=PaymentState.REVERSED_IN_ADVANCE,
        kind=0,
        amount_minor=amount_minor,
        currency=currency,
        bin="",
        last_four="",
        merchant_id="",
        merchant_category_code="",
        country="",
        entry_mode=0,
        accepts_partial=0,
        configuration_version="",
        terminal_time_ms=0,
        claimed_ms=record.at_ms,
    )


def _attempt_row(record: Claim | OpenAttempt) -> AttemptRow:
    """Return an attempt as it begins."""
    terminal_id, request_id = record.request.key if isinstance(record, Claim) else record.key
    return AttemptRow(
        request_id,
        terminal_id,
        record.ordinal,
        record.reference,
        record.ledger,
        record.processor,
        record.node,
        AttemptState.INTENDED,
        False,
        record.at_ms,
    )
