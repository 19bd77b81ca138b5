"""A process of many terminals: sample traffic, sealed, on an open-loop schedule.

An open loop sells when the schedule says so, however slow the answers are: customers do not wait
for each other. Every latency counts from the instant the schedule names, so a generator that falls
behind makes the switch look worse and not better; how far behind it fell is reported too.

Both processes of a demonstration walk through the same synthetic day, and each sells what belongs
to its own terminals. On its standard output it says how far it is, one JSON object a line.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

import click

from clients.demo.latency import percentile
from clients.terminal import (
    Card,
    Connection,
    Decline,
    EntryMode,
    Kind,
    NoAnswer,
    Patience,
    Refused,
    Terminal,
    new_request_id,
)
from clients.traffic import Sale, days

MODES = ("unary", "framed")
SALES_A_DAY = 1_000_000
PATIENCE = Patience(timeout_s=3.0, total_s=30.0)
"""One send may take what the switch allows a payment; all together outlast any outage here."""
_TWIN_AFTER_S = 0.06
_SAY_EVERY_S = 0.1


@dataclass(slots=True)
class Progress:
    """How far the terminals of one process are."""

    sent: int = 0
    """Sales begun; one that is sent twice counts once."""
    answered: int = 0
    approved: int = 0
    declined: int = 0
    refused: int = 0
    unanswered: int = 0
    """Patience ended."""
    lag_p99_ms: float = 0.0
    """How late sales began, by the schedule; known when all have begun."""
    lag_max_ms: float = 0.0
    first_answer_at: float | None = None
    """When the first payment that began after the latest mark had its answer, on the machine's
    monotonic clock. Answers to older ones may have been under way when the switch was killed."""
    mark: int = 0
    finished: bool = False
    """All sales are over, and each has its answer or has given up."""


class Terminals:
    """The terminals of one process, selling."""

    def __init__(self, connection: Connection, mode: str, seed: int) -> None:
        """Take the sales that belong to ``mode``'s terminals."""
        self.progress = Progress()
        self._connection = connection
        self._mode = mode
        self._seed = seed
        self._random = Random(f"payswitch demo {mode}/{seed}")
        self._terminals: dict[str, Terminal] = {}
        self._selling: set[asyncio.Task[None]] = set()
        self._lags_ms: list[float] = []
        self._marked_at = 0.0

    async def sell(self, start_at: float, sell_for_s: float, rate: float) -> None:
        """Sell by the schedule; return when the last sale has begun."""
        loop = asyncio.get_running_loop()
        for offset_s, sale in schedule(self._seed, rate):
            if offset_s >= sell_for_s:
                break
            if not belongs(sale, self._mode):
                continue
            due = start_at + offset_s
            early_s = due - loop.time()
            if early_s > 0:
                await asyncio.sleep(early_s)
            self._begin(sale, due)
        if self._lags_ms:
            self.progress.lag_p99_ms = percentile(sorted(self._lags_ms), 0.99)

    async def finish(self) -> None:
        """Wait until every sale is over."""
        while self._selling:
            await asyncio.wait(self._selling)
        self.progress.finished = True

    def mark(self, number: int) -> None:
        """Wait for the next payment's answer, and remember when it came."""
        self.progress.mark, self.progress.first_answer_at = number, None
        self._marked_at = asyncio.get_running_loop().time()

    def _begin(self, sale: Sale, due: float) -> None:
        progress = self.progress
        progress.sent += 1
        lag_ms = (asyncio.get_running_loop().time() - due) * 1000
        self._lags_ms.append(lag_ms)
        progress.lag_max_ms = max(progress.lag_max_ms, lag_ms)
        task = asyncio.create_task(self._sell(sale, due))
        self._selling.add(task)
        task.add_done_callback(self._selling.discard)

    async def _sell(self, sale: Sale, due: float) -> None:
        terminal = self._terminal(sale)
        if sale.sends == 1:
            await self._pay(terminal, sale, due, None)
            return
        # As a terminal does that lost its first answer: the same payment again, soon or at once.
        request_id = new_request_id()
        pause_s = self._random.random() * _TWIN_AFTER_S
        first = asyncio.create_task(self._pay(terminal, sale, due, request_id))
        await asyncio.sleep(pause_s)
        with suppress(Refused, NoAnswer):
            await self._ask(terminal, sale, due + pause_s, request_id)
        await first

    async def _pay(
        self, terminal: Terminal, sale: Sale, due: float, request_id: str | None
    ) -> None:
        loop = asyncio.get_running_loop()
        progress, began_at = self.progress, loop.time()
        try:
            answer = await self._ask(terminal, sale, due, request_id)
        except Refused:
            progress.refused += 1
            return
        except NoAnswer:
            progress.unanswered += 1
            return
        progress.answered += 1
        if isinstance(answer, Decline):
            progress.declined += 1
        else:
            progress.approved += 1
        if progress.first_answer_at is None and began_at >= self._marked_at:
            progress.first_answer_at = loop.time()

    async def _ask(
        self, terminal: Terminal, sale: Sale, began_at: float, request_id: str | None
    ) -> object:
        return await terminal.authorize(
            Card(sale.card_number, sale.card_expiry),
            sale.amount_minor,
            sale.currency,
            kind=Kind[sale.kind.upper()],
            entry_mode=EntryMode[sale.entry_mode.upper()],
            accepts_partial_approval=sale.accepts_partial_approval,
            request_id=request_id,
            began_at=began_at,
        )

    def _terminal(self, sale: Sale) -> Terminal:
        terminal = self._terminals.get(sale.terminal_id)
        if terminal is None:
            terminal = self._terminals[sale.terminal_id] = Terminal(
                self._connection,
                sale.terminal_id,
                merchant_id=sale.merchant_id,
                merchant_category_code=sale.merchant_category_code,
                country=sale.country,
            )
        return terminal


