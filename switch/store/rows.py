"""The journal's rows: what they are made of, and what is read out of them.

Every store keeps these rows and no others: a database as the lines of its tables, the one in memory
as they stand here. What a reader is shown is derived from them in this file, once for all stores,
so two stores that hold the same rows cannot tell two stories.

Two things are never stored, because they change while the payment does not: how its reversal
stands, and how much of it is reversed. They follow from its reversals:

* A payment that was approved is approved money, and only what is taken back of *that* counts: the
  reversals of the attempt that was approved, its last one. An earlier attempt that was in doubt has
  a reversal of its own, which is nothing the terminal was ever told of.
* A payment that was not approved has nothing to reverse, so its reversed amount is zero, also while
  the ledger is asked to take back "whatever was approved": that amount is only a guess. But whether
  something of it is still owed is of interest, and there every attempt counts.
* It is acknowledged when there are reversals and all of them are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from switch.core.identity import format_uuid
from switch.core.message import (
    Answer,
    Kind,
    LateAnswer,
    OwedReversal,
    PaymentKey,
    PaymentState,
    ReversalAnswer,
    ReversalClaim,
    ReversalReason,
    ReversalStatus,
    StoredAttempt,
    StoredPayment,
    TimelineEvent,
)
from switch.core.money import Money
from switch.core.operations import PaymentView
from switch.core.transaction import AttemptState

NO_CURRENCY = "XXX"
"""ISO 4217: what a tombstone's amount is in when its reversal named none."""


class PaymentRow(NamedTuple):
    """A payment: what was asked, and what its terminal was told."""

    request_id: bytes
    terminal_id: str
    fingerprint: bytes
    state: int
    kind: int
    """0: a tombstone."""
    amount_minor: int
    currency: str
    bin: str
    last_four: str
    merchant_id: str
    merchant_category_code: str
    country: str
    entry_mode: int
    accepts_partial: int
    configuration_version: str
    terminal_time_ms: int
    claimed_ms: int
    approved: int | None = None
    """None: there is no answer. The columns up to the last are empty then."""
    response_code: str = ""
    approved_minor: int = 0
    authorization_code: str = ""
    processor: str = ""
    retrieval_reference_number: str = ""
    concluded_ms: int | None = None


class AttemptRow(NamedTuple):
    """One reference's life at one ledger."""

    request_id: bytes
    terminal_id: str
    ordinal: int
    reference: bytes
    ledger: str
    processor: str
    node: str
    """The node it was meant for first."""
    state: int
    doubted: int
    opened_ms: int
    node_answer_code: str = ""
    closed_why: str = ""
    doubted_ms: int | None = None
    doubted_why: str = ""
    repeat_node: str = ""
    """The node that got the repeat, if one was opened."""
    closed_ms: int | None = None
    """When it was concluded, or the next one opened."""
    approved_minor: int = 0


class ReversalRow(NamedTuple):
    """A reversal owed to a ledger, or acknowledged by it."""

    request_id: bytes
    terminal_id: str
    reversal_reference: bytes
    ordinal: int
    reference: bytes
    ledger: str
    in_full: int
    amount_minor: int
    currency: str
    reason: int
    owed_ms: int
    sends: int = 0
    first_sent_ms: int | None = None
    parked: str = ""
    parked_ms: int | None = None
    acknowledged_ms: int | None = None
    acknowledged_by: str = ""
    acknowledged_code: str = ""


class LateAnswerRow(NamedTuple):
    """An answer nobody waited for any more."""

    request_id: bytes
    terminal_id: str
    number: int
    """Of the payment's late answers, from 1."""
    ordinal: int
    node: str
    response_code: str
    approved_minor: int
    delay_ms: int
    contradicts: int
    at_ms: int


class TerminalReversalRow(NamedTuple):
    """A terminal's wish to reverse, under the wish's own id."""

    request_id: bytes
    terminal_id: str
    original_request_id: bytes
    original_terminal_id: str
    amount_minor: int | None
    currency: str | None
    reason: int
    original_known: int
    reversal: int
    """How the reversal stood when the terminal was answered."""
    at_ms: int


class PaymentRows(NamedTuple):
    """A payment with the rows that belong to it, each kind in its order."""

    payment: PaymentRow
    attempts: Sequence[AttemptRow]
    reversals: Sequence[ReversalRow]


class History(NamedTuple):
    """What else happened to a payment; read for people only."""

    late_answers: Sequence[LateAnswerRow]
    wishes: Sequence[TerminalReversalRow]


# --- from records to rows --------------------------------------------------------------------


