"""The terminals' processes, as the show sees them."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import fields
from pathlib import Path

from clients.demo.script import Script
from clients.demo.site import Site
from clients.demo.terminals import MODES, Progress
from clients.process import Process

_LEAVE_WITHIN_S = 10.0


class Crowd:
    """All terminals: one process that speaks unary, and one that speaks in frames."""

    def __init__(self, site: Site, script: Script) -> None:
        """Belong to a site; nothing is started."""
        self.journals = [site.folder / f"terminals-{mode}.jsonl" for mode in MODES]
        self._site = site
        self._script = script
        self._processes: dict[str, Process] = {}
        self._progress = {mode: Progress() for mode in MODES}
        self._changed = asyncio.Event()
        self._mark = 0

    async def open(self) -> None:
        """Start the processes. Raises NotReady."""
        await asyncio.gather(*map(self._open, MODES, self.journals))

    def begin(self, start_at: float) -> None:
        """Have them sell from an instant of the monotonic clock on, as long as the script says."""
        for process in self._processes.values():
            process.tell({"start_at": start_at, "sell_for_s": self._script.sell_for_s})

    async def listen(self) -> None:
        """Hear how far they are; return when they have ended."""
        await asyncio.gather(*map(self._listen, MODES))

    @property
    def names(self) -> list[str]:
        """The names of the processes at their site."""
        return [_name(mode) for mode in MODES]

    @property
    def total(self) -> Progress:
        """Return how far they are, all together."""
        total = Progress(finished=all(p.finished for p in self._progress.values()))
        for each in self._progress.values():
            for name in ("sent", "answered", "approved", "declined", "refused", "unanswered"):
                setattr(total, name, getattr(total, name) + getattr(each, name))
            total.lag_p99_ms = max(total.lag_p99_ms, each.lag_p99_ms)
            total.lag_max_ms = max(total.lag_max_ms, each.lag_max_ms)
        return total

    def mark(self) -> None:
        """Watch for the answer to a payment that begins from now on."""
        self._mark += 1
        for process in self._processes.values():
            process.tell({"mark": self._mark})

    async def first_answer(self) -> float:
        """Return when the first payment after the mark was answered, on the monotonic clock."""
        while True:
            heard = [
                progress.first_answer_at
                for progress in self._progress.values()
                if progress.mark == self._mark and progress.first_answer_at is not None
            ]
            if heard:
                return min(heard)
            await self._change()

    async def finished(self) -> None:
        """Wait until every sale has its answer, or has given up."""
        while not self.total.finished:
            await self._change()

    async def leave(self) -> None:
        """Wait for the processes' own end, which comes when every sale is over."""
        for process in self._processes.values():
            await asyncio.to_thread(process.wait, _LEAVE_WITHIN_S)

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _open(self, mode: str, journal: Path) -> None:
        script = self._script
        self._processes[mode] = await self._site.run(
            _name(mode),
            *("clients.demo.terminals", "--mode", mode, "--address", self._site.terminals_address),
            *("--journal", str(journal), "--rate", str(script.rate), "--seed", str(script.seed)),
            listens=True,
        )

    async def _listen(self, mode: str) -> None:
        reader = asyncio.StreamReader()
        # A copy, so that whoever ends the process may close its own.
        pipe = os.fdopen(os.dup(self._processes[mode].output.fileno()), "rb", buffering=0)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        known = {field.name for field in fields(Progress)}
        try:
            async for line in reader:
                said = json.loads(line)
                if said.keys() == known:
                    self._progress[mode] = Progress(**said)
                    self._changed.set()
        finally:
            transport.close()


def _name(mode: str) -> str:
    return f"terminals-{mode}"
