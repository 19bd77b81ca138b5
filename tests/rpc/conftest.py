"""What the tests of the wire share: owned tasks, a story that does as it is told, real servers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, cast

import grpc
import pytest

from payswitch.money.v1 import money_pb2
from payswitch.terminal.v1 import terminal_pb2, terminal_pb2_grpc
from switch.clock import SystemClock
from switch.core.message import (
    Answer,
    AuthorizationRequest,
    PaymentKey,
    Refused,
    Reply,
    ReversalAnswer,
    ReversalRequest,
    ReversalStatus,
    StoredPayment,
)
from switch.core.money import Money
from switch.core.processor import CardKey
from switch.rpc.health import HealthServicer
from switch.rpc.server import Port, PortSettings, terminal_port
from switch.rpc.terminal import TerminalServicer, TerminalSettings
from switch.rpc.transport import ServerSecurity
from switch.rpc.validation import Rules, ValidationSettings

PLAIN = ServerSecurity(insecure=True)


class Supervisor:
    """Owns tasks as the application does, and keeps what went wrong in them."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self.faults: list[BaseException] = []

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self.faults.append(fault)

    async def cancel(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class Faults:
    """What the servicer edge reported."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, BaseException]] = []

    def report(self, where: str, fault: BaseException) -> None:
        self.seen.append((where, fault))


def approval(request: AuthorizationRequest) -> Answer:
    return Answer(
        approved=True,
        response_code="00",
        approved_amount=request.amount,
        authorization_code="A1B2C3",
        processor="alpha",
        retrieval_reference_number="123456000001",
        replayed=False,
        reversal=ReversalStatus.NONE,
        reversed_amount=request.amount.nothing(),
        processing_s=0.0125,
    )


class FakeStory:
    """Answers at once, unless a test holds it."""

    def __init__(self) -> None:
        self.frames: list[list[AuthorizationRequest]] = []
        self.waiting: list[tuple[AuthorizationRequest, Reply]] = []
        self.held = False
        self.fault: BaseException | None = None
        self.outcome: Callable[[AuthorizationRequest], Answer | Refused] = approval
        self.reversals: list[ReversalRequest] = []
        self.reversal_outcome: ReversalAnswer | Refused = ReversalAnswer(
            ReversalStatus.OWED, Money(1250, "EUR"), replayed=False, original_known=True
        )
        self.gate = asyncio.Event()
        self.gate.set()
        self.reversed = asyncio.Event()
        self.found: StoredPayment | Refused = Refused("PAYMENT_UNKNOWN", "")
        self.keys: list[CardKey] = []

    @property
    def accepted(self) -> list[AuthorizationRequest]:
        return [request for frame in self.frames for request in frame]

    def accept(self, requests: Sequence[AuthorizationRequest], reply: Reply) -> None:
        if self.fault is not None:
            raise self.fault
        self.frames.append(list(requests))
        self.waiting += [(request, reply) for request in requests]
        if not self.held:
            asyncio.get_running_loop().call_soon(self.answer_all)

    def answer_all(self) -> None:
        waiting, self.waiting = self.waiting, []
        for request, reply in waiting:
            reply(request, self.outcome(request))

    async def reverse(self, request: ReversalRequest) -> ReversalAnswer | Refused:
        if self.fault is not None:
            raise self.fault
        self.reversals.append(request)
        await self.gate.wait()
        self.reversed.set()
        return self.reversal_outcome

    async def find(self, key: PaymentKey) -> StoredPayment | Refused:
        await self.gate.wait()
        return self.found

    def card_keys(self, bin_digits: str, merchant_id: str, currency: str) -> list[CardKey]:
        return self.keys


def new_request_id(offset_ms: int = 0) -> str:
    """Make a UUIDv7 of now."""
    at_ms = SystemClock().utc_ms() + offset_ms
    raw = bytearray(at_ms.to_bytes(6, "big") + uuid.uuid4().bytes[6:])
    raw[6] = (raw[6] & 0x0F) | 0x70
    return str(uuid.UUID(bytes=bytes(raw)))


def payment(**changes: Any) -> terminal_pb2.AuthorizeRequest:
    """Make a payment that breaks no rule; ``changes`` replace its fields, None clears one."""
    message = terminal_pb2.AuthorizeRequest(
        request_id=new_request_id(),
        terminal_id="T-0001",
        kind=terminal_pb2.AUTHORIZATION_KIND_PURCHASE,
        amount=money_pb2.Money(amount_minor=1250, currency="EUR"),
        bin="411111",
        last_four="1111",
        envelopes=[
            terminal_pb2.CardEnvelope(processor="alpha", key_id="alpha-1", sealed=bytes(120))
        ],
        entry_mode=terminal_pb2.ENTRY_MODE_CONTACTLESS,
        merchant_id="M-0042",
        merchant_category_code="5411",
        country="DE",
    )
    for field, value in changes.items():
        cast("Any", message).ClearField(field)
        if value is not None:
            message.MergeFrom(terminal_pb2.AuthorizeRequest(**{field: value}))
    return message


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Wait until something is so, or fail."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    found = Supervisor()
    yield found
    await found.cancel()
    assert found.faults == []


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def story() -> FakeStory:
    return FakeStory()


@pytest.fixture
def terminal_settings() -> TerminalSettings:
    return TerminalSettings()


@pytest.fixture
def servicer(
    story: FakeStory, supervisor: Supervisor, terminal_settings: TerminalSettings
) -> TerminalServicer:
    rules = Rules(ValidationSettings())
    return TerminalServicer(story, rules, SystemClock(), supervisor.spawn, terminal_settings)


@pytest.fixture
async def port(servicer: TerminalServicer, faults: Faults) -> AsyncIterator[Port]:
    found = terminal_port(
        PortSettings("127.0.0.1:0", PLAIN), servicer, HealthServicer(), faults.report
    )
    await found.start()
    yield found
    await found.stop(None)


@pytest.fixture
async def channel(port: Port) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port.number}") as found:
        yield found


@pytest.fixture
def terminal(channel: grpc.aio.Channel) -> terminal_pb2_grpc.TerminalServiceAsyncStub:
    return terminal_pb2_grpc.TerminalServiceStub(channel)
