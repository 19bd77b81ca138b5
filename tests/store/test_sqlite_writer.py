"""The writer: groups, errors of the disk, and the log that is carried to the file."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from threading import Event

import apsw
import pytest

from switch.core.message import Claimed
from switch.errors import JournalInDoubt, JournalUnavailable
from switch.store.journal import JournalState
from switch.store.sqlite import SqliteJournal, writer
from switch.store.sqlite.file import BUSY_MS
from switch.store.sqlite.reading import Reading
from switch.store.sqlite.tables import Tables
from tests.store.faulty_disk import FaultyDisk
from tests.store.records import START_MS, SWITCH, approved, claim, key


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[FaultyDisk]:
    """Return a disk that can be made to fail."""
    disk = FaultyDisk(tmp_path.name)
    yield disk
    disk.unregister()


async def open_on(disk: FaultyDisk | None, tmp_path: Path) -> SqliteJournal:
    """Open the journal of this test."""
    return await SqliteJournal.open(
        tmp_path / "journal.db", SWITCH, at_ms=START_MS, vfs=None if disk is None else disk.name
    )


async def assert_stopped(journal: SqliteJournal, why: str) -> None:
    """See that nothing is written or read any more."""
    assert journal.state is JournalState.STOPPED
    assert why in journal.stopped_because
    with pytest.raises(JournalUnavailable, match=why):
        await journal.commit([claim(99)])
    with pytest.raises(JournalUnavailable, match=why):
        await journal.find([key(1)])


async def test_a_hundred_and_twenty_eight_callers_share_few_syncs(
    disk: FaultyDisk, tmp_path: Path
) -> None:
    journal = await open_on(disk, tmp_path)
    before = disk.syncs
    await asyncio.gather(*(journal.commit([claim(number)]) for number in range(128)))
    assert journal.commits <= 12
    # A new log syncs its header, and it may have been carried to the file meanwhile.
    assert disk.syncs - before <= journal.commits + 4
    await journal.close()


async def test_a_failed_sync_puts_the_batch_in_doubt_and_stops_the_journal(
    disk: FaultyDisk, tmp_path: Path
) -> None:
    journal = await open_on(disk, tmp_path)
    await journal.commit([claim(1)])
    disk.sync_error = apsw.IOError
    with pytest.raises(JournalInDoubt):
        await journal.commit([claim(2)])
    disk.sync_error = None
    await assert_stopped(journal, "fsync failed")
    await journal.close()
    journal = await open_on(disk, tmp_path)
    assert await journal.find([key(1), key(99)]) != [None, None]
    assert await journal.find([key(99)]) == [None], "after the stop nothing was written"
    await journal.close()


async def test_a_failed_write_stops_the_journal(disk: FaultyDisk, tmp_path: Path) -> None:
    journal = await open_on(disk, tmp_path)
    disk.write_error = apsw.IOError
    with pytest.raises(JournalInDoubt):
        await journal.commit([claim(1)])
    disk.write_error = None
    await assert_stopped(journal, "write failed")
    await journal.close()


async def test_a_full_disk_stops_the_journal(disk: FaultyDisk, tmp_path: Path) -> None:
    journal = await open_on(disk, tmp_path)
    await journal.commit([claim(1), approved(key(1))])
    disk.write_error = apsw.FullError
    with pytest.raises(JournalInDoubt):
        await journal.commit([claim(2)])
    disk.write_error = None
    await assert_stopped(journal, "write failed")
    await journal.close()


async def test_a_full_database_stops_the_journal(tmp_path: Path) -> None:
    journal = await open_on(None, tmp_path)

    def fill(tables: Tables) -> None:
        pages = tables.reading._execute("PRAGMA page_count").get
        tables.reading._execute(f"PRAGMA max_page_count = {pages}")

    await journal._writer.put((), fill)
    with pytest.raises(JournalInDoubt):
        await journal.commit([claim(number) for number in range(1000)])
    await assert_stopped(journal, "full")
    await journal.close()


async def test_an_error_while_reading_stops_the_journal(disk: FaultyDisk, tmp_path: Path) -> None:
    journal = await open_on(disk, tmp_path)
    await journal.commit([claim(1)])
    disk.read_error = apsw.IOError
    with pytest.raises(JournalUnavailable):
        await journal.find([key(1)])
    disk.read_error = None
    await assert_stopped(journal, "read failed")
    await journal.close()


async def test_what_was_read_while_writing_failed_is_told_to_nobody(
    disk: FaultyDisk, tmp_path: Path
) -> None:
    journal = await open_on(disk, tmp_path)
    begun, go_on = Event(), Event()

    def read_long(_: Reading) -> bool:
        begun.set()
        return go_on.wait(10)

    reading = asyncio.ensure_future(journal._read(read_long))
    await asyncio.to_thread(begun.wait)
    disk.sync_error = apsw.IOError
    with pytest.raises(JournalInDoubt):
        await journal.commit([claim(1)])
    disk.sync_error = None
    go_on.set()
    with pytest.raises(JournalUnavailable, match="fsync failed"):
        await reading
    await journal.close()


async def test_a_corrupt_file_stops_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = await open_on(None, tmp_path)
    await journal.commit([claim(number) for number in range(500)])
    await journal.close()
    content = bytearray(path.read_bytes())
    # The first pages name the tables; what is behind them is the payments.
    content[20 * 4096 :] = b"\xa5" * (len(content) - 20 * 4096)
    path.write_bytes(content)
    journal = await open_on(None, tmp_path)
    with pytest.raises(JournalUnavailable):
        await journal.find([key(number) for number in range(500)])
    assert journal.state is JournalState.STOPPED
    await journal.close()


async def test_what_waits_behind_a_failed_batch_is_not_written(
    disk: FaultyDisk, tmp_path: Path
) -> None:
    journal = await open_on(disk, tmp_path)
    disk.sync_error = apsw.IOError
    results = await asyncio.gather(
        *(journal.commit([claim(number)]) for number in range(50)), return_exceptions=True
    )
    kinds = [type(result) for result in results]
    assert set(kinds) <= {JournalInDoubt, JournalUnavailable}
    assert kinds[0] is JournalInDoubt
    disk.sync_error = None
    await journal.close()
    journal = await open_on(disk, tmp_path)
    found = await journal.find([key(number) for number in range(50)])
    for kind, payment in zip(kinds, found, strict=True):
        assert payment is None or kind is JournalInDoubt, "unavailable: nothing was written"
    await journal.close()


async def test_what_waits_when_reading_fails_is_not_written(
    disk: FaultyDisk, tmp_path: Path
) -> None:
    journal = await open_on(disk, tmp_path)
    begun, go_on = Event(), Event()

    def take_long(_: Tables) -> bool:
        begun.set()
        return go_on.wait(10)

    busy = journal._writer.put((), take_long)
    await asyncio.to_thread(begun.wait)
    waiting = asyncio.ensure_future(journal.commit([claim(1)]))
    await asyncio.sleep(0)
    disk.read_error = apsw.IOError
    with pytest.raises(JournalUnavailable):
        await journal.find([key(1)])
    disk.read_error = None
    go_on.set()
    assert await busy
    with pytest.raises(JournalUnavailable, match="read failed"):
        await waiting
    await journal.close()
    journal = await open_on(disk, tmp_path)
    assert await journal.find([key(1)]) == [None]
    await journal.close()


async def test_a_fault_of_ours_does_not_stop_the_journal(tmp_path: Path) -> None:
    journal = await open_on(None, tmp_path)
    wrong_type = claim(1)
    wrong_type.reference = "not bytes"  # type: ignore[assignment]  # what the test is about
    for records in ([wrong_type], [object()], [approved(key(9))]):
        with pytest.raises(AssertionError):
            await journal.commit(records)  # type: ignore[arg-type]  # what the test is about
    assert await journal.commit([claim(1)]) == [Claimed()]
    await journal.close()


async def test_another_program_that_writes_to_the_file_only_delays_us(tmp_path: Path) -> None:
    journal = await open_on(None, tmp_path)
    other = apsw.Connection(str(tmp_path / "journal.db"))
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.ensure_future(journal.commit([claim(1)]))
    # Longer than SQLite itself waits: what waits may be an outcome, and is never dropped.
    await asyncio.sleep(BUSY_MS / 1000 + 0.5)
    assert not waiting.done()
    other.execute("ROLLBACK")
    other.close()
    assert await waiting == [Claimed()]
    await journal.close()


async def test_a_journal_that_is_closed_while_another_program_holds_it_writes_nothing(
    tmp_path: Path,
) -> None:
    journal = await open_on(None, tmp_path)
    other = apsw.Connection(str(tmp_path / "journal.db"))
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.ensure_future(journal.commit([claim(1)]))
    await asyncio.sleep(0.05)
    await journal.close()
    with pytest.raises(JournalUnavailable):
        await waiting
    other.execute("ROLLBACK")
    other.close()


async def test_an_idle_writer_carries_the_log_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = await open_on(None, tmp_path)
    await journal.commit([claim(number) for number in range(1000)])
    before = path.stat().st_size
    for _ in range(200):
        if path.stat().st_size > before + 100_000:
            break
        await asyncio.sleep(writer.IDLE_S / 2)
    assert path.stat().st_size > before + 100_000
    await journal.close()


async def test_the_log_stays_bounded_when_the_writer_never_idles(
    tmp_path: Path,
) -> None:
    journal = await SqliteJournal.open(
        tmp_path / "journal.db", SWITCH, at_ms=START_MS, log_pages_max=64
    )
    log = tmp_path / "journal.db-wal"
    sizes = []
    for batch in range(100):
        await journal.commit([claim(batch * 50 + each) for each in range(50)])
        sizes.append(log.stat().st_size // 4096)
    assert max(sizes) < 64 + 50
    await journal.close()


async def test_an_error_while_carrying_the_log_stops_the_journal(
    disk: FaultyDisk, tmp_path: Path
) -> None:
    journal = await open_on(disk, tmp_path)
    await journal.commit([claim(1)])
    disk.sync_error = apsw.IOError
    for _ in range(200):
        if journal.state is JournalState.STOPPED:
            break
        await asyncio.sleep(writer.IDLE_S / 2)
    disk.sync_error = None
    await assert_stopped(journal, "fsync failed")
    await journal.close()
