"""A switch that is killed loses nothing of what it has acknowledged."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from switch.core.message import PaymentState
from switch.core.transaction import AttemptState
from switch.store.sqlite import SqliteJournal
from tests.store.killed_switch import BATCH
from tests.store.records import START_MS, SWITCH, key

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 5
LINES_BEFORE_DEATH = 25


def run_and_kill(path: Path, first: int, lines: int) -> dict[str, set[int]]:
    """Let a process commit, kill it in the middle, and return what it had acknowledged."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.store.killed_switch", path, str(first)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    heard = []
    for line in process.stdout:
        heard.append(line)
        if len(heard) == lines:
            process.kill()
    process.wait()
    process.stdout.close()
    told: dict[str, set[int]] = {"claimed": set(), "approved": set()}
    for line in heard:
        if line.endswith("\n"):
            word, *numbers = line.split()
            told[word].update(map(int, numbers))
    return told


@pytest.mark.timeout(120)
async def test_everything_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    claimed: set[int] = set()
    approved: set[int] = set()
    for death in range(1, ROUNDS + 1):
        first = death * 1_000_000
        told = await asyncio.to_thread(run_and_kill, path, first, LINES_BEFORE_DEATH + death)
        assert len(told["claimed"]) >= BATCH * 10, "it lived long enough to be worth killing"
        claimed |= told["claimed"]
        approved |= told["approved"]
        journal = await SqliteJournal.open(path, SWITCH, at_ms=START_MS)
        assert journal.epoch == 2 * death
        found = dict(zip(claimed, await journal.find([*map(key, claimed)]), strict=True))
        await journal.recover(START_MS)
        recovered = dict(zip(claimed, await journal.find([*map(key, claimed)]), strict=True))
        for number, payment in found.items():
            assert payment is not None, f"{number} was claimed and is lost"
            if number in approved:
                assert payment.state is PaymentState.CONCLUDED
                assert payment.answer is not None
                assert payment.answer.approved
                assert recovered[number] == payment, "recovery leaves it alone"
            elif payment.state is PaymentState.RUNNING:
                after = recovered[number]
                assert after is not None
                assert after.attempts[-1].state is AttemptState.OWED
                assert after.answer is not None
                assert after.answer.response_code == "91"
        assert (await journal.counts()).running == 0
        await journal.close()