def reversal_row(owed: OwedReversal) -> ReversalRow:
    """Return a reversal as it begins to be owed."""
    return ReversalRow(
        request_id=owed.key.request_id,
        terminal_id=owed.key.terminal_id,
        reversal_reference=owed.reversal_reference,
        ordinal=owed.ordinal,
        reference=owed.reference,
        ledger=owed.ledger,
        in_full=owed.full,
        amount_minor=owed.amount.amount_minor,
        currency=owed.amount.currency,
        reason=owed.reason,
        owed_ms=owed.owed_at_ms,
    )


def late_answer_row(record: LateAnswer, number: int) -> LateAnswerRow:
    """Return a late answer, the payment's ``number``-th."""
    return LateAnswerRow(
        request_id=record.key.request_id,
        terminal_id=record.key.terminal_id,
        number=number,
        ordinal=record.ordinal,
        node=record.node,
        response_code=record.response_code,
        approved_minor=record.approved_amount_minor,
        delay_ms=record.delay_ms,
        contradicts=record.contradicts,
        at_ms=record.at_ms,
    )


def terminal_reversal_row(record: ReversalClaim) -> TerminalReversalRow:
    """Return a terminal's wish to reverse."""
    request = record.request
    amount_minor, currency = request.amount or (None, None)
    return TerminalReversalRow(
        request_id=request.key.request_id,
        terminal_id=request.key.terminal_id,
        original_request_id=request.original.request_id,
        original_terminal_id=request.original.terminal_id,
        amount_minor=amount_minor,
        currency=currency,
        reason=request.reason,
        original_known=record.answer.original_known,
        reversal=record.answer.reversal,
        at_ms=record.at_ms,
    )


# --- from rows to what is shown --------------------------------------------------------------


def stored_payment(rows: PaymentRows) -> StoredPayment:
    """Return a payment as of now."""
    row = rows.payment
    return StoredPayment(
        key=PaymentKey(row.terminal_id, row.request_id),
        fingerprint=row.fingerprint,
        state=PaymentState(row.state),
        amount=Money(row.amount_minor, row.currency),
        answer=_answer(rows),
        attempts=[stored_attempt(attempt) for attempt in rows.attempts],
    )


def stored_attempt(row: AttemptRow) -> StoredAttempt:
    """Return an attempt as of now."""
    return StoredAttempt(
        ordinal=row.ordinal,
        reference=row.reference,
        ledger=row.ledger,
        processor=row.processor,
        node=row.node,
        state=AttemptState(row.state),
        doubted=bool(row.doubted),
        node_answer_code=row.node_answer_code,
        approved_amount_minor=row.approved_minor,
    )


def owed_reversal(row: ReversalRow) -> OwedReversal:
    """Return a reversal as the forwarder works on it."""
    return OwedReversal(
        reversal_reference=row.reversal_reference,
        reference=row.reference,
        key=PaymentKey(row.terminal_id, row.request_id),
        ordinal=row.ordinal,
        ledger=row.ledger,
        full=bool(row.in_full),
        amount=Money(row.amount_minor, row.currency),
        reason=ReversalReason(row.reason),
        owed_at_ms=row.owed_ms,
        sends=row.sends,
        parked=row.parked,
    )


def reversal_answer(row: TerminalReversalRow, original: PaymentRows | None) -> ReversalAnswer:
    """Return what a terminal is told that asks for its reversal again.

    Once anything of the payment was owed, its reversal stands as it stands now; until then, as
    the terminal was told.
    """
    answer = None if original is None else _answer(original)
    status, reversed_amount = ReversalStatus(row.reversal), None
    if answer is not None:
        reversed_amount = answer.reversed_amount
        if answer.reversal is not ReversalStatus.NONE:
            status = answer.reversal
    return ReversalAnswer(
        reversal=status,
        reversed_amount=reversed_amount,
        replayed=True,
        original_known=bool(row.original_known),
    )


def standing(rows: PaymentRows) -> tuple[ReversalStatus, int]:
    """Return how a payment's reversal stands, and how many minor units of it are reversed."""
    row, reversals, amount_minor = rows.payment, rows.reversals, 0
    if row.approved:
        last = rows.attempts[-1].ordinal
        reversals = [reversal for reversal in reversals if reversal.ordinal == last]
        if any(reversal.in_full for reversal in reversals):
            amount_minor = row.approved_minor
        else:
            amount_minor = sum(reversal.amount_minor for reversal in reversals)
    if not reversals:
        return ReversalStatus.NONE, amount_minor
    if all(reversal.acknowledged_ms is not None for reversal in reversals):
        return ReversalStatus.ACKNOWLEDGED, amount_minor
    return ReversalStatus.OWED, amount_minor


