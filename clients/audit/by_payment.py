"""What may be wrong with one payment, a function for each kind of lie."""

from __future__ import annotations

from itertools import pairwise

from clients.audit.finding import Found
from clients.audit.payment import Payment
from clients.audit.switch import KINDS, AttemptState, PaymentState, Row
from clients.audit.terminals import Told

# --- money -----------------------------------------------------------------------------------


def charged_twice(payment: Payment) -> Found:
    """At most one reference of a payment is live, and never with more than was approved."""
    live = payment.live
    if len(live) > 1:
        where = ", ".join(f"{entry.live_minor} at {ledger}" for ledger, entry in live)
        yield "two_live_approvals", f"live: {where}"
    approved = _approved_minor(payment)
    if approved is not None and len(live) == 1 and payment.live_minor > approved:
        yield "more_than_approved", f"{payment.live_minor} is live of {approved} approved"


def approval_lost(payment: Payment) -> Found:
    """What a terminal was told is approved stands in exactly one ledger."""
    believed = payment.terminal_minor
    if believed is not None and payment.kept_minor < believed:
        yield "lost_approval", f"{payment.kept_minor} stands of the {believed} that were approved"


def answer_lost(payment: Payment) -> Found:
    """What a terminal was told stands in the switch's journal, in the same words."""
    if payment.told is None:
        return
    row = payment.row
    if row is None:
        yield "lost_answer", "the switch's journal does not know the payment"
        return
    if row.approved is None:
        in_advance = row.state == PaymentState.REVERSED_IN_ADVANCE
        if not in_advance or payment.told.approved:
            yield "lost_answer", f"{_words(payment.told)}, and the switch's journal has no answer"
        return
    if _as_told(row) != payment.told:
        yield "lost_answer", f"{_words(payment.told)}; journal: {_words(_as_told(row))}"


def money_differs(payment: Payment) -> Found:
    """Terminal, switch and ledgers agree to the cent, but for what is still owed."""
    kept, by_switch, believed = payment.kept_minor, payment.switch_minor, payment.terminal_minor
    if len(payment.live) > 1 or (believed is not None and kept < believed):
        return  # Charged twice, or lost: counted as that.
    if payment.refusal is not None and kept > 0:
        yield "live_though_refused", f"{kept} is live; its terminal was refused"
    elif payment.told is not None and not payment.told.approved and kept > 0:
        yield "live_though_declined", f"{kept} is live, and no reversal is owed for it"
    elif kept != by_switch:
        yield "money_differs", f"switch {by_switch}, ledgers {kept}"
    elif believed is not None and believed != by_switch:
        yield "money_differs", f"terminal {believed}, switch {by_switch}"


# --- answers ---------------------------------------------------------------------------------


def answer_changed(payment: Payment) -> Found:
    """All answers to a payment are equal."""
    answers = list(dict.fromkeys(call.told for call in payment.calls if call.told))
    for first, other in pairwise(answers):
        yield "answer_changed", f"{_words(first)}, then {_words(other)}"


def contents_differ(payment: Payment) -> Found:
    """One id names one request: another under the same id has no effect."""
    answered = list(dict.fromkeys(call.contents for call in payment.calls if call.told))
    if len(answered) > 1:
        yield "two_payments_under_one_id", f"{answered[0]} and {answered[1]} were both answered"
    row = payment.row
    if row is None or not row.kind:
        return
    for contents in answered[:1]:
        kept = (
            *(row.amount_minor, row.currency, KINDS.get(row.kind)),
            *(row.bin, row.last_four, row.merchant_id),
        )
        if kept != tuple(contents):
            yield "contents_differ", f"terminal {tuple(contents)}, switch {kept}"
    for ledger, entry in payment.entries:
        if (entry.amount_minor, entry.currency) != (row.amount_minor, row.currency):
            asked = f"switch {row.amount_minor} {row.currency}"
            yield "contents_differ", f"{asked}, {ledger} {entry.amount_minor} {entry.currency}"


