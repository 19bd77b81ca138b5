"""The one thread that writes: it takes all that waits, commits once, and wakes everybody.

There is no timer that makes batches: what comes while a commit is in flight is the next batch.

An error of the disk ends it. After a failed fsync SQLite carries on, and what can be read then may
be in the page cache only; so whatever was being written is in doubt, and nothing is written or
read until the journal is opened anew. A record that does not fit is another matter: it is undone,
its caller is told, and the calls that waited with it are written without it.

Pages are carried from the log to the file (a checkpoint) when the writer idles, so that no commit
waits for it; or after so many pages when it never idles, so that the log stays small.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby, islice
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

import apsw

from switch.core.message import Record
from switch.errors import JournalInDoubt, JournalUnavailable
from switch.store.journal import UNFIT, JournalState, Result, caused
from switch.store.sqlite.file import JournalFile
from switch.store.sqlite.tables import Tables
from switch.telemetry import log

IDLE_S = 0.02
"""When nothing has come for so long, a checkpoint delays nobody."""
LOG_PAGES_MAX = 4096
"""16 MiB: a checkpoint is made at the latest when the log has grown by so much."""

Job = Callable[[Tables], Any]

_UNFIT = (
    *UNFIT,
    apsw.ConstraintError,
    apsw.MismatchError,
    apsw.RangeError,
    apsw.TooBigError,
)
"""After these the database is sound, and undoes the transaction."""


class _Call(NamedTuple):
    """What one caller waits for: records, or a job, to be done in the next transaction."""

    records: Sequence[Record]
    job: Job | None
    future: asyncio.Future[Any]


class _Outcome(NamedTuple):
    future: asyncio.Future[Any]
    result: Any
    error: BaseException | None = None


class Writer:
    """Owns the writing connection, on a thread of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, log_pages_max: int) -> None:
        self.commits = 0
        """Transactions so far."""
        self.broken = ""
        """Why nothing can be written or read any more; empty: it can."""
        self._loop = loop
        self._waiting: SimpleQueue[_Call | None] = SimpleQueue()
        self.ended: asyncio.Future[None] = loop.create_future()
        self._closing = False
        self._log_pages = 0
        self._log_pages_carried = 0
        self._log_pages_max = log_pages_max

    @property
    def state(self) -> JournalState:
        """Return whether calls are taken."""
        if self._closing:
            return JournalState.CLOSED
        return JournalState.STOPPED if self.broken else JournalState.OPEN

    def start(self, open_file: Callable[[], JournalFile]) -> asyncio.Future[JournalFile]:
        """Begin the thread; the future has the file when it was opened there."""
        opened: asyncio.Future[JournalFile] = self._loop.create_future()
        # A daemon: should the loop end without closing us, the process must still be able to.
        Thread(target=self._run, args=(open_file, opened), name="journal", daemon=True).start()
        return opened

    def require_open(self) -> None:
        """Raise JournalUnavailable unless calls are taken."""
        if self._closing:
            raise JournalUnavailable("the journal is closed")
        if self.broken:
            raise JournalUnavailable(self.broken)

    def put(self, records: Sequence[Record], job: Job | None = None) -> asyncio.Future[Any]:
        """Queue a call; it is done, and durable, whether or not anybody awaits the future."""
        self.require_open()
        future = self._loop.create_future()
        self._waiting.put(_Call(records, job, future))
        return future

    def fail(self, error: BaseException) -> None:
        """Stop for good. Called from any thread; the first error is the one that counts."""
        self.broken = self.broken or f"the journal has stopped: {error}"

    def refuse(self) -> None:
        """Take no more calls."""
        self._closing = True

    def end(self) -> None:
        """Write what waits, close the file, and then be ``ended``."""
        self.refuse()
        self._waiting.put(None)

    # --- on the writer's thread ------------------------------------------------------------

    def _run(
        self, open_file: Callable[[], JournalFile], opened: asyncio.Future[JournalFile]
    ) -> None:
        try:
            file = open_file()
        except BaseException as error:  # noqa: BLE001 # whatever it was, the opener waits for it
            self._tell([_Outcome(opened, None, error)])
            return
        self._connection = file.connection
        self._tables = Tables(file.connection)
        file.connection.set_wal_hook(self._logged)
        self._tell([_Outcome(opened, file)])
        while True:
            waiting = self._take()
            calls = [call for call in waiting if call is not None]
            if calls:
                self._tell(self._write(calls))
            if len(calls) < len(waiting):
                break
            if not waiting or self._log_pages >= self._log_pages_max:
                self._carry()
        file.close(sound=not self.broken)
        self._tell([_Outcome(self.ended, None)])

    def _take(self) -> list[_Call | None]:
        """Return all that waits; nothing when idle, if there is something to do then."""
        try:
            first = self._waiting.get(timeout=IDLE_S if self._log_pages else None)
        except Empty:
            return []
        # Nobody else takes, so as many as are counted are there.
        return [first, *(self._waiting.get() for _ in range(self._waiting.qsize()))]

    def _write(self, calls: Sequence[_Call]) -> list[_Outcome]:
        if self.broken:
            return [_Outcome(c.future, None, JournalUnavailable(self.broken)) for c in calls]
        try:
            return self._transact(calls)
        except Exception as error:  # noqa: BLE001 # I/O, a full disk, no memory: all are in doubt
            self.fail(error)
            return [_Outcome(c.future, None, caused(JournalInDoubt, error)) for c in calls]

    def _transact(self, calls: Sequence[_Call]) -> list[_Outcome]:
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                break
            except apsw.BusyError as error:
                # Another program writes to the file, as a person's SQL shell may. Nothing is
                # begun, and what waits is worth waiting for: outcomes are among it.
                log().error("journal_held_by_another_program")
                if self._closing:
                    return [
                        _Outcome(c.future, None, caused(JournalUnavailable, error)) for c in calls
                    ]
        try:
            outcomes = self._apply(calls)
        except _UNFIT as error:
            self._connection.execute("ROLLBACK")
            if len(calls) == 1:
                return [_Outcome(calls[0].future, None, caused(AssertionError, error))]
            return [outcome for call in calls for outcome in self._transact([call])]
        self._connection.execute("COMMIT")
        self.commits += 1
        return outcomes

    def _apply(self, calls: Sequence[_Call]) -> list[_Outcome]:
        outcomes: list[_Outcome] = []
        for job, group in groupby(calls, key=lambda call: call.job):
            if job is not None:
                outcomes += [_Outcome(call.future, job(self._tables)) for call in group]
                continue
            neighbours = list(group)
            results = iter(self._tables.apply([r for c in neighbours for r in c.records]))
            outcomes += [_Outcome(c.future, _next(results, c)) for c in neighbours]
        return outcomes

    def _logged(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        """Count the log's pages that are not in the file yet; SQLite calls after each commit."""
        if pages < self._log_pages_carried:
            # All was carried, and the log began anew.
            self._log_pages_carried = 0
        self._log_pages = pages - self._log_pages_carried
        return apsw.SQLITE_OK

    def _carry(self) -> None:
        """Carry the log's pages to the file."""
        self._log_pages = 0
        if self.broken:
            return
        try:
            pages, _ = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            self.fail(error)
        else:
            self._log_pages_carried = pages

    def _tell(self, outcomes: Sequence[_Outcome]) -> None:
        # The loop may be gone, and with it everybody who waited.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_wake, outcomes)


def _next(results: Any, call: _Call) -> list[Result]:
    return list(islice(results, len(call.records)))


def _wake(outcomes: Sequence[_Outcome]) -> None:
    """Give everybody what they waited for; who has gone away meanwhile, gets nothing."""
    for future, result, error in outcomes:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
