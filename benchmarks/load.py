"""Closed-loop load over raw bytes: so that the generator costs little beside what it measures.

Requests are made and serialized before the clock starts. A closed loop keeps a fixed number of
requests outstanding; it says what a payment costs, not how long a terminal waits, which takes an
open loop.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from uuid import UUID

from grpc import aio

from payswitch.money.v1 import money_pb2
from payswitch.terminal.v1 import terminal_pb2

SERVICE = "/payswitch.terminal.v1.TerminalService"
FRAME = 64
_SEALED = bytes(range(256))[:160]
"""Of an envelope's usual length. The switch cannot tell, and these nodes do not open."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one run of load saw."""

    sent: int
    approved: int
    refused: dict[str, int]
    """By reason."""
    seconds: float


def request(index: int, processor: str, key_id: str) -> terminal_pb2.AuthorizeRequest:
    """Return a new payment of a few hundred terminals."""
    return terminal_pb2.AuthorizeRequest(
        request_id=_uuid7(),
        terminal_id=f"T{index % 400:05d}",
        kind=terminal_pb2.AUTHORIZATION_KIND_PURCHASE,
        amount=money_pb2.Money(amount_minor=1000 + index % 7000, currency="EUR"),
        bin="411111",
        last_four="1111",
        envelopes=[terminal_pb2.CardEnvelope(processor=processor, key_id=key_id, sealed=_SEALED)],
        entry_mode=terminal_pb2.ENTRY_MODE_CHIP,
        merchant_id=f"M{index % 100:04d}",
        merchant_category_code="5411",
        country="DE",
    )


async def unary(address: str, requests: list[bytes], outstanding: int) -> Result:
    """Keep ``outstanding`` unary calls open until all are answered."""
    queue = iter(requests)
    approved = 0
    refused: Counter[str] = Counter()
    async with aio.insecure_channel(address) as channel:
        call: aio.UnaryUnaryMultiCallable[bytes, bytes]
        call = channel.unary_unary(f"{SERVICE}/Authorize")
        await channel.channel_ready()

        async def one() -> None:
            nonlocal approved
            for raw in queue:
                try:
                    answer = terminal_pb2.AuthorizeResponse.FromString(await call(raw))
                except aio.AioRpcError as error:
                    refused[error.code().name] += 1
                else:
                    approved += answer.status == terminal_pb2.AUTHORIZATION_STATUS_APPROVED

        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(outstanding)))
        return Result(len(requests), approved, dict(refused), time.perf_counter() - began)


async def framed(address: str, frames: list[bytes], outstanding: int) -> Result:
    """Keep ``outstanding`` frames' worth of payments open until all are answered."""
    approved = answered = 0
    refused: Counter[str] = Counter()
    total = len(frames) * FRAME
    async with aio.insecure_channel(address) as channel:
        await channel.channel_ready()
        open_stream: aio.StreamStreamMultiCallable[bytes, bytes]
        open_stream = channel.stream_stream(f"{SERVICE}/AuthorizeStream")
        stream = open_stream()
        began = time.perf_counter()
        written = 0
        while answered < total:
            while written < len(frames) and written * FRAME - answered <= (outstanding - 1) * FRAME:
                await stream.write(frames[written])
                written += 1
            raw = await stream.read()
            if not isinstance(raw, bytes):
                raise RuntimeError(f"the stream ended: {await stream.details()}")
            for result in terminal_pb2.AuthorizeStreamResponse.FromString(raw).results:
                answered += 1
                if result.HasField("refusal"):
                    refused[result.refusal.reason] += 1
                else:
                    approved += result.response.status == terminal_pb2.AUTHORIZATION_STATUS_APPROVED
        seconds = time.perf_counter() - began
        await stream.done_writing()
        return Result(total, approved, dict(refused), seconds)


def _uuid7() -> str:
    at_ms = time.time_ns() // 1_000_000
    return str(
        UUID(
            int=at_ms << 80
            | 0x7 << 76
            | secrets.randbits(12) << 64
            | 0b10 << 62
            | secrets.randbits(62)
        )
    )


async def _main(argv: list[str]) -> None:
    mode, address, processor, key_id, count, outstanding = argv
    total = int(count)
    made = [request(i, processor, key_id) for i in range(total)]
    if mode == "unary":
        result = await unary(address, [r.SerializeToString() for r in made], int(outstanding))
    else:
        frames = [
            terminal_pb2.AuthorizeStreamRequest(requests=made[i : i + FRAME]).SerializeToString()
            for i in range(0, total - total % FRAME, FRAME)
        ]
        result = await framed(address, frames, int(outstanding))
    sys.stdout.write(json.dumps(asdict(result)) + "\n")


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
