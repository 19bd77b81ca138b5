"""Nodes that do as a test tells them, and what the links are tested with.

Run as a program it is a node in a process of its own, which a test may kill: it prints its port,
and then says what it reads, one line a frame.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import grpc
from grpc_health.v1 import health_pb2_grpc  # type: ignore[import-untyped] # it has no stubs

from payswitch.processor.v1 import processor_pb2, processor_pb2_grpc
from switch.clock import SystemClock
from switch.core.message import (
    Authorization,
    AuthorizationRequest,
    Envelope,
    Event,
    Inquiry,
    Kind,
    Message,
    NodeAnswer,
    PaymentKey,
    Reversal,
    ReversalReason,
    Unanswered,
)
from switch.core.money import Money
from switch.core.routing import NodeSettings, Permit
from switch.core.sending import Sending
from switch.rpc.health import HealthServicer

LEDGER = "ledger-a"


class ScriptedLink:
    """One Link stream, seen from the node."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.frames: list[processor_pb2.LinkRequest] = []
        self.half_closed = False
        self.ended = asyncio.Event()
        self.status: tuple[grpc.StatusCode, str] | None = None
        self._number = 1

    @property
    def items(self) -> list[processor_pb2.Item]:
        return [item for frame in self.frames for item in frame.items]

    async def say(self, **fields: Any) -> None:
        """Write the next frame."""
        self._number += 1
        await self.context.write(processor_pb2.LinkResponse(frame_number=self._number, **fields))

    async def answer(self, items: list[processor_pb2.Item], **fields: Any) -> None:
        """Answer items as processed, or as ``fields`` say."""
        await self.say(results=[result_of(item, **fields) for item in items])

    def end(self, code: grpc.StatusCode = grpc.StatusCode.OK, details: str = "") -> None:
        """End the stream."""
        self.status = (code, details)
        self.ended.set()


def result_of(item: processor_pb2.Item, **fields: Any) -> processor_pb2.ItemResult:
    message = item.WhichOneof("message")
    assert message is not None
    told: dict[str, Any] = {
        "sending_number": item.sending_number,
        "reference": getattr(getattr(item, message), "reference", b""),
        "disposition": processor_pb2.DISPOSITION_PROCESSED,
        "response_code": "00",
        "approved_amount_minor": 1250,
        "authorization_code": "A1B2C3",
        "processing_duration": {"nanos": 12_500_000},
    }
    return processor_pb2.ItemResult(**(told | fields))


class ScriptedNode(processor_pb2_grpc.NodeServiceServicer):
    """A node whose every word a test chooses."""

    def __init__(self, ledger: str = LEDGER) -> None:
        self.hello_back: bytes | None = processor_pb2.LinkResponse(
            frame_number=1,
            hello_back=processor_pb2.HelloBack(ledger=ledger, accepts_repeat=True),
        ).SerializeToString()
        """What it says first; None: nothing, ever."""
        self.links: list[ScriptedLink] = []
        self.echoes = True
        self.read_nothing_more = False
        """Read the hello, and leave the rest in the buffers."""
        self.health: HealthServicer | None = HealthServicer()
        self.health.set("", True)
        self.port = 0
        self._server: grpc.aio.Server | None = None

    @property
    def link(self) -> ScriptedLink:
        return self.links[-1]

    async def Link(self, request_iterator: object, context: Any) -> None:  # type: ignore[override] # reader and writer
        link = ScriptedLink(context)
        self.links.append(link)
        reading = asyncio.create_task(self._read(link))
        try:
            await link.ended.wait()
        finally:
            reading.cancel()
        assert link.status is not None
        code, details = link.status
        if code is not grpc.StatusCode.OK:
            await context.abort(code, details)

    async def _read(self, link: ScriptedLink) -> None:
        while True:
            frame = await link.context.read()
            if frame is grpc.aio.EOF:
                link.half_closed = True
                link.end()
                return
            link.frames.append(frame)
            if len(link.frames) == 1 and self.hello_back is not None:
                await link.context.write(Raw(self.hello_back))
            if self.read_nothing_more:
                return
            echoes = [item for item in frame.items if item.HasField("echo")]
            if echoes and self.echoes:
                await link.answer(echoes, response_code="", approved_amount_minor=0)

    async def start(self, port: int = 0) -> int:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        handler = grpc.stream_stream_rpc_method_handler(
            self.Link,
            request_deserializer=processor_pb2.LinkRequest.FromString,
            response_serializer=serialize,
        )
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    "payswitch.processor.v1.NodeService", {"Link": handler}
                ),
            )
        )
        if self.health is not None:
            health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        await self._server.start()
        return self.port

    async def stop(self) -> None:
        for link in self.links:
            if not link.ended.is_set():
                link.end()
        if self._server is not None:
            await self._server.stop(None)


