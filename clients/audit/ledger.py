"""The third ledger: what the processors wrote down, one file for each of their ledgers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from clients.audit.database import Database
from clients.audit.evidence import Unreadable

NO_EFFECT = frozenset({"NOT_PROCESSED", "KEY_UNKNOWN", "MALFORMED"})
"""Dispositions by which a ledger says that a delivery did nothing."""


class Entry(NamedTuple):
    """An authorization in the books."""

    terminal_id: str
    request_id: str
    reference: bytes
    state: str
    amount_minor: int
    currency: str
    response_code: str | None
    approved_minor: int
    reversed_minor: int
    authorization_code: str

    @property
    def live_minor(self) -> int:
        """What stands: approved, and not given back."""
        return self.approved_minor - self.reversed_minor


class Given(NamedTuple):
    """A reversal that the ledger acknowledged."""

    reversal_reference: bytes
    reference: bytes
    reversed_minor: int


class Delivery(NamedTuple):
    """An item that reached the ledger."""

    kind: str
    reference: bytes
    reversal_reference: bytes | None
    node: str
    switch_id: str
    epoch: int
    session: int
    frame_number: int
    repeat: int
    disposition: str
    at: int


class Session(NamedTuple):
    """A link that a switch opened to a node."""

    node: str
    switch_id: str
    epoch: int
    session: int
    opened_at: int


@dataclass(slots=True)
class Ledger:
    """One ledger."""

    name: str
    entries: list[Entry]
    given: list[Given]
    deliveries: list[Delivery]
    """In the order in which they came."""
    sessions: list[Session]


def read_ledgers(paths: Iterable[Path]) -> dict[str, Ledger]:
    """Read processors' ledgers; return them by name. Raises Unreadable."""
    ledgers: dict[str, Ledger] = {}
    for path in paths:
        ledger = _read(path)
        if ledger.name in ledgers:
            raise Unreadable(f"{path}: ledger {ledger.name} was given already")
        ledgers[ledger.name] = ledger
    return ledgers


def _read(path: Path) -> Ledger:
    with Database(path) as file:
        names = file.select("SELECT name FROM ledger")
        if len(names) != 1:
            raise Unreadable(f"{path}: table ledger has {len(names)} rows, and should have one")
        ledger = Ledger(
            name=str(names[0][0]),
            entries=[Entry._make(row) for row in file.rows("authorization", Entry._fields)],
            given=[Given._make(row) for row in file.rows("reversal", Given._fields)],
            deliveries=[
                Delivery._make(row) for row in file.rows("delivery", Delivery._fields, "number")
            ],
            sessions=[Session._make(row) for row in file.rows("session", Session._fields)],
        )
        file.agree(
            'SELECT total(approved_minor - reversed_minor) FROM "authorization"',
            sum(entry.live_minor for entry in ledger.entries),
        )
    return ledger
