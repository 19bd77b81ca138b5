"""The supervisor: which faults of ours end the switch."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from switch.app import Supervisor
from switch.config import load
from tests.app.test_config import GOOD, written
from tests.app.test_serve import PORTS


@pytest.mark.parametrize(
    ("fault", "ends"), [(KeyError("a caller's"), False), (AssertionError("of ours"), True)]
)
async def test_no_caller_can_end_the_switch_but_a_broken_assertion_does(
    tmp_path: Path, fault: Exception, ends: bool
) -> None:
    supervisor = Supervisor(load(written(tmp_path, GOOD + PORTS)))
    running = asyncio.ensure_future(supervisor.run())
    await asyncio.sleep(1.5)
    assert not running.done()
    supervisor.report("a caller's door", fault)
    await asyncio.sleep(0)
    if not ends:
        await asyncio.sleep(0.3)
        assert not running.done()
        supervisor.stop()
    assert await asyncio.wait_for(running, 20) == int(ends)
