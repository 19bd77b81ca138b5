"""A site under load: real processes, terminals of the SDK, and the audit of what they leave."""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from clients.demo.operators import Operators
from clients.demo.site import Site, SiteSettings
from clients.demo.verdict import audited
from clients.terminal import (
    Approval,
    Card,
    Connection,
    Decline,
    Patience,
    Terminal,
    new_request_id,
)

ONE_AT_A_TIME = [pytest.mark.xdist_group("chaos"), pytest.mark.timeout(120)]
"""Every file of this ring says so: each of its tests wants the machine for itself."""

CARD = Card("4111111111111111", "3512")
PATIENCE = Patience(timeout_s=3.0, total_s=30.0)
Answer = Approval | Decline


@asynccontextmanager
async def site_with(settings: SiteSettings) -> AsyncIterator[Site]:
    """Open a site; end its processes and remove its folder."""
    # Not pytest's own folder: a unix socket's path is short.
    folder = Path(tempfile.mkdtemp(prefix="payswitch-chaos-"))
    site = Site(folder, settings)
    try:
        await site.open()
        yield site
    except BaseException:
        show_logs(folder)
        raise
    finally:
        site.abandon()
        shutil.rmtree(folder)


def show_logs(folder: Path) -> None:
    """Print how the processes' logs end; pytest shows it if the test fails."""
    for log in sorted(folder.glob("*.log")):
        sys.stdout.write(f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}\n")


class Shop:
    """Two ways to the switch, and a terminal on each; remembers what every payment was told."""

    def __init__(self, site: Site) -> None:
        self.journals = [site.folder / "unary.jsonl", site.folder / "framed.jsonl"]
        self.connections = [
            Connection(site.terminals_address, framed=framed, journal=journal, patience=PATIENCE)
            for framed, journal in zip((False, True), self.journals, strict=True)
        ]
        self.terminals = [
            Terminal(
                connection,
                f"CHAOS-{number}",
                merchant_id="CHAOS",
                merchant_category_code="5411",
                country="DE",
            )
            for number, connection in enumerate(self.connections)
        ]
        self.told: dict[str, Answer] = {}
        """By request_id."""
        self._times: list[tuple[float, float]] = []
        """When each payment began, and when it was answered."""
        self._asked: dict[str, tuple[Terminal, int]] = {}

    async def sell(self, rate: float, seconds: float) -> None:
        """Sell on an open-loop schedule, and wait for every answer."""
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        async with asyncio.TaskGroup() as sales:
            for number in range(round(rate * seconds)):
                due = began_at + number / rate
                await asyncio.sleep(max(due - loop.time(), 0.0))
                terminal = self.terminals[number % len(self.terminals)]
                sales.create_task(self._sell(terminal, 1000 + number % 7000))

    async def _sell(self, terminal: Terminal, amount_minor: int) -> None:
        request_id, began_at = new_request_id(), asyncio.get_running_loop().time()
        self._asked[request_id] = terminal, amount_minor
        self.told[request_id] = await terminal.authorize(
            CARD, amount_minor, "EUR", request_id=request_id
        )
        self._times.append((began_at, asyncio.get_running_loop().time()))

    async def first_answer(self, *, began_after: float) -> float:
        """Wait until a payment is answered that began after an instant; return when it was."""
        while True:
            answered = [at for began_at, at in self._times if began_at > began_after]
            if answered:
                return min(answered)
            await asyncio.sleep(0.01)

    async def ask_again(self) -> dict[str, Answer]:
        """Send every payment again under its own id; return what is told now."""

        async def again(request_id: str) -> tuple[str, Answer]:
            terminal, amount_minor = self._asked[request_id]
            return request_id, await terminal.authorize(
                CARD, amount_minor, "EUR", request_id=request_id
            )

        told: dict[str, Answer] = {}
        for some in _in_parts(list(self._asked), 200):
            told |= dict(await asyncio.gather(*map(again, some)))
        return told

    async def close(self) -> None:
        for connection in self.connections:
            await connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def essence(answer: Answer) -> tuple[str, int, str]:
    """Return what is equal for ever: the code, the amount, the authorization code."""
    if isinstance(answer, Approval):
        return answer.response_code, answer.approved_amount_minor, answer.authorization_code
    return answer.response_code, 0, ""


async def nothing_owed(site: Site, within_s: float = 30.0) -> None:
    """Wait until the switch owes nothing and runs nothing."""
    async with asyncio.timeout(within_s), Operators(site.operators_address) as operators:
        while True:
            counters = await operators.counters()
            if counters is not None and counters.owed == counters.running == 0:
                return
            await asyncio.sleep(0.05)


async def verdict(site: Site, shop: Shop) -> dict[str, Any]:
    """End everything politely, and have the three ledgers compared."""
    await shop.close()
    codes = await site.close()
    assert set(codes.values()) == {0}, codes
    return await audited(shop.journals, site.journal, site.books)


def zeros(audit: dict[str, Any]) -> dict[str, Any]:
    """Return what has to be zero, whatever happened, and why it is not."""
    names = ("double_charges", "lost", "mismatches", "unanswered")
    found = {name: audit[name] for name in names if audit[name]}
    return found | ({"why": audit["explanations"]} if found else {})


def _in_parts(items: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
