"""A disk under SQLite that fails when it is told to."""

import apsw


class FaultyDisk(apsw.VFS):
    """The usual way to the disk, with errors on demand."""

    def __init__(self, name: str) -> None:
        self.name = f"faulty-{name}"
        self.sync_error: type[apsw.Error] | None = None
        """What every fsync meets from now on."""
        self.write_error: type[apsw.Error] | None = None
        self.read_error: type[apsw.Error] | None = None
        self.syncs = 0
        super().__init__(self.name, "")

    def xOpen(  # SQLite's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        """Open a file on this disk."""
        return _File(self, name, flags)


class _File(apsw.VFSFile):
    def __init__(
        self, disk: FaultyDisk, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        self._disk = disk
        super().__init__("", name, flags)

    def xSync(self, flags: int) -> None:  # SQLite's name
        self._disk.syncs += 1
        if self._disk.sync_error is not None:
            raise self._disk.sync_error("fsync failed, says the test")
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # SQLite's name
        if self._disk.write_error is not None:
            raise self._disk.write_error("write failed, says the test")
        super().xWrite(data, offset)

    def xRead(self, amount: int, offset: int) -> bytes:  # SQLite's name
        if self._disk.read_error is not None:
            raise self._disk.read_error("read failed, says the test")
        return super().xRead(amount, offset)
