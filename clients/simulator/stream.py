"""One link of a switch, as the node sees it.

A reader takes frames in their order and hands each item on at once; a writer sends all that is
ready as one frame. Between them lies the count of what is in flight, which decides when a stream
that takes no more items may end.

    opening     Hello is awaited
    open        items are taken
    leaving     one side said GoAway, or the switch has half-closed: what is in flight is finished;
                what still comes is answered NOT_PROCESSED
    ended       nothing is started or said any more
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, NamedTuple, Protocol

import grpc
from grpc import aio

from clients.simulator.session import Link
from payswitch.processor.v1 import processor_pb2 as pb

FRAME_ITEMS_MAX = 64
LINGER_S = 0.5
"""After our GoAway: how long we wait for the switch's, for items may be on their way."""
STALE_SESSION = "STALE_SESSION"

Context = aio.ServicerContext[pb.LinkRequest, pb.LinkResponse]


class Ending(Exception):
    """Why a stream is ended with an error."""

    def __init__(self, status: grpc.StatusCode, reason: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason
        self.text = text


class Place(NamedTuple):
    """Where an item stood, and when it was read."""

    frame_number: int
    read_ns: int


class Desk(Protocol):
    """What a stream needs of its node."""

    async def admit(self, stream: Stream, hello: pb.Hello) -> pb.HelloBack:
        """Let the stream in; raise Ending where it may not."""
        ...

    async def before_frame(self) -> None:
        """Return when a frame may be looked at."""
        ...

    def take(self, stream: Stream, item: pb.Item, place: Place) -> None:
        """Start an item, or answer why not."""
        ...


class Stream:
    """One Link call."""

    def __init__(self, desk: Desk) -> None:
        self.switch_id = ""
        self.link: Link = (0, 0)
        self.signed_on = False
        self._desk = desk
        self._outbox: deque[pb.ItemResult] = deque()
        self._go_away: str | None = None
        self._frame_number = 0
        self._in_flight = 0
        self._leaving = False
        self._may_end = False
        self._ended = False
        self._ending: Ending | None = None
        self._wake = asyncio.Event()

    async def run(self, context: Context) -> None:
        """Serve the call to its end."""
        reader = asyncio.create_task(self._read(context))
        try:
            await self._write(context)
        finally:
            self._ended = True
            reader.cancel()
        if self._ending is not None:
            await _abort(context, self._ending)

    def is_taking(self) -> bool:
        """Tell whether new items may be started."""
        return not self._leaving

    def begin(self) -> None:
        """Count an item as in flight."""
        self._in_flight += 1

    def settle(self) -> None:
        """Count an item as answered, or as one that never will be."""
        self._in_flight -= 1
        self._wake.set()

    def put(self, result: pb.ItemResult, read_ns: int) -> None:
        """Say a result in the next frame."""
        if self._ended:
            return
        elapsed_ns = time.monotonic_ns() - read_ns
        duration = result.processing_duration
        if elapsed_ns < 1_000_000_000:
            duration.nanos = elapsed_ns
        else:
            duration.seconds, duration.nanos = divmod(elapsed_ns, 1_000_000_000)
        self._outbox.append(result)
        self._wake.set()

    def go_away(self, reason: str) -> None:
        """Take no more items; end when what is in flight is answered."""
        if not self._leaving:
            self._leaving = True
            self._go_away = reason
            self._wake.set()
            asyncio.get_running_loop().call_later(LINGER_S, self._allow_end)

    def end(self, ending: Ending) -> None:
        """Start nothing more, say what is ready, and end with an error."""
        self._leaving = True
        self._ending = self._ending or ending
        self._wake.set()

    # -- reading

    async def _read(self, context: Context) -> None:
        try:
            await self._read_frames(context)
        except Ending as ending:
            self.end(ending)

    async def _read_frames(self, context: Context) -> None:
        expected = 1
        while (request := await _next(context)) is not None:
            read_ns = time.monotonic_ns()
            await self._desk.before_frame()
            if self._ending is not None:
                return
            _check_frame(request, expected)
            if expected == 1:
                await self._greet(context, request)
            else:
                place = Place(request.frame_number, read_ns)
                for item in request.items:
                    self._desk.take(self, item, place)
                if request.HasField("go_away"):
                    self._stop_taking()
            expected += 1
        self._stop_taking()

    async def _greet(self, context: Context, request: pb.LinkRequest) -> None:
        hello = request.hello
        self.switch_id = hello.switch_id
        self.link = (hello.epoch, hello.session)
        hello_back = await self._desk.admit(self, hello)
        if self._ending is None:
            self._frame_number = 1
            await context.write(pb.LinkResponse(frame_number=1, hello_back=hello_back))

    def _stop_taking(self) -> None:
        self._leaving = True
        self._allow_end()

    def _allow_end(self) -> None:
        self._may_end = True
        self._wake.set()

    # -- writing

    async def _write(self, context: Context) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._frame_number == 0 and self._ending is None and not self._may_end:
                continue
            while self._outbox or self._go_away is not None:
                await context.write(self._next_frame())
            if self._ending is not None or (self._may_end and self._in_flight == 0):
                return

    def _next_frame(self) -> pb.LinkResponse:
        outbox = self._outbox
        self._frame_number += 1
        frame = pb.LinkResponse(
            frame_number=self._frame_number,
            results=[outbox.popleft() for _ in range(min(len(outbox), FRAME_ITEMS_MAX))],
        )
        if self._go_away is not None and not outbox:
            frame.go_away.reason = self._go_away
            self._go_away = None
        return frame


async def _next(context: Context) -> pb.LinkRequest | None:
    """Read one frame; None where the switch has half-closed."""
    request: object = await context.read()
    return request if isinstance(request, pb.LinkRequest) else None


def _check_frame(request: pb.LinkRequest, expected: int) -> None:
    """Hold a frame against the rules of the stream."""
    fault = ""
    if request.frame_number != expected:
        fault = f"frame {request.frame_number} where {expected} was due"
    elif request.HasField("hello") != (expected == 1):
        fault = "the first frame, and no other, says Hello"
    elif expected == 1 and (request.items or request.HasField("go_away")):
        fault = "the first frame says Hello and nothing else"
    elif len(request.items) > FRAME_ITEMS_MAX:
        fault = f"a frame has at most {FRAME_ITEMS_MAX} items"
    if fault:
        raise Ending(grpc.StatusCode.INVALID_ARGUMENT, "FRAME_INVALID", fault)


async def _abort(context: Context, ending: Ending) -> None:
    """End the call with a status that programs can read as well."""
    from google.protobuf import any_pb2
    from google.rpc import error_details_pb2, status_pb2

    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=ending.reason, domain="payswitch"))
    code: Any = ending.status.value
    text = f"{ending.reason}: {ending.text}"
    status = status_pb2.Status(code=code[0], message=text, details=[detail])
    trailing = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(ending.status, text, trailing)
