"""The journal in SQLite, as the event loop sees it.

Writes go to the writer's thread and come back when they are durable. Reads go to another thread
with a connection of its own that cannot write; each sees one commit, whole, and the newest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import apsw

from switch.core.audit import START, AuditEntry, AuditRecord, AuditVerdict, verify
from switch.core.message import (
    OwedReversal,
    PaymentKey,
    Record,
    ReversalAnswer,
    StoredAttempt,
    StoredPayment,
    TimelineEvent,
)
from switch.core.operations import (
    IntentOrder,
    IntentResult,
    JournalCounts,
    PaymentView,
    Recovery,
    StandingIntent,
)
from switch.errors import JournalUnavailable
from switch.store.journal import JournalState, Result
from switch.store.rows import owed_reversal, payment_view, reversal_answer
from switch.store.sqlite.file import Opening, open_file, open_for_reading
from switch.store.sqlite.reading import Reading
from switch.store.sqlite.writer import LOG_PAGES_MAX, Writer

AUDIT_PAGE = 1000
"""Audit records that are verified in one piece."""

T = TypeVar("T")


class SqliteJournal:
    """What is durable, in one file. Fits the flow's port, and serves operators."""

    def __init__(self, switch_id: str, writer: Writer, epoch: int) -> None:
        """Not for callers: they ``open``."""
        self.switch_id = switch_id
        self.epoch = epoch
        """How often this journal was opened, this time included."""
        self._writer = writer
        self._readers = ThreadPoolExecutor(1, "journal-reader")
        self._connection: apsw.Connection | None = None

    @classmethod
    async def open(
        cls,
        path: Path,
        switch_id: str,
        *,
        at_ms: int,
        migrate: bool = False,
        log_pages_max: int = LOG_PAGES_MAX,
        vfs: str | None = None,
    ) -> SqliteJournal:
        """Open the journal at ``path``, made if need be, and durably begin a new epoch.

        Raises JournalUnusable: another process has it, its schema does not fit, it is another
        switch's, or SQLite is too old. With ``migrate`` an old schema is brought up to date.
        The log is carried to the file when the writer idles, or has grown by ``log_pages_max``.
        """
        writer = Writer(asyncio.get_running_loop(), log_pages_max)
        opening = Opening(path, switch_id, at_ms, migrate, vfs)
        try:
            file = await writer.start(partial(open_file, opening))
            journal = cls(switch_id, writer, file.epoch)
            await journal._in_reader(partial(journal._connect, path, vfs))
        except BaseException:
            writer.end()
            raise
        return journal

    @property
    def state(self) -> JournalState:
        """Return whether the journal takes records."""
        return self._writer.state

    @property
    def stopped_because(self) -> str:
        """Return the error that stopped the journal, or nothing."""
        return self._writer.broken

    @property
    def commits(self) -> int:
        """Return how many transactions were committed since it was opened."""
        return self._writer.commits

    async def close(self) -> None:
        """Write what waits, and give the file back. Closing twice does no harm."""
        self._writer.refuse()
        if self._connection is not None:
            # Before the writer: the last connection to a file tidies up behind itself.
            connection, self._connection = self._connection, None
            await self._in_reader(connection.close)
            self._readers.shutdown()
        self._writer.end()
        await asyncio.shield(self._writer.ended)

    # --- the flow's port -------------------------------------------------------------------

    async def commit(self, records: Sequence[Record]) -> list[Result]:
        """Write all records in one transaction, shared with whoever waits too."""
        results: list[Result] = await self._writer.put(records)
        return results

    async def find(self, keys: Sequence[PaymentKey]) -> list[StoredPayment | None]:
        """Read payments as of now, with their attempts."""
        return await self._read(lambda reading: [reading.payment(key) for key in keys])

    async def timeline(self, key: PaymentKey) -> list[TimelineEvent]:
        """Read what happened to a payment, oldest first; nothing if it is not known."""
        view = await self._read(lambda reading: _view(reading, key))
        return [] if view is None else view.stored.timeline

    async def find_reversal(self, key: PaymentKey) -> tuple[PaymentKey, ReversalAnswer] | None:
        """Read a terminal's reversal by its own id: the original, and the answer as of now."""
        return await self._read(lambda reading: _reversal(reading, key))

    async def find_reference(self, reference: bytes) -> tuple[PaymentKey, StoredAttempt] | None:
        """Read an attempt by its reference, if it was ever in doubt."""
        return await self._read(lambda reading: reading.attempt(reference))

    async def owed(self) -> list[OwedReversal]:
        """Read all reversals that are owed, oldest first, parked ones too."""
        return [owed_reversal(row) for row in await self._read(Reading.owed)]

    # --- the start -------------------------------------------------------------------------

    async def recover(self, at_ms: int) -> Recovery:
        """Conclude, in one commit, what ran when the switch went away. Before any port opens."""
        recovery: Recovery = await self._writer.put((), lambda tables: tables.recover(at_ms))
        return recovery

    # --- operators -------------------------------------------------------------------------

    async def payments(self, request_id: bytes, terminal_id: str = "") -> list[PaymentView]:
        """Read whole payments: the terminal's, or every terminal's that chose this id."""
        return await self._read(lambda reading: _views(reading, request_id, terminal_id))

    async def counts(self) -> JournalCounts:
        """Count what is open."""
        return await self._read(Reading.counts)

    async def intents(self) -> list[StandingIntent]:
        """Read what was ordered for each node last, by name."""
        return await self._read(Reading.intents)

    async def set_intent(self, order: IntentOrder) -> IntentResult:
        """Obey an operator's order, or find it out of date; audited in the same commit."""
        result: IntentResult = await self._writer.put((), lambda tables: tables.set_intent(order))
        return result

    async def audit_append(self, entry: AuditEntry) -> AuditRecord:
        """Add an entry to the audit chain."""
        record: AuditRecord = await self._writer.put((), lambda tables: tables.append(entry))
        return record

    async def audit(self, from_number: int, limit: int) -> list[AuditRecord]:
        """Read at most ``limit`` audit records, beginning with ``from_number``."""
        return await self._read(lambda reading: reading.audit(from_number, limit))

    async def verify_audit(self) -> AuditVerdict:
        """Compute the audit chain again, from its first record."""
        verdict = START
        while True:
            page = await self.audit(verdict.length + 1, AUDIT_PAGE)
            verdict = verify(page, verdict)
            if len(page) < AUDIT_PAGE or verdict.broken_at is not None:
                return verdict

    # --- reading ---------------------------------------------------------------------------

    def _connect(self, path: Path, vfs: str | None) -> None:
        self._connection = open_for_reading(path, vfs)

    async def _in_reader(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, call)

    async def _read(self, read: Callable[[Reading], T]) -> T:
        self._writer.require_open()
        try:
            found = await self._in_reader(lambda: self._in_one_commit(read))
        except apsw.BusyError as error:
            raise JournalUnavailable(f"the journal is busy: {error}") from error
        except apsw.Error as error:
            self._writer.fail(error)
            raise JournalUnavailable(self._writer.broken) from error
        # Should writing have failed meanwhile, what was read may never become durable.
        self._writer.require_open()
        return found

    def _in_one_commit(self, read: Callable[[Reading], T]) -> T:
        assert self._connection is not None, "the journal is open"
        self._connection.execute("BEGIN")
        try:
            return read(Reading(self._connection))
        finally:
            # An error of the disk may have ended the transaction already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def _view(reading: Reading, key: PaymentKey) -> PaymentView | None:
    rows = reading.rows(key)
    return None if rows is None else payment_view(rows, reading.history(key))


def _views(reading: Reading, request_id: bytes, terminal_id: str) -> list[PaymentView]:
    keys = [PaymentKey(terminal_id, request_id)] if terminal_id else reading.keys(request_id)
    found = [_view(reading, key) for key in keys]
    return [view for view in found if view is not None]


def _reversal(reading: Reading, key: PaymentKey) -> tuple[PaymentKey, ReversalAnswer] | None:
    row = reading.terminal_reversal(key)
    if row is None:
        return None
    original = PaymentKey(row.original_terminal_id, row.original_request_id)
    return original, reversal_answer(row, reading.rows(original))