def said_otherwise(payment: Payment) -> Found:
    """What the switch says a ledger answered is what stands in that ledger."""
    entries = {entry.reference: entry for _, entry in payment.entries}
    for attempt in payment.attempts:
        entry = entries.get(attempt.reference)
        if attempt.attempt_state not in (AttemptState.APPROVED, AttemptState.DECLINED):
            continue
        if entry is None:
            text = f"switch heard {attempt.node_answer_code}, {attempt.ledger} has nothing"
            yield "said_otherwise", text
            continue
        heard: tuple[object, ...] = (attempt.node_answer_code,)
        stands: tuple[object, ...] = (entry.response_code or "",)
        row = payment.row
        if row is not None and row.approved and attempt is payment.attempts[-1]:
            heard = (row.response_code, row.approved_minor, row.authorization_code)
            stands = (entry.response_code, entry.approved_minor, entry.authorization_code)
        if heard != stands:
            yield "said_otherwise", f"switch heard {heard}, ledger has {stands}"


# --- reversals -------------------------------------------------------------------------------


def wrongful_reversal(payment: Payment) -> Found:
    """An approval that was answered is reversed only if its terminal asked for that."""
    row = payment.row
    told_approved = payment.told is not None and payment.told.approved
    if not (told_approved or (row is not None and row.approved)) or payment.wishes:
        return
    under = payment.attempts[-1].reference if payment.attempts else None
    if any(debt.reference == under for debt in payment.debts):
        yield "wrongful_reversal", "the switch reverses an approval that nobody asked to reverse"
    for ledger, entry in payment.entries:
        if entry.reversed_minor and entry.reference == under:
            yield "wrongful_reversal", f"{ledger} gave back {entry.reversed_minor}, unasked"


def reversal_owed(payment: Payment) -> Found:
    """A reference that is given up has its reversal written down, and is not repeated too."""
    for attempt in payment.attempts:
        debts = [debt for debt in payment.debts if debt.reference == attempt.reference]
        if attempt.attempt_state in (AttemptState.OWED, AttemptState.REVERSED) and not debts:
            yield "nothing_owed", f"attempt {attempt.ordinal} is given up without a reversal"
        if attempt.attempt_state == AttemptState.REPEATING and any(
            debt.outstanding for debt in debts
        ):
            yield "repeat_and_reversal", f"attempt {attempt.ordinal} is repeated and reversed"


def undecided_forever(payment: Payment) -> Found:
    """What a ledger may still approve has a reversal that forbids it, or is still being asked."""
    handled = {debt.reference for debt in payment.debts} | {
        attempt.reference
        for attempt in payment.attempts
        if attempt.attempt_state
        in (AttemptState.INTENDED, AttemptState.SENT, AttemptState.REPEATING)
    }
    for ledger, entry in payment.entries:
        if entry.state == "undecided" and entry.reference not in handled:
            yield "undecided_forever", f"{ledger} may still approve {entry.amount_minor}"


# --- who knows what --------------------------------------------------------------------------


def unknown(payment: Payment) -> Found:
    """Every payment in a ledger is in the switch's journal; every one there, at a terminal."""
    if payment.entries and payment.row is None:
        yield "unknown_to_switch", f"{payment.entries[0][0]} has it, the switch does not"
    row = payment.row
    if row is not None and not (payment.calls if row.kind else payment.wishes):
        yield "unknown_to_terminals", "the switch has it, and no terminal asked for it"


def references(payment: Payment) -> Found:
    """A reference stands in the journal, and is used at its own ledger only."""
    ledgers = {attempt.reference: attempt.ledger for attempt in payment.attempts}
    for name, entry in payment.entries:
        if payment.row is None:
            continue
        if entry.reference not in ledgers:
            yield "unknown_reference", f"{name} has {entry.reference.hex()}"
        elif ledgers[entry.reference] != name:
            yield "wrong_ledger", f"{name} has a reference of {ledgers[entry.reference]}"


PAYMENT_CHECKS = (
    charged_twice,
    approval_lost,
    answer_lost,
    money_differs,
    answer_changed,
    contents_differ,
    said_otherwise,
    wrongful_reversal,
    reversal_owed,
    undecided_forever,
    unknown,
    references,
)


# --- words -----------------------------------------------------------------------------------


def _approved_minor(payment: Payment) -> int | None:
    if payment.row is not None and payment.row.approved:
        return payment.row.approved_minor
    if payment.told is not None and payment.told.approved:
        return payment.told.approved_minor
    return None


def _as_told(row: Row) -> Told:
    return Told(
        "approved" if row.approved else "declined",
        row.response_code,
        row.approved_minor,
        row.currency,
        row.authorization_code,
    )


def _words(told: Told) -> str:
    amount = f" for {told.approved_minor} {told.currency}" if told.approved else ""
    return f"{told.outcome} ({told.code}){amount}"
