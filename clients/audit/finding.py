"""What the audit finds, and what it counts as.

A fault that shows in several ways is found several times; whatever it is about (a payment, mostly)
counts once in each counter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from clients.audit.evidence import Key
from clients.audit.ledger import Ledger
from clients.audit.payment import Payment
from clients.audit.switch import Switch
from clients.audit.terminals import Terminals

COUNTERS = {
    "two_live_approvals": "double_charges",
    "more_than_approved": "double_charges",
    "lost_approval": "lost",
    "lost_answer": "lost",
    "lost_reversal": "lost",
    "live_though_declined": "mismatches",
    "live_though_refused": "mismatches",
    "money_differs": "mismatches",
    "answer_changed": "mismatches",
    "two_payments_under_one_id": "mismatches",
    "contents_differ": "mismatches",
    "said_otherwise": "mismatches",
    "wrongful_reversal": "mismatches",
    "false_acknowledgement": "mismatches",
    "unowed_reversal": "mismatches",
    "nothing_owed": "mismatches",
    "repeat_and_reversal": "mismatches",
    "undecided_forever": "mismatches",
    "unknown_to_switch": "mismatches",
    "unknown_to_terminals": "mismatches",
    "unknown_reference": "mismatches",
    "wrong_ledger": "mismatches",
    "two_ledgers": "mismatches",
    "books_differ": "mismatches",
    "sent_before_durable": "mismatches",
    "sent_after_restart": "mismatches",
    "unmarked_repeat": "mismatches",
    "stale_delivery": "mismatches",
    "after_the_order": "mismatches",
}
"""Every kind of finding, and what it counts as."""


class Finding(NamedTuple):
    """One thing that is wrong."""

    kind: str
    subject: str
    """The payment, or what else it is about: counted once for each counter."""
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.subject}: {self.text}"


class Order(NamedTuple):
    """An operator's order as it was acknowledged: from this frame on, no authorization."""

    node: str
    epoch: int
    session: int
    frame_number: int
    """The last frame that may hold one."""
    until_frame: int | None
    """The last frame before authorizations were allowed again; None: the link's last."""


@dataclass(frozen=True, slots=True)
class World:
    """All evidence."""

    terminals: Terminals
    switch: Switch
    ledgers: Mapping[str, Ledger]
    payments: Mapping[Key, Payment]
    orders: tuple[Order, ...] = ()


Found = Iterator[tuple[str, str]]
"""What a check of one payment yields: kind and text."""


def counted(findings: Iterable[Finding]) -> Counter[str]:
    """Return how many subjects each counter has."""
    subjects = {(COUNTERS[finding.kind], finding.subject) for finding in findings}
    return Counter(counter for counter, _ in subjects)
