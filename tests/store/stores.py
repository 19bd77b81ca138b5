"""The stores that keep the contract: each one disk, on which journals are opened over and over."""

from abc import ABC, abstractmethod
from pathlib import Path

import apsw

from switch.store.memory import DiskFault, MemoryDisk, MemoryJournal
from switch.store.sqlite import SqliteJournal
from tests.store.faulty_disk import FaultyDisk
from tests.store.records import START_MS, SWITCH

Journal = MemoryJournal | SqliteJournal


class Store(ABC):
    """One disk. What is opened on it is closed when the test is over."""

    def __init__(self) -> None:
        self.opened: list[Journal] = []

    async def open(self, switch_id: str = SWITCH) -> Journal:
        """Open a journal on the disk."""
        journal = await self._open(switch_id)
        self.opened.append(journal)
        return journal

    async def reopen(self, journal: Journal) -> Journal:
        """Close a journal and open its successor."""
        await journal.close()
        return await self.open()

    async def close(self) -> None:
        """Close what is open."""
        for journal in self.opened:
            await journal.close()

    @abstractmethod
    async def _open(self, switch_id: str) -> Journal: ...

    @abstractmethod
    def break_disk(self) -> None:
        """Let the next commit fail."""


class MemoryStore(Store):
    """A disk in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = MemoryDisk()

    async def _open(self, switch_id: str) -> MemoryJournal:
        return await MemoryJournal.open(self.disk, switch_id, at_ms=START_MS)

    def break_disk(self) -> None:
        self.disk.fault = DiskFault.LOST


class SqliteStore(Store):
    """A file, on a disk that can be made to fail."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = folder / "journal.db"
        self.disk = FaultyDisk(folder.name)

    async def _open(self, switch_id: str) -> SqliteJournal:
        return await SqliteJournal.open(self.path, switch_id, at_ms=START_MS, vfs=self.disk.name)

    async def close(self) -> None:
        await super().close()
        self.disk.unregister()

    def break_disk(self) -> None:
        self.disk.sync_error = apsw.IOError
