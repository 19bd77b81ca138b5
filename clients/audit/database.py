"""Reading SQLite files, and nothing but reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import apsw

from clients.audit.evidence import Unreadable

_BUSY_MS = 5_000
_SUMMED_MAX = 2**53
"""SQLite's total() is exact up to here, whatever it adds."""


class Database:
    """A database as it stood when it was opened."""

    def __init__(self, path: Path) -> None:
        """Open for reading only. Raises Unreadable if it is missing or damaged."""
        if not path.is_file():
            raise Unreadable(f"{path}: there is no such file")
        self.path = path
        # Without a log beside it nobody has the file open, and it can be read without leaving a
        # trace. With one, SQLite must see both: what was committed last is in the log alone.
        beside = [Path(f"{path}-{suffix}") for suffix in ("wal", "journal")]
        at_rest = not any(log.exists() and log.stat().st_size for log in beside)
        mode = "immutable=1" if at_rest else "mode=ro"
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        try:
            self._file = apsw.Connection(f"{path.resolve().as_uri()}?{mode}", flags=flags)
            self._file.set_busy_timeout(_BUSY_MS)
            # One transaction for all that is read: the file may not change between two tables.
            self._file.execute("BEGIN")
            faults = list(self._file.execute("PRAGMA quick_check(1)"))
        except apsw.Error as error:
            raise Unreadable(f"{path}: {error}") from error
        if faults != [("ok",)]:
            raise Unreadable(f"{path}: the database is damaged: {faults[0][0]}")

    def select(self, sql: str) -> list[tuple[Any, ...]]:
        """Return what a query finds. Raises Unreadable if a table or a column lacks."""
        try:
            return list(self._file.execute(sql))
        except apsw.Error as error:
            raise Unreadable(f"{self.path}: {error}") from error

    def rows(
        self, table: str, columns: Sequence[str], order: str = ""
    ) -> Iterator[tuple[Any, ...]]:
        """Return a table's columns; ``order`` is the columns to sort by."""
        named = ", ".join(f'"{table}"."{column}"' for column in columns)
        by = f" ORDER BY {order}" if order else ""
        yield from self.select(f'SELECT {named} FROM "{table}"{by}')  # noqa: S608 - our own words

    def agree(self, sql: str, counted: int) -> None:
        """Sum up in SQL what was summed up here: an audit that drops rows must pass nothing."""
        ((total,),) = self.select(sql)
        if abs(total) < _SUMMED_MAX and int(total) != counted:
            raise Unreadable(f"{self.path}: adds up to {int(total)} in SQL, and to {counted} here")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
