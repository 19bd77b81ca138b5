"""One session of a link: a stream from its hello to its end, and what is in flight on it.

What the transport can know is little, and a session says exactly that much:

* an item whose frame was never passed to ``write()`` never left: NOT_SENT, for certain;
* an item whose frame was passed on may have arrived, whatever the transport says afterwards (twenty
  of twenty writes to a node that had been killed "succeeded"): LINK_LOST if the session ends before
  its answer.

One task reads and one writes. Two writes at once would end the call, and so would cancelling one:
the writer takes all that waits, up to a frame, and is not cancelled while it writes. While it
writes, the next frame gathers.

Nothing that was offered to a session outlives it: when it ends, all of it is settled in one go.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

import grpc

from payswitch.processor.v1 import processor_pb2
from switch.clock import Alarm, Clock
from switch.core.message import Disposition, NodeAnswer
from switch.core.sending import Sending
from switch.rpc.edge import Malformed
from switch.rpc.frame import BYTES_MAX, ITEMS_MAX, bytes_of, fill_item, read_result

if TYPE_CHECKING:
    Call = grpc.aio.StreamStreamCall[
        processor_pb2.LinkRequest, processor_pb2.LinkResponse | Malformed
    ]

CALL_ENDED = (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError)
"""What reading or writing a call raises when the call is over, or ends."""

ECHO_NUMBERS = 1 << 62
"""Sendings are numbered from 1 and echoes from here: the two never meet."""

_ECHOES_WANTED_MAX = 4


class Heard(Protocol):
    """Who hears what is not the answer to a sending in flight."""

    def echo_answered(self, node: str, /) -> None:
        """The node answered an echo."""
        ...

    def late_answer(self, node: str, answer: NodeAnswer, /) -> None:
        """The node answered something that is not in flight on this session."""
        ...


class LastFrame(NamedTuple):
    """The newest frame of a link: what is offered later is in a later one, or in none."""

    session: int
    frame_number: int


class Session:
    """One stream to one node, after both sides said hello."""

    __slots__ = (
        "_alarm",
        "_call",
        "_clock",
        "_echo_idle_s",
        "_echo_number",
        "_echoes_wanted",
        "_ended",
        "_frames_read",
        "_go_away",
        "_heard",
        "_in_flight",
        "_node",
        "_traffic_at",
        "_unwritten",
        "_wake",
        "draining",
        "last_frame",
    )

    def __init__(
        self,
        node: str,
        number: int,
        call: Call,
        heard: Heard,
        clock: Clock,
        echo_idle_s: float,
    ) -> None:
        """Begin after frame 1 of each side."""
        self.draining = False
        """One side said GoAway: nothing new is taken."""
        self.last_frame = LastFrame(number, 1)
        self._node = node
        self._call = call
        self._heard = heard
        self._clock = clock
        self._in_flight: dict[int, Sending] = {}
        """By number: what is unwritten, and what is written and unanswered."""
        self._unwritten: deque[Sending] = deque()
        """In order. What is not in flight any more is passed over."""
        self._frames_read = 1
        self._echoes_wanted = 0
        self._echo_number = ECHO_NUMBERS
        self._echo_idle_s = echo_idle_s
        self._traffic_at = clock.now()
        self._go_away = False
        self._ended = False
        self._wake = asyncio.Event()
        self._alarm: Alarm = clock.alarm(self._traffic_at + echo_idle_s, self._idle)

    # --- what is sent ------------------------------------------------------------------------

    def offer(self, sending: Sending) -> None:
        """Append; not to be called once draining."""
        self._in_flight[sending.number] = sending
        self._unwritten.append(sending)
        self._wake.set()

    def forget(self, sending: Sending) -> None:
        """Do not write it, or do not match its answer."""
        if self._in_flight.get(sending.number) is sending:
            del self._in_flight[sending.number]
            self._finish_if_drained()

    def take_back(self) -> list[Sending]:
        """Return what is unwritten; it is in flight no more."""
        taken = [s for s in self._unwritten if self._in_flight.get(s.number) is s]
        self._unwritten.clear()
        for sending in taken:
            del self._in_flight[sending.number]
        return taken

    def request_echo(self) -> None:
        """Send an echo with the next frame; few wait at a time."""
        self._echoes_wanted = min(self._echoes_wanted + 1, _ECHOES_WANTED_MAX)
        self._wake.set()

    def drain(self, timeout_s: float, *, say_so: bool) -> None:
        """Take nothing new; end when all is answered, at the latest after ``timeout_s``."""
        self.draining = True
        self._go_away = say_so
        self._alarm.cancel()
        self._alarm = self._clock.alarm(self._clock.now() + timeout_s, partial(cut, self._call))
        self._wake.set()

    def end(self) -> tuple[list[Sending], list[Sending]]:
        """End the stream; return what was not sent, and what was and has no answer."""
        self._ended = True
        self._alarm.cancel()
        self._call.cancel()
        self._wake.set()
        unsent = [s for s in self._in_flight.values() if not s.written]
        unanswered = [s for s in self._in_flight.values() if s.written]
        self._in_flight.clear()
        self._unwritten.clear()
        return unsent, unanswered

    # --- writing -----------------------------------------------------------------------------

    async def write(self) -> None:
        """Write frames until the session ends: the one writer."""
        try:
            while not (self._ended or self._call.done()):
                frame = self._next_frame()
                if frame is not None:
                    await self._call.write(frame)
                elif self.draining and not self._in_flight:
                    await self._call.done_writing()
                    return
                else:
                    self._wake.clear()
                    await self._wake.wait()
        except CALL_ENDED:
            pass  # the reader hears of it too, and it is the reader's to tell
        except asyncio.CancelledError:
            raise_if_cancelled()

    def _next_frame(self) -> processor_pb2.LinkRequest | None:
        """Make a frame of what waits, and count it as written: its write must come next."""
        frame = processor_pb2.LinkRequest()
        if self.draining:
            if not self._go_away:
                return None
            self._go_away = False
            frame.go_away.reason = "the switch closes this link"
            return self._numbered(frame)
        now = self._clock.now()
        items = frame.items
        count = size = 0
        while self._echoes_wanted and count < ITEMS_MAX:
            self._echoes_wanted -= 1
            self._echo_number += 1
            items.add(sending_number=self._echo_number).echo.SetInParent()
            count += 1
        unwritten, in_flight = self._unwritten, self._in_flight
        while unwritten and count < ITEMS_MAX:
            sending = unwritten[0]
            time_to_live_s = sending.deadline_at - now
            # Forgotten, or past its deadline: whoever sent it gives it up about now.
            if in_flight.get(sending.number) is not sending or time_to_live_s <= 0:
                unwritten.popleft()
                continue
            size += bytes_of(sending.message)
            if size > BYTES_MAX:
                break
            unwritten.popleft()
            fill_item(items.add(), sending.number, sending.message, time_to_live_s)
            sending.written = True
            count += 1
        return self._numbered(frame) if count else None

    def _numbered(self, frame: processor_pb2.LinkRequest) -> processor_pb2.LinkRequest:
        session, number = self.last_frame
        self.last_frame = LastFrame(session, number + 1)
        frame.frame_number = number + 1
        self._traffic_at = self._clock.now()
        return frame

    def _idle(self) -> None:
        """Send an echo if nothing else was sent or heard for a while."""
        now = self._clock.now()
        due_at = self._traffic_at + self._echo_idle_s
        if now >= due_at:
            self.request_echo()
            due_at = now + self._echo_idle_s
        self._alarm = self._clock.alarm(due_at, self._idle)

    def _finish_if_drained(self) -> None:
        if self.draining and not self._in_flight:
            self._wake.set()

    # --- reading -----------------------------------------------------------------------------

    async def read(self) -> tuple[bool, str]:
        """Read until something is to be done: whether it is GoAway, and else why it ended."""
        while True:
            frame = await self._call.read()
            if frame is grpc.aio.EOF:
                return False, "the node ended the stream"
            if isinstance(frame, Malformed):
                return False, "the node sent a frame that cannot be read"
            assert isinstance(frame, processor_pb2.LinkResponse)
            if frame.frame_number != self._frames_read + 1:
                return False, "the node's frame numbers have a gap"
            self._frames_read += 1
            self._traffic_at = self._clock.now()
            for result in frame.results:
                self._take(result)
            self._finish_if_drained()
            if frame.HasField("go_away"):
                return True, ""

    def _take(self, result: processor_pb2.ItemResult) -> None:
        answer = read_result(result)
        number = answer.sending_number
        sending = self._in_flight.get(number)
        if sending is not None and sending.written:
            del self._in_flight[number]
            if answer.reference != sending.message.reference:
                # An answer to something else, or to nothing: what became of ours is not known.
                answer.disposition = Disposition.UNREADABLE
            sending.settle(sending, answer)
        elif number > ECHO_NUMBERS:
            self._heard.echo_answered(self._node)
        else:
            self._heard.late_answer(self._node, answer)


def cut(call: Call) -> None:
    """End a call from here; whoever reads it is raised a CancelledError."""
    call.cancel()


def raise_if_cancelled() -> None:
    """Raise CancelledError if the running task was cancelled.

    grpc raises CancelledError for a call that was cancelled here, too; that one has ended the call,
    and not the task that learns of it.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