def payment_view(rows: PaymentRows, history: History) -> PaymentView:
    """Return all that is stored of a payment."""
    row = rows.payment
    stored = stored_payment(rows)
    stored.timeline = timeline(rows, history)
    return PaymentView(
        stored=stored,
        kind=Kind(row.kind) if row.kind else None,
        bin=row.bin,
        last_four=row.last_four,
        merchant_id=row.merchant_id,
        merchant_category_code=row.merchant_category_code,
        country=row.country,
        entry_mode=row.entry_mode,
        accepts_partial=bool(row.accepts_partial),
        configuration_version=row.configuration_version,
        terminal_time_ms=row.terminal_time_ms,
        claimed_ms=row.claimed_ms,
        concluded_ms=row.concluded_ms,
    )


def timeline(rows: PaymentRows, history: History) -> list[TimelineEvent]:
    """Return what happened to a payment, oldest first.

    What happened in one millisecond stands in the order of the story: claimed, tried, doubted,
    ended, told, reversed.
    """
    row = rows.payment
    asked = Money(row.amount_minor, row.currency).text()
    events = []
    if row.kind:
        events.append(TimelineEvent(row.claimed_ms, "claimed", asked))
    for attempt in rows.attempts:
        events += _of_attempt(attempt)
    events += [_of_late_answer(late) for late in history.late_answers]
    if row.approved is not None and row.concluded_ms is not None:
        said = "approved" if row.approved else "declined"
        events.append(TimelineEvent(row.concluded_ms, "concluded", f"{said}, {row.response_code}"))
    elif row.state == PaymentState.NOT_SENT and row.concluded_ms is not None:
        events.append(TimelineEvent(row.concluded_ms, "not_sent", "it may be claimed again"))
    events += [_of_wish(wish) for wish in history.wishes]
    for reversal in rows.reversals:
        events += _of_reversal(reversal)
    events.sort(key=lambda event: event.at_ms)
    return events


def _answer(rows: PaymentRows) -> Answer | None:
    row = rows.payment
    if row.approved is None:
        return None
    status, reversed_minor = standing(rows)
    return Answer(
        approved=bool(row.approved),
        response_code=row.response_code,
        approved_amount=Money(row.approved_minor, row.currency),
        authorization_code=row.authorization_code,
        processor=row.processor,
        retrieval_reference_number=row.retrieval_reference_number,
        replayed=True,
        reversal=status,
        reversed_amount=Money(reversed_minor, row.currency),
        processing_s=None,
    )


def _of_attempt(row: AttemptRow) -> list[TimelineEvent]:
    name = f"attempt {row.ordinal}"
    events = [TimelineEvent(row.opened_ms, "attempt_opened", f"{name}: {row.ledger} by {row.node}")]
    if row.doubted_ms is not None:
        repeat = f", repeat to {row.repeat_node}" if row.repeat_node else ""
        events.append(
            TimelineEvent(row.doubted_ms, "in_doubt", f"{name}: {row.doubted_why}{repeat}")
        )
    if row.closed_ms is not None:
        # An attempt that was given up says why; what became of its reversal is told by that.
        parts = [row.node_answer_code, row.closed_why]
        detail = ", ".join(part for part in parts if part)
        events.append(
            TimelineEvent(row.closed_ms, "attempt_closed", f"{name}: {detail}" if detail else name)
        )
    return events


def _of_late_answer(row: LateAnswerRow) -> TimelineEvent:
    but = ", against what was said before" if row.contradicts else ""
    detail = (
        f"attempt {row.ordinal}: {row.response_code} by {row.node}, {row.delay_ms} ms late{but}"
    )
    return TimelineEvent(row.at_ms, "late_answer", detail)


def _of_wish(row: TerminalReversalRow) -> TimelineEvent:
    amount = "all of it"
    if row.amount_minor is not None and row.currency is not None:
        amount = Money(row.amount_minor, row.currency).text()
    detail = f"{amount}, reason {row.reason}, under {format_uuid(row.request_id)}"
    return TimelineEvent(row.at_ms, "reversal_asked", detail)


def _of_reversal(row: ReversalRow) -> list[TimelineEvent]:
    amount = Money(row.amount_minor, row.currency).text()
    what = "whatever was approved" if row.in_full else amount
    name = f"attempt {row.ordinal}"
    events = [TimelineEvent(row.owed_ms, "reversal_owed", f"{name}: {what}, reason {row.reason}")]
    if row.first_sent_ms is not None:
        sends = f"{name}: {row.sends} times so far"
        events.append(TimelineEvent(row.first_sent_ms, "reversal_first_sent", sends))
    if row.parked and row.parked_ms is not None:
        events.append(TimelineEvent(row.parked_ms, "reversal_parked", f"{name}: {row.parked}"))
    if row.acknowledged_ms is not None:
        detail = f"{name}: {row.acknowledged_code} by {row.acknowledged_by}"
        events.append(TimelineEvent(row.acknowledged_ms, "reversal_acknowledged", detail))
    return events
