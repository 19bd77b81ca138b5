"""Many payments over one stream of frames.

One writer task takes all that waits, so the frame being written is the window in which the next
one fills: no timer. One reader task hands out the answers. When the stream ends, whatever is open
on it fails, and who sent it sends it again under the same request_id over the next stream; here
nothing is repeated.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

import grpc

from clients.terminal.failure import CallFailed, failure_of_error, failure_of_refusal, unanswered
from payswitch.terminal.v1 import terminal_pb2 as wire

if TYPE_CHECKING:
    from payswitch.terminal.v1.terminal_pb2_grpc import TerminalServiceAsyncStub

ITEMS_MAX = 64
"""Payments in a frame; the protocol's bound."""
FRAME_BYTES_MAX = 128 * 1024
_ITEM_OVERHEAD = 5  # the field's tag and the length before each item
_FAREWELL_S = 5.0


class _Call(Protocol):
    """What we use of a bidirectional call."""

    async def read(self) -> object: ...
    async def write(self, request: wire.AuthorizeStreamRequest) -> None: ...
    async def done_writing(self) -> None: ...
    def cancel(self) -> bool: ...


@dataclass(slots=True, eq=False)
class _Item:
    request: wire.AuthorizeRequest
    answer: asyncio.Future[wire.AuthorizeResponse]
    written_at: float | None = None
    """When its frame was handed to the transport; None: it never left."""


def _contents(request: wire.AuthorizeRequest) -> tuple[object, ...]:
    return (
        request.terminal_id,
        request.kind,
        request.amount.amount_minor,
        request.amount.currency,
        request.bin,
        request.last_four,
        request.merchant_id,
    )


