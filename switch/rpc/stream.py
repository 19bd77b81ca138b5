"""One terminal's stream of frames: read what comes, answer what is known, in frames.

Two loops. The reader takes a frame, checks all of it, answers at once what breaks a rule and hands
the rest over in one call. The writer takes all answers that wait and writes them as one frame;
while a frame is being written the next one gathers, so there is no timer. The writer is the call
itself: when it returns the stream is over, and it returns after the last answer.

What a terminal may leave unanswered is bounded: beyond the bound nothing is read, and the transport
pushes back on the terminal. The outbox holds answers to what was read, so the bound holds for it.

When the terminal leaves, the call is cancelled, and with it nothing else: payments go on, and their
answers find the stream closed. The call's context must not be touched after the call has ended:
gRPC frees what is behind it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import grpc

from payswitch.terminal.v1 import terminal_pb2
from switch.clock import Clock
from switch.core.message import Answer, AuthorizationRequest, Refused, Reply
from switch.rpc.edge import Context, Malformed, Spawn, own, refuse
from switch.rpc.response import authorize_response
from switch.rpc.status import refusal
from switch.rpc.validation import Rejected, Rules, Violation

FRAME_ITEMS_MAX = 64
_ECHOED_ID_MAX = 64
"""An id that breaks the rules comes back as it was sent, to be matched; but no more of it."""

_WRONG_COUNT = Rejected(
    Refused("FIELD_INVALID", f"A frame has 1 to {FRAME_ITEMS_MAX} requests."),
    (Violation("requests", f"1 to {FRAME_ITEMS_MAX}"),),
)
SHUTTING_DOWN = Refused("SHUTTING_DOWN", "")

Accept = Callable[[Sequence[AuthorizationRequest], Reply], None]


class PaymentStream:
    """One AuthorizeStream call."""

    __slots__ = (
        "_accept",
        "_clock",
        "_closed",
        "_context",
        "_finishing",
        "_outbox",
        "_reading",
        "_room",
        "_rules",
        "_unanswered",
        "_unanswered_max",
        "_wake",
    )

    def __init__(
        self, context: Context, rules: Rules, clock: Clock, accept: Accept, unanswered_max: int
    ) -> None:
        self._context = context
        self._rules = rules
        self._clock = clock
        self._accept = accept
        self._unanswered_max = unanswered_max
        self._outbox: deque[terminal_pb2.AuthorizeResult | tuple[str, Answer | Refused]] = deque()
        self._unanswered = 0
        self._reading: asyncio.Future[None] | None = None
        self._finishing = False
        self._closed = False
        self._wake = asyncio.Event()
        self._room = asyncio.Event()

    async def run(self, spawn: Spawn) -> None:
        """Serve the stream until its last answer is written."""
        self._reading = own(spawn, self._read(), "terminal stream")
        self._reading.add_done_callback(self._reader_ended)
        try:
            await self._write(self._reading)
        finally:
            self._closed = True
            self._room.set()

    def finish(self) -> None:
        """Read no more; end the stream with SHUTTING_DOWN after the last answer."""
        self._finishing = True
        self._room.set()
        self._wake.set()

    # --- reading -----------------------------------------------------------------------------

    async def _read(self) -> None:
        while not (self._closed or self._finishing):
            if self._unanswered >= self._unanswered_max:
                self._room.clear()
                await self._room.wait()
                continue
            frame = await self._context.read()
            if frame is grpc.aio.EOF:
                return
            self._take(frame)

    def _take(self, frame: terminal_pb2.AuthorizeStreamRequest | Malformed) -> None:
        if isinstance(frame, Malformed):
            self._refuse_frame(Rejected(frame.refused))
            return
        requests = frame.requests
        count = len(requests)
        if not 1 <= count <= FRAME_ITEMS_MAX:
            self._refuse_frame(_WRONG_COUNT)
            return
        self._unanswered += count
        utc_ms = self._clock.utc_ms()
        remaining_s = self._context.time_remaining()
        accepted: list[AuthorizationRequest] = []
        for message in requests:
            checked = self._rules.authorize(message, utc_ms, remaining_s)
            if type(checked) is AuthorizationRequest:
                accepted.append(checked)
            else:
                assert isinstance(checked, Rejected)
                self._outbox.append(_refused(message.request_id[:_ECHOED_ID_MAX], checked))
        if self._outbox:
            self._wake.set()
        if accepted:
            self._accept(accepted, self._reply)

    def _refuse_frame(self, rejected: Rejected) -> None:
        self._unanswered += 1
        self._outbox.append(_refused("", rejected))
        self._wake.set()

    def _reader_ended(self, reading: asyncio.Future[None]) -> None:
        # Look at the fault, so that nobody is warned of one that is never looked at: the writer
        # raises it, unless the terminal has left.
        if not reading.cancelled():
            reading.exception()
        self._wake.set()

    # --- answering ---------------------------------------------------------------------------

    def _reply(self, request: AuthorizationRequest, outcome: Answer | Refused) -> None:
        if not self._closed:
            self._outbox.append((request.request_id, outcome))
            self._wake.set()

    async def _write(self, reading: asyncio.Future[None]) -> None:
        while True:
            if self._outbox:
                await self._context.write(self._next_frame())
            elif reading.done() and (self._unanswered == 0 or reading.exception() is not None):
                return reading.result()
            elif self._finishing and self._unanswered == 0:
                await refuse(self._context, SHUTTING_DOWN)
            else:
                self._wake.clear()
                await self._wake.wait()

    def _next_frame(self) -> terminal_pb2.AuthorizeStreamResponse:
        frame = terminal_pb2.AuthorizeStreamResponse()
        results = frame.results
        outbox = self._outbox
        count = min(len(outbox), FRAME_ITEMS_MAX)
        for _ in range(count):
            item = outbox.popleft()
            if isinstance(item, tuple):
                request_id, outcome = item
                result = results.add(request_id=request_id)
                if isinstance(outcome, Answer):
                    authorize_response(result.response, request_id, outcome)
                else:
                    result.refusal.CopyFrom(refusal(outcome))
            else:
                results.append(item)
        self._unanswered -= count
        if self._unanswered < self._unanswered_max:
            self._room.set()
        return frame


def _refused(request_id: str, rejected: Rejected) -> terminal_pb2.AuthorizeResult:
    return terminal_pb2.AuthorizeResult(request_id=request_id, refusal=refusal(*rejected))
