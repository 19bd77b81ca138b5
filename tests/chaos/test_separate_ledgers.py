"""Nodes that cannot stand in for each other: what is in doubt is reversed, and nothing is lost."""

import asyncio

from clients.demo.site import PRIMARY, SiteSettings
from tests.chaos.world import ONE_AT_A_TIME, Shop, nothing_owed, site_with, verdict, zeros

pytestmark = ONE_AT_A_TIME


async def test_what_a_killed_node_had_in_flight_is_declined_and_reversed_when_it_is_back() -> None:
    # A slow issuer, so that much is in flight when the node is killed.
    settings = SiteSettings(separate_ledgers=True, hold_down_s=0.5, latency="constant:60ms")
    async with site_with(settings) as site, Shop(site) as shop:
        selling = asyncio.create_task(shop.sell(rate=300, seconds=3.0))
        await asyncio.sleep(1.5)
        site.kill(PRIMARY)
        await selling
        answers = shop.told.values()
        in_doubt = [answer for answer in answers if answer.response_code == "91"]
        assert in_doubt
        assert {answer.reversal.name for answer in in_doubt} <= {"OWED", "ACKNOWLEDGED"}
        assert {answer.response_code for answer in answers} == {"00", "91"}
        await site.start(PRIMARY)
        await nothing_owed(site)
        audit = await verdict(site, shop)

    assert zeros(audit) == {}
    assert audit["sent"] == audit["answered"] == 900
    assert audit["in_doubt"] == audit["declined"] == len(in_doubt)
    assert audit["reversals_owed"] == audit["reversals_acknowledged"] == len(in_doubt)
    # An issuer that had approved before its node died was told to give it back.
    assert audit["repeated"] == 0
