"""The journal's file: who may open it, and with what."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from switch.store.journal import JournalUnusable
from switch.store.sql import Migration
from switch.store.sqlite import SqliteJournal
from switch.store.sqlite.file import (
    MIGRATIONS,
    Opening,
    open_file,
    open_for_reading,
    require_sqlite,
)
from tests.store.records import (
    START_MS,
    SWITCH,
    approved,
    claim,
    in_advance,
    key,
    next_attempt,
)


async def open_at(path: Path) -> SqliteJournal:
    """Open a journal."""
    return await SqliteJournal.open(path, SWITCH, at_ms=START_MS)


async def test_a_second_journal_on_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    first = await open_at(path)
    with pytest.raises(JournalUnusable, match=f"in use by process {os.getpid()}:"):
        await open_at(path)
    await first.commit([claim(1)])
    await first.close()
    second = await open_at(path)
    assert second.epoch == 2, "the refused one began no epoch"
    await second.close()


async def test_a_second_process_on_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = await open_at(path)
    script = f"""if True:
        import asyncio, sys
        from pathlib import Path
        from switch.store.journal import JournalUnusable
        from switch.store.sqlite import SqliteJournal
        try:
            asyncio.run(SqliteJournal.open(Path({str(path)!r}), {SWITCH!r}, at_ms=1))
        except JournalUnusable as error:
            sys.exit(str(error))
    """
    second = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert f"in use by process {os.getpid()}:" in second.stderr
    await journal.close()


async def test_an_sqlite_file_that_is_no_journal_is_refused_and_left_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.db"
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE recipes (name)")
    other.close()
    with pytest.raises(JournalUnusable, match="not a journal"):
        await open_at(path)
    other = apsw.Connection(str(path))
    assert other.execute("SELECT name FROM sqlite_schema").get == "recipes"
    other.close()


@pytest.mark.parametrize("content", [b"something else entirely" * 400])
async def test_a_file_that_is_no_sqlite_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(content)
    with pytest.raises(JournalUnusable, match="cannot be opened"):
        await open_at(path)
    assert path.read_bytes() == content


async def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalUnusable, match="cannot be opened"):
        await open_at(tmp_path / "nowhere" / "journal.db")


def test_an_old_schema_is_refused_until_it_is_migrated(tmp_path: Path) -> None:
    opening = Opening(tmp_path / "journal.db", SWITCH, START_MS)
    open_file(opening).close(sound=True)
    further = Migration(2, False, "notes", "CREATE TABLE notes (note TEXT) STRICT")
    newer = opening._replace(migrations=[*MIGRATIONS, further])
    with pytest.raises(JournalUnusable, match=r"lacks version 2.*payswitch migrate"):
        open_file(newer)
    file = open_file(newer._replace(migrate=True))
    file.connection.execute("INSERT INTO notes VALUES ('it is there')")
    assert file.connection.execute("SELECT number, phase FROM schema_versions").fetchall() == [
        (1, "pre"),
        (2, "pre"),
    ]
    file.close(sound=True)
    open_file(newer).close(sound=True)
    file = open_file(opening)
    assert file.epoch == 4, "the older code may still run"
    file.close(sound=True)


async def test_a_schema_of_a_later_payswitch_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await (await open_at(path)).close()
    other = apsw.Connection(str(path))
    other.execute("INSERT INTO schema_versions VALUES (9, 'post', 'from the future', 0)")
    other.close()
    with pytest.raises(JournalUnusable, match="is of version 9"):
        await open_at(path)


@pytest.mark.parametrize("version", ["3.40.1", "3.51.2", "3.9.3"])
def test_an_sqlite_that_may_lose_commits_is_refused(version: str) -> None:
    with pytest.raises(JournalUnusable, match=version):
        require_sqlite(version)


@pytest.mark.parametrize("version", ["3.51.3", "3.52.0", "4.0.0"])
def test_an_sqlite_that_keeps_commits_is_taken(version: str) -> None:
    require_sqlite(version)


async def test_a_readers_connection_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = await open_at(path)
    reader = open_for_reading(path, None)
    with pytest.raises(apsw.ReadOnlyError):
        reader.execute("DELETE FROM payments")
    reader.close()
    await journal.close()


async def test_all_attempts_stand_in_one_view_for_whoever_reads_the_file(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = await open_at(path)
    await journal.commit([claim(1), next_attempt(key(1)), approved(key(1), 1), claim(2)])
    await journal.commit([in_advance(7, key(3))])
    reader = open_for_reading(path, None)
    found = reader.execute(
        "SELECT request_id, ordinal, node, attempt_state, closed_ms, approved_minor "
        "FROM attempts ORDER BY request_id, ordinal"
    ).fetchall()
    assert found == [
        (key(1).request_id, 0, "acme-1", 6, START_MS + 101, 0),
        (key(1).request_id, 1, "zenith-1", 4, START_MS + 200, 1000),
        (key(2).request_id, 0, "acme-1", 1, None, 0),
    ]
    reader.close()
    await journal.close()


async def test_every_commit_is_synced(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = await open_at(path)
    settings = await journal._writer.put((), lambda tables: pragmas(tables.reading._execute))
    assert settings == {"journal_mode": "wal", "synchronous": 2, "wal_autocheckpoint": 0}
    await journal.close()


def pragmas(execute: object) -> dict[str, object]:
    """Read the settings on which durability rests."""
    assert callable(execute)
    names = ("journal_mode", "synchronous", "wal_autocheckpoint")
    return {name: execute(f"PRAGMA {name}").get for name in names}


async def test_nobody_else_may_read_the_files(tmp_path: Path) -> None:
    journal = await open_at(tmp_path / "journal.db")
    await journal.commit([claim(1)])
    modes = [(tmp_path / f"journal.db{end}").stat().st_mode for end in ("", "-wal", ".lock")]
    assert [mode & 0o777 for mode in modes] == [0o600] * 3
    await journal.close()


async def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.db").mkdir()
    with pytest.raises(JournalUnusable, match="cannot be opened"):
        await open_at(tmp_path / "journal.db")


async def test_no_secret_of_a_card_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = await open_at(path)
    asked = claim(1)
    await journal.commit([asked])
    await journal.close()
    content = path.read_bytes()
    assert asked.request.merchant_id.encode() in content, "it is searched where it would be"
    for envelope in asked.request.envelopes.values():
        assert envelope.sealed not in content
