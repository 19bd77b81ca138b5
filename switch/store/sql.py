"""SQL in its own files: named queries, and numbered migrations in pairs.

A query file is a row of queries, each under a line ``-- name: what_it_does``. Code asks for a query
by its name when it is imported, so a misspelt name fails at once.

A migration is a pair of files, ``0001_journal.pre.sql`` and ``0001_journal.post.sql``. The first
half runs before new code starts and only adds, so that old code runs on the new schema; the second
half takes away what only old code needed, and runs when there is no old code left. Either half may
be missing. From that follows what code may meet: it needs the first half of every migration it
knows, and it cannot do with the second half of one it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from switch.store.journal import JournalUnusable

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_FILE = re.compile(r"(?P<number>\d{4})_(?P<name>\w+)\.(?P<phase>pre|post)\.sql")

COMMAND = "payswitch migrate"
"""What an operator runs to bring a journal's schema up to date."""


class Migration(NamedTuple):
    """One half of a pair. Halves run in the order of their tuples: all of one number together."""

    number: int
    late: bool
    """The second half."""
    name: str
    sql: str

    @property
    def phase(self) -> str:
        """Return the half's word in its file's name."""
        return "post" if self.late else "pre"


def named_queries(file: Path) -> dict[str, str]:
    """Return the queries of a file by their names."""
    _, *parts = _NAME.split(file.read_text(encoding="utf-8"))
    names, texts = parts[::2], [text.strip().removesuffix(";") for text in parts[1::2]]
    assert len(set(names)) == len(names), f"{file.name} has two queries of one name"
    return dict(zip(names, texts, strict=True))


def migrations(folder: Path) -> list[Migration]:
    """Return the migrations in a folder, in the order in which they run."""
    found = []
    for file in folder.glob("*.sql"):
        match = _FILE.fullmatch(file.name)
        assert match is not None, f"{file.name} is not named as a migration"
        text = file.read_text(encoding="utf-8")
        found.append(Migration(int(match["number"]), match["phase"] == "post", match["name"], text))
    return sorted(found)


def missing(
    known: Collection[Migration], applied: Collection[tuple[int, str]], *, migrate: bool
) -> list[Migration]:
    """Return the migrations to run on a schema, or refuse it.

    An empty schema gets them all. One that lacks a first half is refused unless ``migrate`` is
    set; one that has lost what this code needs is refused always.
    """
    latest = max((m.number for m in known), default=0)
    foreign = [number for number, phase in applied if number > latest and phase == "post"]
    if foreign:
        raise JournalUnusable(
            f"the journal's schema is of version {max(foreign)} and this payswitch knows versions "
            f"up to {latest}: start the payswitch that wrote it, or a newer one"
        )
    lacking = [m for m in known if (m.number, m.phase) not in applied]
    if applied and not migrate and any(not m.late for m in lacking):
        oldest = min(m.number for m in lacking)
        raise JournalUnusable(
            f"the journal's schema lacks version {oldest}, which this payswitch needs: "
            f"stop every switch on it and run `{COMMAND}`"
        )
    return lacking if migrate or not applied else []
