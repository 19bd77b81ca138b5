"""The journal in memory: for the simulator, and for the tests of everything above the store."""

from switch.store.memory.journal import DiskFault, MemoryDisk, MemoryJournal

__all__ = ["DiskFault", "MemoryDisk", "MemoryJournal"]
