"""Owned work: whoever waits may leave, and no fault is lost."""

from __future__ import annotations

import asyncio

import pytest

from switch.rpc.edge import Malformed, own, total
from tests.rpc.conftest import Supervisor, until


async def work(gate: asyncio.Event, fault: Exception | None = None) -> str:
    await gate.wait()
    if fault is not None:
        raise fault
    return "done"


async def test_owned_work_is_awaited_like_any_other(supervisor: Supervisor) -> None:
    gate = asyncio.Event()
    gate.set()
    assert await own(supervisor.spawn, work(gate), "work") == "done"
    with pytest.raises(LookupError):
        await own(supervisor.spawn, work(gate, LookupError()), "work")


async def test_owned_work_goes_on_when_nobody_waits_any_more(supervisor: Supervisor) -> None:
    gate = asyncio.Event()
    future = own(supervisor.spawn, work(gate), "work")
    await asyncio.sleep(0)
    future.cancel()
    await asyncio.sleep(0)
    [task] = supervisor.tasks
    assert not task.done()
    gate.set()
    await until(lambda: not supervisor.tasks)


async def test_a_fault_nobody_waits_for_reaches_the_supervisor(supervisor: Supervisor) -> None:
    gate = asyncio.Event()
    future = own(supervisor.spawn, work(gate, LookupError()), "work")
    await asyncio.sleep(0)
    future.cancel()
    gate.set()
    await until(lambda: not supervisor.tasks)
    [fault] = supervisor.faults
    assert isinstance(fault, LookupError)
    supervisor.faults.clear()


async def test_who_waits_for_work_that_is_cancelled_is_cancelled(supervisor: Supervisor) -> None:
    future = own(supervisor.spawn, work(asyncio.Event()), "work")
    await asyncio.sleep(0)
    await supervisor.cancel()
    assert future.cancelled()


def test_a_decoder_reads_nothing_beyond_its_bound() -> None:
    def parse(raw: bytes) -> int:
        assert len(raw) <= 3
        return len(raw)

    decode = total(parse, 3)
    assert decode(b"123") == 3
    assert isinstance(decode(b"1234"), Malformed)
