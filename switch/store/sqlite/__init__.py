"""The journal in one SQLite file: one process, one writer, readers beside it."""

from switch.store.sqlite.journal import SqliteJournal

__all__ = ["SqliteJournal"]
