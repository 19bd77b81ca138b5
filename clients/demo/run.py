"""A whole run: the show, then the audit of what it left behind, then the figures."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from clients.demo.chronicle import Chronicle
from clients.demo.crowd import Crowd
from clients.demo.latency import added_latency_ms
from clients.demo.result import Result
from clients.demo.screen import screen
from clients.demo.script import Script
from clients.demo.show import Show, Upset
from clients.demo.site import Site, SiteSettings
from clients.demo.verdict import audited
from clients.process import NotReady


class Interrupted(Exception):
    """A person or the system asked us to end. The text says which processes were ended."""


async def run(script: Script, folder: Path, *, as_lines: bool) -> Result:
    """Play a script in a folder, and audit it. Raises Interrupted; leaves no process behind."""
    site = Site(folder, SiteSettings(script.separate_ledgers, script.hold_down_s, seed=script.seed))
    crowd, chronicle = Crowd(site, script), Chronicle()
    ours = asyncio.current_task()
    assert ours is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ours.cancel)
    to = sys.stderr if as_lines else sys.stdout
    try:
        with screen(as_lines=as_lines, to=to) as watched:
            try:
                await Show(script, site, crowd, chronicle, watched).play()
            except (Upset, NotReady) as fault:
                chronicle.problems.append(str(fault))
                site.abandon()
            return await _judged(script, site, crowd, chronicle)
    except asyncio.CancelledError as cancelled:
        ended = ", ".join(map(str, site.abandon())) or "none was left"
        raise Interrupted(f"interrupted; ended the processes {ended}") from cancelled
    finally:
        site.abandon()


async def _judged(script: Script, site: Site, crowd: Crowd, chronicle: Chronicle) -> Result:
    """Have the three ledgers compared, and put all figures together."""
    result = Result(
        seconds=chronicle.seconds,
        rate=script.rate,
        ledgers="separate" if script.separate_ledgers else "shared",
        seed=script.seed,
        timeline=chronicle.timeline,
        problems=chronicle.problems,
    )
    result.take(await audited(crowd.journals, site.journal, site.books))
    if all(journal.exists() for journal in crowd.journals):
        result.added_latency_ms = added_latency_ms(crowd.journals)
    total = crowd.total
    result.generator_lag_ms = {
        "p99": round(total.lag_p99_ms, 2),
        "max": round(total.lag_max_ms, 2),
    }
    result.close()
    return result