@dataclass(slots=True, eq=False)
class _Stream:
    """One AuthorizeStream, from its first frame to its end."""

    call: _Call
    waiting: deque[_Item] = field(default_factory=deque)
    open: dict[str, deque[_Item]] = field(default_factory=dict)
    """By request_id: all that is unanswered, waiting or written. Repeats of one id queue up."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    heard_at: float = 0.0
    ended: CallFailed | None = None
    closing: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        """Begin to write and to read."""
        self.tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._read())]

    async def send(
        self, request: wire.AuthorizeRequest, timeout_s: float
    ) -> wire.AuthorizeResponse:
        """Send once and return the answer. Raises CallFailed."""
        if self.ended is not None:
            raise _ended(self.ended, written=False)
        loop = asyncio.get_running_loop()
        twins = self.open.setdefault(request.request_id, deque())
        if twins and _contents(twins[0].request) != _contents(request):
            # Answers are matched by request_id: these two could not be told apart.
            raise ValueError(f"{request.request_id} is in flight with other contents")
        item = _Item(request, loop.create_future())
        twins.append(item)
        self.waiting.append(item)
        self.wake.set()
        alarm = loop.call_later(timeout_s, self._expire, item)
        try:
            return await item.answer
        finally:
            alarm.cancel()
            self._forget(item)

    async def close(self) -> None:
        """Half-close, and wait a while for what is open."""
        self.closing = True
        self.wake.set()
        _, late = await asyncio.wait(self.tasks, timeout=_FAREWELL_S)
        if late:
            self._end(unanswered("CANCELLED", "the terminal hung up", may_have_acted=True))
            self.call.cancel()
            await asyncio.wait(self.tasks)

    def _take(self) -> tuple[wire.AuthorizeStreamRequest, list[_Item]]:
        """Take all that waits, up to the bounds of a frame. Items nobody waits for are dropped."""
        frame, items, size = wire.AuthorizeStreamRequest(), list[_Item](), 0
        while self.waiting and len(items) < ITEMS_MAX:
            item = self.waiting[0]
            if not item.answer.done():
                size += item.request.ByteSize() + _ITEM_OVERHEAD
                if items and size > FRAME_BYTES_MAX:
                    break
                items.append(item)
            self.waiting.popleft()
        frame.requests.extend(item.request for item in items)
        return frame, items

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self.ended is None:
                frame, items = self._take()
                if items:
                    now = loop.time()
                    for item in items:
                        item.written_at = now
                    await self.call.write(frame)
                elif self.closing:
                    await self.call.done_writing()
                    return
                else:
                    self.wake.clear()
                    await self.wake.wait()
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
            pass  # The stream is over, and the reader is told why.
        except asyncio.CancelledError:
            # Our own cancelling of the call comes back this way too, after _end.
            if self.ended is None:
                raise

    async def _read(self) -> None:
        why = unanswered("UNAVAILABLE", "the stream ended", may_have_acted=True)
        loop = asyncio.get_running_loop()
        try:
            while (frame := await self.call.read()) is not grpc.aio.EOF:
                self.heard_at = loop.time()
                for result in cast(wire.AuthorizeStreamResponse, frame).results:
                    self._settle(result)
        except grpc.aio.AioRpcError as error:
            why = failure_of_error(error)
        except asyncio.CancelledError:
            if self.ended is None:
                raise
        finally:
            self._end(why)

    def _settle(self, result: wire.AuthorizeResult) -> None:
        if not result.request_id:
            # A frame of ours could not be read, and which one is not said.
            self._end(unanswered("UNAVAILABLE", result.refusal.message, may_have_acted=True))
            self.call.cancel()
            return
        twins = self.open.get(result.request_id, ())
        item = next((twin for twin in twins if not twin.answer.done()), None)
        if item is None:
            return  # Its terminal waits no more, or was answered by an earlier send's answer.
        if result.HasField("response"):
            item.answer.set_result(result.response)
        else:
            item.answer.set_exception(failure_of_refusal(result.refusal))

    def _expire(self, item: _Item) -> None:
        if item.answer.done():
            return
        written = item.written_at is not None
        item.answer.set_exception(
            unanswered("DEADLINE_EXCEEDED", "no answer in time", may_have_acted=written)
        )
        if item.written_at is not None and self.heard_at < item.written_at and not self.closing:
            # Nothing at all has come back since: the peer is silent, and the next send deserves a
            # stream that is known to be new.
            self._end(unanswered("UNAVAILABLE", "the stream fell silent", may_have_acted=True))
            self.call.cancel()

    def _forget(self, item: _Item) -> None:
        twins = self.open.get(item.request.request_id)
        if twins is not None and item in twins:
            twins.remove(item)
            if not twins:
                del self.open[item.request.request_id]
        if not item.answer.done():
            item.answer.cancel()

    def _end(self, why: CallFailed) -> None:
        if self.ended is not None:
            return
        self.ended = why
        self.wake.set()
        for twins in self.open.values():
            for item in twins:
                if not item.answer.done():
                    item.answer.set_exception(_ended(why, written=item.written_at is not None))


def _ended(why: CallFailed, *, written: bool) -> CallFailed:
    """Return the stream's end as it concerns one item: what never left cannot have acted."""
    return CallFailed(
        why.status,
        why.reason,
        why.message,
        why.fields,
        retry_after_s=why.retry_after_s,
        may_have_acted=written,
    )


class FramedCalls:
    """Sends payments over one stream, and over a new one when that has ended."""

    def __init__(self, stub: TerminalServiceAsyncStub, grace_s: float) -> None:
        self._stub = stub
        self._grace_s = grace_s
        self._stream: _Stream | None = None

    async def send(
        self, request: wire.AuthorizeRequest, timeout_s: float
    ) -> wire.AuthorizeResponse:
        """Send once and return the answer. Raises CallFailed."""
        if self._stream is None or self._stream.ended is not None:
            self._stream = _Stream(cast(_Call, self._stub.AuthorizeStream()))
            self._stream.start()
        return await self._stream.send(request, timeout_s + self._grace_s)

    async def close(self) -> None:
        """End the stream after its last answer."""
        if self._stream is not None:
            await self._stream.close()
            self._stream = None
