"""Opening the journal's file: alone, with a sound SQLite, on the schema this code knows."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import apsw

from switch.store.journal import JournalUnusable
from switch.store.sql import Migration, migrations, missing
from switch.store.sqlite.reading import QUERIES

SQLITE_MIN = (3, 51, 3)
"""Older ones may lose what was committed when a log begins anew during a checkpoint."""
APPLICATION_ID = 0x70737769
"""Stands in the header of every journal's file, so that no other SQLite file is taken for one."""
BUSY_MS = 1000
"""How long another program that writes to the file is waited for."""
CACHE_KIB = 65536
LOG_BYTES_KEPT = 64 * 2**20
"""What the log's file is cut to after it had grown larger."""

MIGRATIONS = migrations(Path(__file__).with_name("migrations"))

_BEGIN_EPOCH = QUERIES["begin_epoch"]
_BEGIN_SWITCH = QUERIES["begin_switch"]
_READ_SCHEMA_VERSIONS = QUERIES["read_schema_versions"]
_READ_SWITCH_ID = QUERIES["read_switch_id"]
_RECORD_SCHEMA_VERSION = QUERIES["record_schema_version"]


class Opening(NamedTuple):
    """How the file is to be opened."""

    path: Path
    switch_id: str
    at_ms: int
    migrate: bool = False
    vfs: str | None = None
    """SQLite's name for a way to the disk; None: the usual one."""
    migrations: Sequence[Migration] = MIGRATIONS
    """Those this code knows."""


class JournalFile(NamedTuple):
    """An open journal, and the lock that keeps it ours."""

    connection: apsw.Connection
    epoch: int
    lock: int

    def close(self, *, sound: bool) -> None:
        """Close the file; after an error of the disk (not ``sound``) leave it as it is."""
        if sound:
            # Only tidiness: whatever stays in the log is read from there next time.
            with suppress(apsw.Error):
                self.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        with suppress(apsw.Error):
            self.connection.close()
        os.close(self.lock)


def open_file(opening: Opening) -> JournalFile:
    """Open the journal's file for writing, and begin a new epoch in it."""
    require_sqlite(apsw.sqlite_lib_version())
    lock = _lock(opening.path)
    try:
        # What is in it is nobody else's business; SQLite gives its log the same permissions.
        os.close(os.open(opening.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = _connect(opening)
        try:
            return JournalFile(connection, _begin_epoch(connection, opening), lock)
        except BaseException:
            connection.close()
            raise
    except (apsw.Error, OSError) as error:
        os.close(lock)
        raise JournalUnusable(f"{opening.path} cannot be opened: {error}") from error
    except BaseException:
        os.close(lock)
        raise


def open_for_reading(path: Path, vfs: str | None) -> apsw.Connection:
    """Open the journal's file beside its writer, for reading only."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY, vfs=vfs)
    connection.set_busy_timeout(BUSY_MS)
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB // 4}")
    return connection


def require_sqlite(version: str) -> None:
    """Refuse an SQLite that may lose what was committed."""
    if tuple(int(part) for part in version.split(".")) < SQLITE_MIN:
        oldest = ".".join(str(part) for part in SQLITE_MIN)
        raise JournalUnusable(f"SQLite {version} may lose commits; install apsw with {oldest}")


def _lock(path: Path) -> int:
    """Take the journal's lock file, for this process and as long as it lives.

    The lock stands beside the journal and not in it: closing any other descriptor of a file would
    drop SQLite's own locks on it.
    """
    lock_path = path.with_name(path.name + ".lock")
    try:
        lock = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise JournalUnusable(f"{lock_path} cannot be opened: {error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(lock, 20).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise JournalUnusable(
            f"{path} is in use by process {holder}: a journal has one switch; stop that one first"
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _connect(opening: Opening) -> apsw.Connection:
    connection = apsw.Connection(str(opening.path), vfs=opening.vfs)
    try:
        connection.set_busy_timeout(BUSY_MS)
        # Closing after an error of the disk must not touch the file.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        mode = connection.execute("PRAGMA journal_mode = WAL").get
        if mode != "wal":
            raise JournalUnusable(f"{opening.path} cannot have a write-ahead log")
        # FULL syncs the log in every commit. NORMAL loses acknowledged payments in a power cut.
        for pragma in (
            "synchronous = FULL",
            "fullfsync = ON",
            "wal_autocheckpoint = 0",
            f"journal_size_limit = {LOG_BYTES_KEPT}",
            f"cache_size = -{CACHE_KIB}",
            "temp_store = MEMORY",
            "trusted_schema = OFF",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def _begin_epoch(connection: apsw.Connection, opening: Opening) -> int:
    """Bring the schema up, make sure whose journal it is, and count this opening."""
    connection.execute("BEGIN IMMEDIATE")
    applied: list[tuple[int, str]] = []
    if connection.execute("SELECT count(*) FROM sqlite_schema").get:
        if connection.execute("PRAGMA application_id").get != APPLICATION_ID:
            raise JournalUnusable(f"{opening.path} is an SQLite file, but not a journal")
        applied = connection.execute(_READ_SCHEMA_VERSIONS).fetchall()  # type: ignore[assignment]  # as its columns are
    else:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    for migration in missing(opening.migrations, applied, migrate=opening.migrate):
        connection.execute(migration.sql)
        connection.execute(
            _RECORD_SCHEMA_VERSION,
            (migration.number, migration.phase, migration.name, opening.at_ms),
        )
    connection.execute(_BEGIN_SWITCH, (opening.switch_id, opening.at_ms))
    owner = connection.execute(_READ_SWITCH_ID).get
    if owner != opening.switch_id:
        raise JournalUnusable(
            f"{opening.path} is the journal of switch {owner!r}, not of {opening.switch_id!r}: "
            f"references are made from the switch's name, which must not change"
        )
    epoch: int = connection.execute(_BEGIN_EPOCH, (opening.at_ms,)).get
    connection.execute("COMMIT")
    return epoch
