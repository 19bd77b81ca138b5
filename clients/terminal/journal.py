"""What the terminal knows, one JSON object a line: the first of the three ledgers.

Each line is appended with one write and so is out of the process before the next step: what was
intended stands there before it is sent, and an answer before the sale goes on. No card number is
in it. The fields of each event are published in docs/reference/audit.md.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from clients.terminal.failure import CallFailed


class TerminalJournal:
    """A file that only grows. Several terminals, and several processes, may share it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        # Unbuffered and in append mode: one write, one line, at the end, whoever else writes.
        self._file = self.path.open("ab", buffering=0)
        # Tells calls under one request_id apart, also those of an earlier run.
        self._run = secrets.token_hex(4)
        self._calls = itertools.count(1)

    def new_call(self) -> str:
        """Return a name for one call; all its lines carry it."""
        return f"{self._run}-{next(self._calls)}"

    def write(self, event: str, **fields: str | int | float | bool | None) -> None:
        """Append one line."""
        line = {"event": event, "at_ms": time.time_ns() // 1_000_000, **fields}
        self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(slots=True)
class Entry:
    """The lines of one call, whether or not there is a journal to write them to."""

    journal: TerminalJournal | None
    terminal_id: str
    request_id: str
    began_at: float
    """Loop time: when the sale was meant to begin, so that waiting in a queue of ours counts."""
    prefix: str = ""
    sends: int = 0
    call: str = ""

    def __post_init__(self) -> None:
        if self.journal is not None:
            self.call = self.journal.new_call()

    def write(self, event: str, **fields: str | int | float | bool | None) -> None:
        """Write one line."""
        if self.journal is not None:
            self.journal.write(
                self.prefix + event,
                call=self.call,
                terminal_id=self.terminal_id,
                request_id=self.request_id,
                **fields,
            )

    def send(self) -> None:
        """Count a send, and write it down before it leaves."""
        self.sends += 1
        self.write("sent", send=self.sends)

    def failed(self, failure: CallFailed) -> None:
        """Write down that a send had no answer."""
        self.write("failed", send=self.sends, status=failure.status, reason=failure.reason)

    def end(self, event: str, **fields: str | int | float | bool | None) -> None:
        """Write the call's last line: how it ended, and how long it took."""
        latency_ms = (asyncio.get_running_loop().time() - self.began_at) * 1000
        self.write(event, **fields, sends=self.sends, latency_ms=round(latency_ms, 3))
