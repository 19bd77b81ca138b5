"""The books of one ledger, durable, with the five promises of the processor protocol.

Everything happens in a *turn*: one transaction that takes all that waits. The host opens a turn,
hands in items and lets fall due what is due, commits, and only then lets an answer out. A claim is
one row; so is its decision, which is why "claimed durably before any effect" holds even where both
fall into one turn: they become durable together.

What the issuer will say, and when, is fixed at the claim and stored with it. A host that is killed
in between decides the same after its restart, unless a reversal was first.

The tables, which auditors read, are described in ``tables``.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

import apsw

from clients.simulator import tables
from clients.simulator.message import Answer, Authorize, Inquire, Item, Reverse
from clients.simulator.outcome import APPROVALS
from clients.simulator.session import Link
from payswitch.processor.v1 import processor_pb2 as pb

SQLITE_MIN = (3, 51, 3)
"""Older ones may corrupt a WAL that is reset."""

REFERENCE_BYTES = 16
WAL_PAGES_MAX = 4_000
"""Above this (16 MB) the WAL is to be copied back."""

PROCESSED: int = pb.DISPOSITION_PROCESSED
NOT_PROCESSED: int = pb.DISPOSITION_NOT_PROCESSED
IN_PROGRESS: int = pb.DISPOSITION_IN_PROGRESS
ALREADY_REVERSED: int = pb.DISPOSITION_ALREADY_REVERSED
MALFORMED: int = pb.DISPOSITION_MALFORMED

_NAMES: dict[int, str] = {
    number: name.removeprefix("DISPOSITION_") for name, number in pb.Disposition.items()
}
_NUMBERS = {name: number for number, name in _NAMES.items()}


class LedgerInvalid(Exception):
    """The file is not what it is taken for; the text says what it is."""


class Now(NamedTuple):
    """The two clocks, read once for a turn."""

    monotonic_s: float
    utc_ms: int


class Asker(NamedTuple):
    """One connection of a node; a node that was restarted is another asker."""

    node: str
    connection: int


class Undecided(NamedTuple):
    """A claimed reference that waits for its issuer."""

    due_s: float
    """Monotonic."""
    number: int
    """Its row; no two are equal, so that the heap never compares further."""
    reference: bytes
    issuer_code: str
    issuer_minor: int
    question: int
    """The number of the item that claimed it."""
    asker: Asker | None
    """Who brought it; None after a restart, when nobody waits."""


class _Entry(NamedTuple):
    """A row of the books, as far as a decision needs it."""

    number: int
    state: str
    terminal_id: str
    request_id: str
    kind: int
    amount_minor: int
    currency: str
    response_code: str | None
    approved_minor: int
    authorization_code: str
    reversed_minor: int


class Ledger:
    """One ledger's books. Not for two threads, save ``copy_back``."""

    def __init__(self, path: Path, name: str, now: Now, *, synchronous: str = "normal") -> None:
        """Open or make the file. ``synchronous``: normal outlives a kill, full a power cut."""
        version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
        if version < SQLITE_MIN:
            raise LedgerInvalid(f"SQLite {apsw.sqlite_lib_version()} is too old for a ledger")
        self.path = path
        self.name = name
        self.wal_pages = 0
        self._due: list[Undecided] = []
        self._delivered: list[tuple[object, ...]] = []
        self._refused_once: set[bytes] = set()
        self._books = apsw.Connection(str(path))
        self._books.set_busy_timeout(5_000)
        self._books.pragma("journal_mode", "wal")
        self._books.pragma("synchronous", synchronous)
        self._books.pragma("cache_size", -65_536)
        self._books.set_wal_hook(self._see_wal)
        self._found(name)
        for number, reference, code, minor, issuer_at in self._books.execute(tables.UNDECIDED):
            due_s = now.monotonic_s + max(0, issuer_at - now.utc_ms) / 1000
            heapq.heappush(self._due, Undecided(due_s, number, reference, code, minor, 0, None))

    def close(self) -> None:
        """Close the file; SQLite copies the WAL back."""
        self._books.close()

    # -- turns

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Make all that happens inside durable together, or not at all."""
        books = self._books
        books.execute("BEGIN IMMEDIATE")
        try:
            yield
            if self._delivered:
                books.executemany(tables.DELIVER, self._delivered)
                self._delivered.clear()
        except BaseException:
            books.execute("ROLLBACK")
            raise
        books.execute("COMMIT")

    def take(self, item: Item, asker: Asker, now: Now) -> Answer | None:
        """Start an item; return its answer, or None where ``fall_due`` will give it later."""
        if item.start_by_ns and item.start_by_ns <= now.monotonic_s * 1e9:
            return Answer(item.number, NOT_PROCESSED, detail="its time to live ran out")
        if isinstance(item, Authorize):
            answer = self._authorize(item, asker, now)
        elif isinstance(item, Reverse):
            answer = self._reverse(item, asker.node, now)
        else:
            answer = self._inquire(item)
        self._deliver(item, answer, asker.node, now)
        return answer

    def fall_due(self, now: Now) -> Iterator[tuple[Asker | None, Answer]]:
        """Decide what the issuer decides by now; yield each answer and whom it is for."""
        due = self._due
        while due and due[0].due_s <= now.monotonic_s:
            waiting = heapq.heappop(due)
            yield waiting.asker, self._decide(waiting, now)

    def next_due_s(self) -> float | None:
        """Return the monotonic instant of the next decision; None if none is waited for."""
        return self._due[0].due_s if self._due else None

    # -- links

    def open_session(self, node: str, switch_id: str, link: Link, now: Now) -> None:
        """Remember that a switch opened a link to a node."""
        self._books.execute(tables.OPEN, (node, switch_id, *link, now.utc_ms))

    def newest_sessions(self, node: str) -> dict[str, Link]:
        """Return the newest link of each switch to a node."""
        rows = cast("Iterator[tuple[str, int, int]]", self._books.execute(tables.NEWEST, (node,)))
        return {switch_id: (epoch, session) for switch_id, epoch, session in rows}

    # -- the WAL

    def copy_back(self) -> None:
        """Copy most of the WAL into the file. Safe beside turns, from another thread."""
        beside = apsw.Connection(str(self.path))
        try:
            beside.pragma("journal_mode")  # a connection that has read nothing knows of no WAL
            beside.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        finally:
            beside.close()

    def copy_rest(self) -> None:
        """Copy what turns wrote meanwhile, so that the WAL starts anew. Between two turns."""
        self._books.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _see_wal(self, _: apsw.Connection, __: str, pages: int) -> int:
        self.wal_pages = pages
        return apsw.SQLITE_OK

    # -- authorizations

    def _authorize(self, item: Authorize, asker: Asker, now: Now) -> Answer | None:
        entry = self._entry(item.reference)
        if entry is not None:
            return self._again(item, entry)
        if self._is_reversed_in_advance(item.reference):
            return Answer(item.number, NOT_PROCESSED, detail="reversed before it came")
        if item.refusal and not (item.refusal_once and item.reference in self._refused_once):
            self._refused_once.add(item.reference)
            return Answer(item.number, item.refusal, detail="as its amount asks for")
        self._claim(item, asker, now)
        if item.issuer_delay_s > 0:
            return None
        return _said(item.number, item.issuer_code, item.issuer_minor, item.reference)

    def _again(self, item: Authorize, entry: _Entry) -> Answer:
        """Answer for a reference that is in the books."""
        if (item.terminal_id, item.request_id, item.kind, item.amount_minor, item.currency) != (
            entry.terminal_id,
            entry.request_id,
            entry.kind,
            entry.amount_minor,
            entry.currency,
        ):
            detail = "the reference names another authorization"
            return Answer(item.number, MALFORMED, detail=detail)
        if entry.state == "void":
            return Answer(item.number, NOT_PROCESSED, detail="reversed before it was decided")
        return _standing(item.number, entry)

    def _claim(self, item: Authorize, asker: Asker, now: Now) -> None:
        decided = item.issuer_delay_s <= 0
        code, minor = item.issuer_code, item.issuer_minor
        self._books.execute(
            tables.CLAIM,
            (
                item.reference,
                _state(minor) if decided else "undecided",
                item.terminal_id,
                item.request_id,
                item.kind,
                item.amount_minor,
                item.currency,
                code if decided else None,
                minor if decided else 0,
                _authorization_code(code, item.reference) if decided else "",
                asker.node,
                *_where(item),
                now.utc_ms,
                now.utc_ms if decided else None,
                code,
                minor,
                now.utc_ms + round(item.issuer_delay_s * 1000),
            ),
        )
        if not decided:
            due_s = now.monotonic_s + item.issuer_delay_s
            number = self._books.last_insert_rowid()
            waiting = Undecided(due_s, number, item.reference, code, minor, item.number, asker)
            heapq.heappush(self._due, waiting)

    def _decide(self, waiting: Undecided, now: Now) -> Answer:
        """Let the issuer speak; a reversal that came first stands."""
        code, minor = waiting.issuer_code, waiting.issuer_minor
        authorization_code = _authorization_code(code, waiting.reference)
        self._books.execute(
            tables.DECIDE,
            (_state(minor), code, minor, authorization_code, now.utc_ms, waiting.number),
        )
        if not self._books.changes():
            detail = "reversed before it was decided"
            return Answer(waiting.question, NOT_PROCESSED, detail=detail)
        return _said(waiting.question, code, minor, waiting.reference)

    # -- reversals

    def _reverse(self, item: Reverse, node: str, now: Now) -> Answer:
        before = self._books.execute(tables.REVERSAL, (item.reversal_reference,)).fetchone()
        if before is not None:
            reference, full, asked_minor, currency, disposition = before
            same = (reference, full) == (item.reference, item.full) and (
                item.full or (asked_minor, currency) == (item.amount_minor, item.currency)
            )
            if not same:
                detail = "the reversal_reference names another reversal"
                return Answer(item.number, MALFORMED, detail=detail)
            return Answer(item.number, _NUMBERS[cast("str", disposition)])
        entry = self._entry(item.reference)
        if entry is None:
            again = self._is_reversed_in_advance(item.reference)
            return self._acknowledge(item, ALREADY_REVERSED if again else PROCESSED, 0, node, now)
        if entry.state in {"reversed", "void"}:
            return self._acknowledge(item, ALREADY_REVERSED, 0, node, now)
        if entry.state == "declined":
            return self._acknowledge(item, PROCESSED, 0, node, now)
        if entry.state == "undecided":
            self._books.execute(tables.GIVE_BACK, ("void", 0, entry.number))
            return self._acknowledge(item, PROCESSED, 0, node, now)
        return self._give_back(item, entry, node, now)

    def _give_back(self, item: Reverse, entry: _Entry, node: str, now: Now) -> Answer:
        """Reverse what is live."""
        stands_minor = entry.approved_minor - entry.reversed_minor
        given_minor = stands_minor if item.full else item.amount_minor
        if not item.full and item.currency != entry.currency:
            return Answer(item.number, MALFORMED, detail=f"approved in {entry.currency}")
        if given_minor > stands_minor:
            return Answer(item.number, MALFORMED, detail=f"only {stands_minor} stands")
        state = "live" if given_minor < stands_minor else "reversed"
        self._books.execute(tables.GIVE_BACK, (state, given_minor, entry.number))
        return self._acknowledge(item, PROCESSED, given_minor, node, now)

    def _acknowledge(
        self, item: Reverse, disposition: int, given_minor: int, node: str, now: Now
    ) -> Answer:
        self._books.execute(
            tables.ACKNOWLEDGE,
            (
                item.reversal_reference,
                item.reference,
                item.full,
                item.amount_minor,
                item.currency,
                item.message_reason,
                given_minor,
                _NAMES[disposition],
                node,
                *_where(item),
                now.utc_ms,
            ),
        )
        return Answer(item.number, disposition)

    # -- inquiries

    def _inquire(self, item: Inquire) -> Answer:
        entry = self._entry(item.reference)
        if entry is not None:
            return _standing(item.number, entry)
        if self._is_reversed_in_advance(item.reference):
            return Answer(item.number, ALREADY_REVERSED, detail="reversed before it came")
        return Answer(item.number, NOT_PROCESSED, detail="not known")

    # -- the file

    def _found(self, name: str) -> None:
        """Make the tables, or see that they are this ledger's."""
        if not self._books.table_exists(None, "ledger"):
            self._books.execute("BEGIN IMMEDIATE")
            self._books.execute(tables.SCHEMA)
            self._books.execute("INSERT INTO ledger VALUES (?, ?)", (name, tables.VERSION))
            self._books.execute("COMMIT")
        found = self._books.execute("SELECT name, version FROM ledger").get
        if found != (name, tables.VERSION):
            raise LedgerInvalid(f"{self.path} is {found}, not {(name, tables.VERSION)}")

    def _entry(self, reference: bytes) -> _Entry | None:
        row = self._books.execute(tables.ENTRY, (reference,)).fetchone()
        return None if row is None else _Entry._make(row)

    def _is_reversed_in_advance(self, reference: bytes) -> bool:
        found = self._books.execute(tables.REVERSAL_OF, (reference,))
        return found.fetchone() is not None

    def _deliver(self, item: Item, answer: Answer | None, node: str, now: Now) -> None:
        kind, repeat, reversal_reference = "inquiry", False, None
        if isinstance(item, Authorize):
            kind, repeat = "authorization", item.repeat
        elif isinstance(item, Reverse):
            kind, repeat, reversal_reference = "reversal", item.repeat, item.reversal_reference
        said = "CLAIMED" if answer is None else _NAMES[answer.disposition]
        self._delivered.append(
            (
                kind,
                item.reference,
                reversal_reference,
                node,
                *_where(item),
                repeat,
                said,
                now.utc_ms,
            )
        )


