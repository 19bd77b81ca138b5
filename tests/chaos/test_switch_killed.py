"""The switch itself is killed under load."""

import asyncio
from pathlib import Path

from clients.demo.site import SWITCH, SiteSettings
from tests.chaos.world import (
    ONE_AT_A_TIME,
    Shop,
    essence,
    nothing_owed,
    site_with,
    verdict,
    zeros,
)

pytestmark = ONE_AT_A_TIME


def kept_waiting_s(pid: int) -> float:
    """Return how long a process could have run, and others had the processors."""
    _, waited_ns, _ = Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()
    return int(waited_ns) / 1e9


async def test_a_killed_switch_answers_again_within_two_seconds_and_has_lost_nothing() -> None:
    loop = asyncio.get_running_loop()
    async with site_with(SiteSettings(latency="constant:20ms")) as site, Shop(site) as shop:
        selling = asyncio.create_task(shop.sell(rate=300, seconds=4.0))
        await asyncio.sleep(1.5)
        site.kill(SWITCH)
        killed_at = loop.time()
        told_before = set(shop.told)
        restarted = await site.start(SWITCH)
        # Answers to older payments may have been under way when the switch was killed.
        first_at = await shop.first_answer(began_after=killed_at)
        # What a busy machine takes from the switch is not the switch's time.
        assert first_at - killed_at - kept_waiting_s(restarted.pid) <= 2.0
        await selling

        # Whoever asks again is told what was told, across the crash too.
        told_now = await shop.ask_again()
        assert {key: essence(each) for key, each in told_now.items()} == {
            key: essence(each) for key, each in shop.told.items()
        }
        assert all(each.replayed for each in told_now.values())
        assert told_before <= told_now.keys()
        await nothing_owed(site)
        recovered = restarted.ready["recovered"]
        audit = await verdict(site, shop)

    assert zeros(audit) == {}
    assert audit["sent"] == audit["answered"] == 1200
    assert audit["terminal_failures"] == 0
    assert audit["restart_reversals"] == recovered > 0
    assert audit["reversals_owed"] == audit["reversals_acknowledged"] >= recovered
