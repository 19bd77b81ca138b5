"""The second ledger: the switch's journal.

The numbers are those that stand in the file. They are written down here a second time on purpose:
an audit that took them from the switch would believe whatever the switch believes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from clients.audit.database import Database
from clients.audit.evidence import Key

KINDS = {0: "tombstone", 1: "purchase", 2: "preauthorization"}
RESTARTED = "restarted"
"""Why an attempt was given up: the switch itself had gone away."""


class PaymentState(IntEnum):
    """Of a payment."""

    RUNNING = 1
    CONCLUDED = 2
    NOT_SENT = 3
    REVERSED_IN_ADVANCE = 4


class AttemptState(IntEnum):
    """Of an attempt."""

    INTENDED = 1
    SENT = 2
    REPEATING = 3
    APPROVED = 4
    DECLINED = 5
    FAILED = 6
    NOT_SENT = 7
    OWED = 8
    REVERSED = 9


class Row(NamedTuple):
    """A payment, and what its terminal was told."""

    terminal_id: str
    request_id: bytes
    state: int
    kind: int
    amount_minor: int
    currency: str
    bin: str
    last_four: str
    merchant_id: str
    approved: int | None
    """None: there is no answer."""
    response_code: str
    approved_minor: int
    authorization_code: str


class Attempt(NamedTuple):
    """One reference's life at one ledger."""

    terminal_id: str
    request_id: bytes
    ordinal: int
    reference: bytes
    ledger: str
    node: str
    """The node it was meant for first."""
    attempt_state: int
    doubted: int
    doubted_why: str
    repeat_node: str
    node_answer_code: str
    closed_why: str


_ORDINAL = Attempt._fields.index("ordinal")


class Debt(NamedTuple):
    """A reversal owed to a ledger, until it is acknowledged."""

    terminal_id: str
    request_id: bytes
    reversal_reference: bytes
    ordinal: int
    reference: bytes
    in_full: int
    amount_minor: int
    acknowledged_ms: int | None

    @property
    def outstanding(self) -> bool:
        """Whether it is still owed."""
        return self.acknowledged_ms is None


class _Wish(NamedTuple):
    terminal_id: str
    request_id: bytes


@dataclass(slots=True)
class Switch:
    """The journal."""

    rows: dict[Key, Row] = field(default_factory=dict)
    attempts: dict[Key, list[Attempt]] = field(default_factory=lambda: defaultdict(list))
    debts: dict[Key, list[Debt]] = field(default_factory=lambda: defaultdict(list))
    wishes: set[Key] = field(default_factory=set)
    late_answers: int = 0


def read_switch(path: Path) -> Switch:
    """Read a switch's journal. Raises Unreadable."""
    switch = Switch()
    with Database(path) as file:
        for values in file.rows("payments", Row._fields):
            row = Row._make(values)
            switch.rows[_key(row)] = row
        # A payment's last attempt stands in its own row, the earlier ones in a table beside it.
        for table in ("earlier_attempts", "payments"):
            for values in file.rows(table, Attempt._fields, "ordinal"):
                attempt = Attempt._make(values)
                if values[_ORDINAL] is not None:  # As it is where a reversal came first.
                    switch.attempts[_key(attempt)].append(attempt)
        for values in file.rows("reversals", Debt._fields):
            debt = Debt._make(values)
            switch.debts[_key(debt)].append(debt)
        for values in file.rows("terminal_reversals", _Wish._fields):
            switch.wishes.add(_key(_Wish._make(values)))
        ((switch.late_answers,),) = file.select("SELECT count(*) FROM late_answers")
        file.agree(
            "SELECT total(approved_minor) FROM payments WHERE approved",
            sum(row.approved_minor for row in switch.rows.values() if row.approved),
        )
    return switch


def _key(row: Row | Attempt | Debt | _Wish) -> Key:
    return Key(row.terminal_id, str(UUID(bytes=row.request_id)))
