"""What a response code says about money, about the ledger, and about the node.

DE 39 of ISO 8583 is the only thing most processors tell, and one table reads it. Three questions
are kept apart, because mixing them charges cards twice or demotes healthy nodes:

* the money: approved, declined, provably nothing (technical), still undecided (wait), unknown
  (in doubt);
* another ledger: may the same sale be tried elsewhere? A lost card never, a routing failure best;
* the node: a decline is a *success* of the node. Customers' wrong PINs must not demote a healthy
  processor, so only technical outcomes feed the breaker.

A code that is not in the table is private or new: in doubt. A processor's profile may override the
meaning of a code (91 and 96 are in doubt by default; some processors promise that they mean "not
posted"), never that of an approval. Texts and advice are for terminals. Sources: ISO 8583:1987 and
the interface guides of several acquirers.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from switch.core.routing import Outcome


class Meaning(IntEnum):
    """What a code says about the money."""

    APPROVED = 1
    PARTIAL = 2
    DECLINED = 3
    TECHNICAL = 4
    """No decision was made and no money was taken."""
    WAIT = 5
    """Undecided: ask again."""
    IN_DOUBT = 6
    """It cannot be known from this code."""


class Advice(IntEnum):
    """What a terminal may do; the numbers are those of the protocol."""

    NONE = 1
    NEW_PAYMENT_LATER = 2
    NOT_WITH_THIS_CARD = 3
    FIX_AND_NEW_PAYMENT = 4


class Code(NamedTuple):
    """One row of the table."""

    meaning: Meaning
    outcome: Outcome
    """What the breaker of the node is told."""
    other_ledger: bool
    """Whether the sale may be tried at another ledger after it."""
    text: str
    advice: Advice


def _rows() -> dict[str, Code]:
    ok, ignored = Outcome.SUCCESS, Outcome.LOCAL
    later, never = Advice.NEW_PAYMENT_LATER, Advice.NOT_WITH_THIS_CARD
    fix, none = Advice.FIX_AND_NEW_PAYMENT, Advice.NONE
    rows: dict[str, Code] = {}

    def approved(code: str, text: str, meaning: Meaning = Meaning.APPROVED) -> None:
        rows[code] = Code(meaning, ok, False, text, none)

    def declined(code: str, text: str, advice: Advice, outcome: Outcome = ok) -> None:
        rows[code] = Code(Meaning.DECLINED, outcome, False, text, advice)

    def unsettled(
        code: str, text: str, meaning: Meaning, outcome: Outcome, *, other: bool = False
    ) -> None:
        rows[code] = Code(meaning, outcome, other, text, later)

    approved("00", "Approved")
    approved("08", "Approved with identification")
    approved("10", "Approved for a part of the amount", Meaning.PARTIAL)
    approved("11", "Approved (VIP)")
    approved("16", "Approved, update track 3")
    approved("85", "Approved, no reason to decline")

    declined("01", "Refer to the card issuer", later)
    declined("02", "Refer to the card issuer, special condition", later)
    # What the request itself got wrong says nothing about the node.
    declined("03", "Invalid merchant", fix, ignored)
    declined("12", "Invalid transaction", fix, ignored)
    declined("13", "Invalid amount", fix, ignored)
    declined("30", "Format error", fix, ignored)
    declined("31", "Bank not supported", never, ignored)
    declined("40", "Function not supported", fix, ignored)
    declined("57", "Transaction not permitted to the cardholder", fix, ignored)
    declined("58", "Transaction not permitted to the terminal", fix, ignored)
    for code, text in (
        ("04", "Pick up the card"),
        ("07", "Pick up the card, special condition"),
        ("33", "Expired card, pick up"),
        ("34", "Suspected fraud, pick up"),
        ("35", "Contact the acquirer, pick up"),
        ("36", "Restricted card, pick up"),
        ("37", "Call acquirer security, pick up"),
        ("38", "PIN tries exceeded, pick up"),
        ("41", "Lost card"),
        ("43", "Stolen card"),
        ("14", "Invalid card number"),
        ("54", "Expired card"),
    ):
        declined(code, text, never)
    declined("05", "Do not honour", later)
    declined("17", "Cancelled by the terminal", none)
    declined("51", "Insufficient funds", later)
    declined("55", "Incorrect PIN", later)
    declined("59", "Suspected fraud", never)
    declined("61", "Exceeds the withdrawal amount limit", later)
    declined("62", "Restricted card", never)
    declined("63", "Security violation", never)
    declined("65", "Exceeds the withdrawal frequency limit", later)
    declined("75", "PIN tries exceeded", never)
    declined("82", "Incorrect CVV", never)
    declined("1A", "Stronger customer authentication required", fix)

    unsettled("09", "Request in progress", Meaning.WAIT, ignored)
    unsettled("94", "Duplicate transmission", Meaning.WAIT, ignored)
    unsettled("15", "No such issuer", Meaning.TECHNICAL, ignored, other=True)
    unsettled("92", "Unable to route", Meaning.TECHNICAL, ignored, other=True)
    unsettled("90", "Cut-off in progress", Meaning.TECHNICAL, Outcome.SOFT, other=True)
    unsettled("68", "Answered too late", Meaning.IN_DOUBT, Outcome.IN_DOUBT)
    unsettled("91", "Issuer or switch inoperative", Meaning.IN_DOUBT, Outcome.TECHNICAL, other=True)
    unsettled("96", "System malfunction", Meaning.IN_DOUBT, Outcome.TECHNICAL, other=True)
    for code in ("97", "98", "99"):
        unsettled(code, "Private code", Meaning.IN_DOUBT, Outcome.IN_DOUBT)
    return rows


CODES: dict[str, Code] = _rows()
"""DE 39 → what it says."""

UNKNOWN = Code(Meaning.IN_DOUBT, Outcome.IN_DOUBT, False, "Unknown code", Advice.NEW_PAYMENT_LATER)

INOPERATIVE = "91"
"""What a terminal is told when the outcome is in doubt and the reversal is owed."""
CANCELLED = "17"
"""What a terminal is told about a payment it reversed itself."""
INSUFFICIENT = "51"
"""What a terminal is told that cannot take the part that was approved."""

OVERRIDABLE: dict[str, Meaning] = {
    "declined": Meaning.DECLINED,
    "technical": Meaning.TECHNICAL,
    "in_doubt": Meaning.IN_DOUBT,
}
"""Meanings a processor's profile may give to a code that is not an approval."""


def meanings_with(overrides: dict[str, str]) -> dict[str, Code]:
    """Return the table as one processor means it; ``overrides`` map codes to OVERRIDABLE names."""
    table = dict(CODES)
    for code, name in overrides.items():
        row = CODES.get(code, UNKNOWN)
        meaning = OVERRIDABLE[name]
        table[code] = row._replace(
            meaning=meaning,
            outcome=Outcome.SUCCESS if meaning is Meaning.DECLINED else row.outcome,
            other_ledger=meaning is Meaning.TECHNICAL,
        )
    return table


def problems_with(overrides: dict[str, str]) -> list[str]:
    """Return what is wrong with a profile's overrides, a sentence each."""
    broken = []
    for code, name in overrides.items():
        if CODES.get(code, UNKNOWN).meaning in (Meaning.APPROVED, Meaning.PARTIAL):
            broken.append(f'code "{code}" is an approval and keeps its meaning')
        if name not in OVERRIDABLE:
            broken.append(f'code "{code}": "{name}" is none of {", ".join(OVERRIDABLE)}')
    return broken


def describe(code: str) -> tuple[str, int]:
    """Return a code's text for a person and its advice for the terminal."""
    row = CODES.get(code, UNKNOWN)
    return row.text, int(row.advice)