def _where(item: Item) -> tuple[str, int, int, int, int]:
    origin = item.origin
    return (
        origin.switch_id,
        origin.epoch,
        origin.session,
        origin.frame_number,
        origin.sending_number,
    )


def _state(approved_minor: int) -> str:
    return "live" if approved_minor else "declined"


def _authorization_code(code: str, reference: bytes) -> str:
    """Return DE 38 for a code that approves: six digits, always the same for a reference."""
    if code not in APPROVALS:
        return ""
    return f"{int.from_bytes(reference[:8], 'big') % 1_000_000:06d}"


def _said(question: int, code: str, minor: int, reference: bytes) -> Answer:
    """Return what the issuer just said."""
    if code not in APPROVALS:
        return Answer(question, PROCESSED, code)
    return Answer(question, PROCESSED, code, minor, _authorization_code(code, reference))


def _standing(question: int, entry: _Entry) -> Answer:
    """Return what the books say of a reference: always its first outcome."""
    if entry.state == "undecided":
        return Answer(question, IN_PROGRESS)
    if entry.state == "void":
        return Answer(question, ALREADY_REVERSED, detail="reversed before it was decided")
    code = entry.response_code or ""
    reversed_ = entry.state == "reversed"
    answer = Answer(question, ALREADY_REVERSED if reversed_ else PROCESSED, code)
    if code in APPROVALS:
        answer.approved_minor = entry.approved_minor
        answer.authorization_code = entry.authorization_code
    return answer