def schedule(seed: int, rate: float) -> Iterator[tuple[float, Sale]]:
    """Return sales with their instants, in seconds: independent customers, ``rate`` a second."""
    random = Random(f"payswitch demo/{seed}/{rate}")
    offset_s = 0.0
    for sale in days(seed, SALES_A_DAY):
        offset_s += random.expovariate(rate)
        yield offset_s, sale


def belongs(sale: Sale, mode: str) -> bool:
    """Tell whether a sale's terminal speaks in this mode; half of all terminals do."""
    return MODES[crc32(sale.terminal_id.encode()) % len(MODES)] == mode


async def _listen(terminals: Terminals, started: asyncio.Future[dict[str, Any]]) -> None:
    """Hear what is said on standard input: first when to start, then marks."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        told = json.loads(line)
        if "mark" in told:
            terminals.mark(told["mark"])
        else:
            started.set_result(told)


async def _say(progress: Progress) -> None:
    while True:
        _write(asdict(progress))
        await asyncio.sleep(_SAY_EVERY_S)


def _write(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def _run(mode: str, address: str, journal: Path, rate: float, seed: int) -> int:
    loop = asyncio.get_running_loop()
    async with Connection(
        address,
        framed=mode == "framed",
        journal=journal,
        patience=PATIENCE,
        random=Random(f"payswitch demo patience {mode}/{seed}"),
    ) as connection:
        terminals = Terminals(connection, mode, seed)
        started: asyncio.Future[dict[str, Any]] = loop.create_future()
        listening = asyncio.create_task(_listen(terminals, started))
        gc.freeze()
        _write({"ready": True})
        start = await started
        saying = asyncio.create_task(_say(terminals.progress))
        await terminals.sell(start["start_at"], start["sell_for_s"], rate)
        await terminals.finish()
        saying.cancel()
        listening.cancel()
        _write(asdict(terminals.progress))
    return 0


@click.command()
@click.option("--mode", type=click.Choice(MODES), required=True)
@click.option("--address", required=True)
@click.option("--journal", type=click.Path(path_type=Path, dir_okay=False), required=True)
@click.option("--rate", type=float, required=True)
@click.option("--seed", type=int, required=True)
def main(mode: str, address: str, journal: Path, rate: float, seed: int) -> None:
    """Sell, when told to begin on standard input: {"start_at": …, "sell_for_s": …}."""
    sys.exit(asyncio.run(_run(mode, address, journal, rate, seed)))


if __name__ == "__main__":
    main()
