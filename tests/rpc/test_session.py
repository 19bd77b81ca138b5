"""The two promises of the writer: what is written is marked before, and one frame at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, cast

import grpc
import pytest

from payswitch.processor.v1 import processor_pb2
from switch.clock import SystemClock
from switch.core.sending import Sending
from switch.rpc.session import LastFrame, Session
from tests.rpc.conftest import Supervisor, until
from tests.rpc.nodes import RecordingObserver, Sendings

if TYPE_CHECKING:
    from switch.rpc.session import Call


class HeldCall:
    """A call whose writes take as long as a test wants."""

    def __init__(self) -> None:
        self.begun: list[processor_pb2.LinkRequest] = []
        self.seen_at_write: list[tuple[LastFrame, list[int]]] = []
        self.pending = 0
        self.gate = asyncio.Event()
        self.session: Session | None = None
        self.offered: dict[int, Sending] = {}
        self.ended = False
        self.half_closed = False
        self.said: asyncio.Queue[processor_pb2.LinkResponse] = asyncio.Queue()

    async def write(self, frame: processor_pb2.LinkRequest) -> None:
        assert self.pending == 0, "two writes at once"
        assert self.session is not None
        self.pending += 1
        self.begun.append(frame)
        marked = [
            item.sending_number for item in frame.items if self.offered[item.sending_number].written
        ]
        self.seen_at_write.append((self.session.last_frame, marked))
        await self.gate.wait()
        self.pending -= 1
        if self.ended:
            raise grpc.aio.UsageError("over")

    async def read(self) -> processor_pb2.LinkResponse:
        return await self.said.get()

    async def done_writing(self) -> None:
        self.half_closed = True

    def cancel(self) -> bool:
        self.ended = True
        self.gate.set()
        return True

    def done(self) -> bool:
        return self.ended


@pytest.fixture
def call() -> HeldCall:
    return HeldCall()


@pytest.fixture
def observer() -> RecordingObserver:
    return RecordingObserver()


@pytest.fixture
async def session(
    call: HeldCall, supervisor: Supervisor, observer: RecordingObserver
) -> AsyncIterator[Session]:
    found = Session("alpha-1", 9, cast("Call", call), observer, SystemClock(), echo_idle_s=60.0)
    call.session = found
    supervisor.spawn(found.write(), "writer")
    yield found
    found.end()


@pytest.fixture
def sendings(observer: RecordingObserver) -> Sendings:
    return Sendings(observer)


def offer(session: Session, call: HeldCall, sendings: Sendings) -> Sending:
    sending = sendings.make()
    call.offered[sending.number] = sending
    session.offer(sending)
    return sending


async def test_items_are_marked_as_written_and_their_frame_is_named_before_it_is_written(
    session: Session, call: HeldCall, sendings: Sendings
) -> None:
    offer(session, call, sendings)
    offer(session, call, sendings)
    assert session.last_frame == (9, 1)
    await until(lambda: len(call.begun) == 1)
    assert call.seen_at_write == [(LastFrame(9, 2), [1, 2])]


async def test_what_is_offered_during_a_write_waits_for_the_next_frame(
    session: Session, call: HeldCall, sendings: Sendings
) -> None:
    offer(session, call, sendings)
    await until(lambda: len(call.begun) == 1)
    later = [offer(session, call, sendings) for _ in range(3)]
    await asyncio.sleep(0.02)
    assert len(call.begun) == 1
    assert not any(sending.written for sending in later)
    call.gate.set()
    await until(lambda: len(call.begun) == 2)
    assert [item.sending_number for item in call.begun[1].items] == [2, 3, 4]


async def test_the_end_tells_what_was_handed_over_from_what_was_not(
    session: Session, call: HeldCall, sendings: Sendings
) -> None:
    """A write that is pending when the link ends may have arrived."""
    handed_over = offer(session, call, sendings)
    await until(lambda: len(call.begun) == 1)
    waiting = offer(session, call, sendings)
    assert session.end() == ([waiting], [handed_over])
    assert session.end() == ([], [])
    await asyncio.sleep(0.02)
    assert len(call.begun) == 1
    assert not waiting.written


async def test_nothing_is_written_to_a_call_that_is_over(
    session: Session, call: HeldCall, sendings: Sendings
) -> None:
    call.ended = True
    waiting = offer(session, call, sendings)
    await asyncio.sleep(0.02)
    assert call.begun == []
    assert session.end() == ([waiting], [])


async def test_a_draining_session_is_half_closed_when_nothing_is_in_flight(
    session: Session, call: HeldCall, sendings: Sendings
) -> None:
    call.gate.set()
    written = offer(session, call, sendings)
    await until(lambda: written.written)
    session.drain(60.0, say_so=True)
    await until(lambda: len(call.begun) == 2)
    assert call.begun[1].HasField("go_away")
    assert not call.half_closed
    session.forget(written)
    await until(lambda: call.half_closed)


async def test_an_answer_to_what_was_never_written_answers_nothing(
    session: Session, call: HeldCall, sendings: Sendings, observer: RecordingObserver
) -> None:
    offer(session, call, sendings)
    await until(lambda: len(call.begun) == 1)
    waiting = offer(session, call, sendings)
    results = [processor_pb2.ItemResult(sending_number=n, reference=bytes(16)) for n in (1, 2)]
    go_away = processor_pb2.GoAway()
    call.said.put_nowait(
        processor_pb2.LinkResponse(frame_number=2, results=results, go_away=go_away)
    )
    assert await session.read() == (True, "")
    assert list(observer.settlements()) == [1]
    assert [answer.sending_number for _, _, answer in observer.of("late")] == [2]
    assert session.take_back() == [waiting]