class Raw(bytes):
    """Bytes that are written as they are."""


def serialize(message: Any) -> bytes:
    return bytes(message) if isinstance(message, Raw) else message.SerializeToString()


class RecordingObserver:
    """Writes down what the links tell, in order, with what was settled between."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def of(self, *names: str) -> list[tuple[Any, ...]]:
        return [event for event in self.events if event[0] in names]

    def link_ready(self, node: str, accepts_repeat: bool) -> None:
        self.events.append(("ready", node, accepts_repeat))

    def link_refused(self, node: str, why: str) -> None:
        self.events.append(("refused", node, why))

    def link_draining(self, node: str) -> None:
        self.events.append(("draining", node))

    def link_lost(self, node: str, why: str) -> None:
        self.events.append(("lost", node, why))

    def echo_answered(self, node: str) -> None:
        self.events.append(("echo", node))

    def health_checked(self, node: str, ok: bool) -> None:
        self.events.append(("health", node, ok))

    def late_answer(self, node: str, answer: NodeAnswer) -> None:
        self.events.append(("late", node, answer))

    def settled(self, sending: Sending, event: Event) -> None:
        self.events.append(("settled", sending.number, event))

    def settlements(self) -> dict[int, list[Event]]:
        found: dict[int, list[Event]] = {}
        for _, number, event in self.of("settled"):
            found.setdefault(number, []).append(event)
        return found

    def classes(self) -> dict[int, str]:
        """Return what each sending was settled as; each once."""
        found = {}
        for number, events in self.settlements().items():
            [event] = events
            found[number] = event.name if isinstance(event, Unanswered) else "ANSWER"
        return found


def node_settings(name: str, port: int, ledger: str = LEDGER) -> NodeSettings:
    return NodeSettings(name=name, processor="alpha", ledger=ledger, address=f"127.0.0.1:{port}")


class Sendings:
    """Makes sendings to one node, numbered from 1."""

    def __init__(
        self, observer: RecordingObserver, node: str = "alpha-1", timeout_s: float = 30.0
    ) -> None:
        self._observer = observer
        self._permit = cast(
            "Permit", SimpleNamespace(node=SimpleNamespace(settings=node_settings(node, 1)))
        )
        self._timeout_s = timeout_s
        self._number = 0

    def make(self, message: Message | None = None, timeout_s: float | None = None) -> Sending:
        self._number += 1
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        return Sending(
            number=self._number,
            message=message or authorization(self._number),
            permit=self._permit,
            deadline_at=SystemClock().now() + timeout_s,
            settle=self._observer.settled,
            heard=cast("Callable[..., None]", None),
        )


def authorization(number: int = 1, sealed: bytes = bytes(120), **changes: Any) -> Authorization:
    fields: dict[str, Any] = {
        "key": PaymentKey("T-0001", number.to_bytes(16, "big")),
        "request_id": "01a3185c-5000-7123-8123-456789abcdef",
        "kind": Kind.PURCHASE,
        "amount": Money(1250, "EUR"),
        "bin": "411111",
        "last_four": "1111",
        "envelopes": {},
        "entry_mode": 2,
        "merchant_id": "M-0042",
        "merchant_category_code": "5411",
        "country": "DE",
        "terminal_time_ms": 0,
        "accepts_partial": True,
        "timeout_s": 3.0,
        "fingerprint": bytes(16),
    }
    return Authorization(
        reference=number.to_bytes(16, "big"),
        request=AuthorizationRequest(**(fields | changes)),
        envelope=Envelope("alpha-key", sealed),
        repeat=False,
        stan="000001",
        retrieval_reference_number="123456000001",
    )


def reversal(number: int = 1, *, full: bool = True) -> Reversal:
    reference = number.to_bytes(16, "big")
    return Reversal(
        reference, reference[::-1], True, full, Money(300, "EUR"), ReversalReason.TIMED_OUT
    )


def inquiry(number: int = 1) -> Inquiry:
    return Inquiry(number.to_bytes(16, "big"))


async def main() -> None:
    """Be a node: say hello and what was read, and answer nothing."""
    node = ScriptedNode()
    print(await node.start(int(sys.argv[1])), flush=True)  # noqa: T201 # the test reads it
    told = 0
    while True:
        await asyncio.sleep(0.005)
        frames = [frame for link in node.links for frame in link.frames]
        for frame in frames[told:]:
            print(len(frame.items), flush=True)  # noqa: T201 # the test reads it
        told = len(frames)


if __name__ == "__main__":
    asyncio.run(main())
