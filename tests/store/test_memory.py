"""The journal in memory: what the simulator does to it."""

import asyncio

import pytest

from switch.core.message import Claimed
from switch.errors import JournalInDoubt, JournalUnavailable
from switch.store.journal import JournalState
from switch.store.memory import DiskFault, MemoryDisk, MemoryJournal
from tests.store.records import SWITCH, claim, key


@pytest.fixture
def disk() -> MemoryDisk:
    """Return an empty disk."""
    return MemoryDisk()


async def test_a_crash_loses_what_waits_and_nothing_else(disk: MemoryDisk) -> None:
    journal = await MemoryJournal.open(disk, SWITCH)
    await journal.commit([claim(1)])
    waiting = asyncio.ensure_future(journal.commit([claim(2)]))
    await asyncio.sleep(0)
    journal.crash()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiting.done(), "a dead switch tells nobody anything"
    waiting.cancel()
    journal = await MemoryJournal.open(disk, SWITCH)
    found = await journal.find([key(1), key(2)])
    assert [payment is not None for payment in found] == [True, False]


@pytest.mark.parametrize("fault", DiskFault)
async def test_a_batch_in_doubt_may_be_lost_or_kept(disk: MemoryDisk, fault: DiskFault) -> None:
    journal = await MemoryJournal.open(disk, SWITCH)
    disk.fault = fault
    with pytest.raises(JournalInDoubt):
        await journal.commit([claim(1)])
    assert journal.state is JournalState.STOPPED
    journal = await MemoryJournal.open(disk, SWITCH)
    found = await journal.find([key(1)])
    assert (found != [None]) is (fault is DiskFault.KEPT)


async def test_an_older_journal_cannot_write_after_a_newer_one_was_opened(
    disk: MemoryDisk,
) -> None:
    older = await MemoryJournal.open(disk, SWITCH)
    waiting = asyncio.ensure_future(older.commit([claim(1)]))
    await asyncio.sleep(0)
    newer = await MemoryJournal.open(disk, SWITCH)
    with pytest.raises(JournalUnavailable, match="newer switch"):
        await waiting
    assert older.state is JournalState.STOPPED
    assert await newer.commit([claim(1)]) == [Claimed()]
