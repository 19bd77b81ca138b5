"""SQL in files: named queries, and migrations that may or may not be run."""

import re
from pathlib import Path

import pytest

from switch.store import sqlite
from switch.store.journal import JournalUnusable
from switch.store.sql import Migration, migrations, missing, named_queries

ROOM = Path(sqlite.__file__).parent

FIRST, LATE, SECOND, SECOND_LATE = KNOWN = [
    Migration(1, False, "journal", ""),
    Migration(1, True, "journal", ""),
    Migration(2, False, "more", ""),
    Migration(2, True, "more", ""),
]


def applied(*run: Migration) -> list[tuple[int, str]]:
    """Return what a schema's own table says."""
    return [(migration.number, migration.phase) for migration in run]


def test_queries_are_found_by_their_names(tmp_path: Path) -> None:
    file = tmp_path / "queries.sql"
    file.write_text("-- A head.\n\n-- name: one\nSELECT 1;\n\n-- name: two\n-- Why.\nSELECT 2;\n")
    assert named_queries(file) == {"one": "SELECT 1", "two": "-- Why.\nSELECT 2"}


def test_two_queries_of_one_name_are_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "queries.sql"
    file.write_text("-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;\n")
    with pytest.raises(AssertionError):
        named_queries(file)


def test_every_query_is_asked_for() -> None:
    code = "".join(file.read_text() for file in ROOM.glob("*.py"))
    asked = set(re.findall(r'QUERIES\["(\w+)"\]', code))
    assert asked == named_queries(ROOM / "queries.sql").keys()


def test_migrations_run_by_number_the_adding_half_first(tmp_path: Path) -> None:
    for name in ("0002_more.pre", "0001_journal.post", "0001_journal.pre"):
        (tmp_path / f"{name}.sql").write_text("SELECT 1;")
    assert [(m.number, m.phase, m.name) for m in migrations(tmp_path)] == [
        (1, "pre", "journal"),
        (1, "post", "journal"),
        (2, "pre", "more"),
    ]


def test_a_file_that_is_no_migration_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "0001_journal.sql").write_text("SELECT 1;")
    with pytest.raises(AssertionError):
        migrations(tmp_path)


def test_an_empty_schema_gets_all_migrations() -> None:
    assert missing(KNOWN, [], migrate=False) == KNOWN


def test_a_schema_with_all_migrations_gets_none() -> None:
    assert missing(KNOWN, applied(*KNOWN), migrate=False) == []


def test_a_schema_that_lacks_what_the_code_needs_is_refused_with_the_command() -> None:
    with pytest.raises(JournalUnusable, match=r"lacks version 2.*payswitch migrate"):
        missing(KNOWN, applied(FIRST, LATE), migrate=False)


def test_a_schema_is_brought_up_to_date_when_that_is_asked_for() -> None:
    assert missing(KNOWN, applied(FIRST), migrate=True) == [LATE, SECOND, SECOND_LATE]


def test_what_only_old_code_needed_may_stay() -> None:
    assert missing(KNOWN, applied(FIRST, LATE, SECOND), migrate=False) == []


def test_old_code_runs_on_a_schema_to_which_newer_code_has_added() -> None:
    assert missing(KNOWN[:2], applied(FIRST, LATE, SECOND), migrate=False) == []


@pytest.mark.parametrize("migrate", [False, True])
def test_old_code_refuses_a_schema_that_has_lost_what_it_needs(migrate: bool) -> None:
    with pytest.raises(JournalUnusable, match="is of version 2 and this payswitch knows"):
        missing(KNOWN[:2], applied(*KNOWN), migrate=migrate)
