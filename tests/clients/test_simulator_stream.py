"""One link as the node sees it, against a call that is made of two lists."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import grpc
from grpc import aio

from clients.simulator.stream import Context, Ending, Place, Stream
from payswitch.processor.v1 import processor_pb2 as pb

STALE = Ending(grpc.StatusCode.FAILED_PRECONDITION, "STALE_SESSION", "a newer link was seen")


class Aborted(Exception):
    """The call was ended with an error."""


class Call:
    """A call whose frames a test puts in and reads."""

    def __init__(self) -> None:
        self.unread: asyncio.Queue[object] = asyncio.Queue()
        self.written: list[pb.LinkResponse] = []

    async def read(self) -> object:
        return await self.unread.get()

    async def write(self, frame: pb.LinkResponse) -> None:
        self.written.append(frame)

    async def abort(self, *_: object) -> None:
        raise Aborted


class Desk:
    """A node that remembers what it was handed."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.awake = asyncio.Event()
        self.awake.set()

    async def admit(self, stream: Stream, hello: pb.Hello) -> pb.HelloBack:
        return pb.HelloBack(ledger="acme")

    async def before_frame(self) -> None:
        await self.awake.wait()

    def take(self, stream: Stream, item: pb.Item, place: Place) -> None:
        self.taken.append(item.sending_number)


class Scene:
    """A stream that has been greeted."""

    def __init__(self) -> None:
        self.call, self.desk = Call(), Desk()
        self.stream = Stream(self.desk)
        self.running = asyncio.create_task(self.stream.run(cast("Context", self.call)))
        self.frame_count = 0
        self.put(hello=pb.Hello(switch_id="switch-1", epoch=1, session=1))

    def put(self, **fields: Any) -> None:
        """Let the next frame arrive."""
        self.frame_count += 1
        self.call.unread.put_nowait(pb.LinkRequest(frame_number=self.frame_count, **fields))

    def put_items(self, *sending_numbers: int) -> None:
        """Let a frame of echoes arrive."""
        self.put(items=[pb.Item(sending_number=n, echo=pb.Echo()) for n in sending_numbers])

    async def calm(self) -> None:
        """Let everything run that can."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def end(self) -> Exception | None:
        """Half-close; return how the call ended."""
        self.call.unread.put_nowait(aio.EOF)
        (ended,) = await asyncio.gather(self.running, return_exceptions=True)
        return cast("Exception | None", ended)


async def test_what_lies_in_the_buffer_of_a_superseded_link_is_not_started() -> None:
    scene = Scene()
    await scene.calm()
    scene.put_items(1, 2)
    scene.stream.end(STALE)
    scene.put_items(3)
    assert isinstance(await scene.end(), Aborted)
    assert scene.desk.taken == []


async def test_what_waits_leaves_in_frames_of_64_at_most() -> None:
    scene = Scene()
    await scene.calm()
    for number in range(1, 201):
        scene.stream.put(pb.ItemResult(sending_number=number), time.monotonic_ns())
    assert await scene.end() is None
    assert [len(frame.results) for frame in scene.call.written] == [0, 64, 64, 64, 8]
    assert [frame.frame_number for frame in scene.call.written] == [1, 2, 3, 4, 5]


async def test_go_away_leaves_with_the_last_of_what_waits() -> None:
    scene = Scene()
    await scene.calm()
    for number in range(1, 66):
        scene.stream.put(pb.ItemResult(sending_number=number), time.monotonic_ns())
    scene.stream.go_away("maintenance")
    assert await scene.end() is None
    said = [frame.go_away.reason for frame in scene.call.written if frame.HasField("go_away")]
    assert said == ["maintenance"]
    assert scene.call.written[-1].HasField("go_away")


async def test_a_stream_waits_for_what_is_in_flight_before_it_ends() -> None:
    scene = Scene()
    await scene.calm()
    scene.stream.begin()
    scene.call.unread.put_nowait(aio.EOF)
    await scene.calm()
    assert not scene.running.done()
    scene.stream.put(pb.ItemResult(sending_number=1), time.monotonic_ns())
    scene.stream.settle()
    await scene.running
    assert [result.sending_number for result in scene.call.written[-1].results] == [1]


async def test_a_node_that_hangs_starts_what_had_come_when_it_wakes() -> None:
    scene = Scene()
    await scene.calm()
    scene.desk.awake.clear()
    scene.put_items(1, 2)
    await scene.calm()
    assert scene.desk.taken == []
    scene.desk.awake.set()
    assert await scene.end() is None
    assert scene.desk.taken == [1, 2]


async def test_a_node_that_hangs_starts_nothing_of_a_link_that_was_superseded_meanwhile() -> None:
    scene = Scene()
    await scene.calm()
    scene.desk.awake.clear()
    scene.put_items(1)
    await scene.calm()
    scene.stream.end(STALE)
    scene.desk.awake.set()
    assert isinstance(await scene.end(), Aborted)
    assert scene.desk.taken == []


async def test_nothing_is_said_on_a_stream_that_has_ended() -> None:
    scene = Scene()
    await scene.end()
    scene.stream.put(pb.ItemResult(sending_number=1), time.monotonic_ns())
    assert all(not frame.results for frame in scene.call.written)


async def test_an_answer_says_how_long_the_item_was_held() -> None:
    scene = Scene()
    result = pb.ItemResult(sending_number=1)
    scene.stream.put(result, time.monotonic_ns() - 2_500_000_000)
    assert result.processing_duration.seconds == 2
    assert 500_000_000 <= result.processing_duration.nanos < 1_000_000_000
    await scene.end()
