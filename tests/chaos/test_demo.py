"""The demonstration itself, as a newcomer types it."""

import asyncio
import json
import os
import re
import signal
import sys
from dataclasses import fields
from pathlib import Path

from clients.demo.result import Result
from tests.chaos.world import ONE_AT_A_TIME

pytestmark = ONE_AT_A_TIME

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference" / "demo.md"


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "switch", "demo", *arguments),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and not yet seen the end of."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def lives(pid: int) -> bool:
    """Tell whether a process is there, and not merely waits to be forgotten."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status[status.rindex(")") + 2] != "Z"


def documented() -> set[str]:
    """Return the figures that the reference defines, a row each."""
    text = REFERENCE.read_text(encoding="utf-8")
    figures = text.partition("## The figures")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `(\w+)", figures, re.MULTILINE))


def test_every_figure_is_defined_in_the_reference() -> None:
    assert documented() == {field.name for field in fields(Result)}


async def test_nodes_and_the_switch_are_killed_and_not_a_cent_is_missing() -> None:
    demo = await start("--seconds", "8", "--rate", "300", "--json")
    out, err = await demo.communicate()
    told = err.decode()
    assert demo.returncode == 0, told
    result = json.loads(out.splitlines()[-1])
    assert result.keys() == documented()
    must_be_zero = ("double_charges", "lost", "mismatches", "unanswered", "terminal_failures")
    assert {name: result[name] for name in must_be_zero} == dict.fromkeys(must_be_zero, 0), told
    assert result["sent"] == result["answered"] == result["approved"] + result["declined"]
    assert result["sent"] > 0.9 * 300 * 8 * 28 / 30
    assert result["reversals_owed"] == result["reversals_acknowledged"]
    events = [event["event"] for event in result["timeline"]]
    assert events.count("primary_killed") == events.count("primary_restarted") == 2
    assert events.count("switch_killed") == events.count("switch_restarted") == 1
    assert events[-1] == "ended"


async def test_an_interrupted_demonstration_ends_all_that_it_has_started_and_says_so() -> None:
    demo = await start("--seconds", "30", "--rate", "50")
    while len(children(demo.pid)) < 6:
        assert demo.returncode is None
        await asyncio.sleep(0.1)
    started = children(demo.pid)
    demo.send_signal(signal.SIGINT)
    _, err = await demo.communicate()
    assert demo.returncode == 130
    assert "interrupted" in err.decode()
    assert all(str(pid) in err.decode() for pid in started)
    assert [pid for pid in started if lives(pid)] == []


async def test_a_killed_demonstration_leaves_no_process_behind() -> None:
    demo = await start("--seconds", "30", "--rate", "50")
    while len(children(demo.pid)) < 6:
        assert demo.returncode is None
        await asyncio.sleep(0.1)
    started = children(demo.pid)
    os.kill(demo.pid, signal.SIGKILL)
    await demo.communicate()
    async with asyncio.timeout(5.0):
        while any(lives(pid) for pid in started):
            await asyncio.sleep(0.05)
