"""A switch that does what a test tells it, behind a real gRPC server."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2

from payswitch.money.v1.money_pb2 import Money
from payswitch.processor.v1 import processor_pb2
from payswitch.terminal.v1 import terminal_pb2 as wire
from payswitch.terminal.v1.terminal_pb2_grpc import (
    TerminalServiceServicer,
    add_TerminalServiceServicer_to_server,
)

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
Context = Any


@dataclass(frozen=True)
class Refuse:
    """Refuse the send with a reason of the published table."""

    status: grpc.StatusCode
    reason: str = ""
    """Empty: a bare gRPC error, as a dying server or a proxy gives."""
    message: str = "not now"
    retry_after_s: float | None = None
    field: str = ""


@dataclass(frozen=True)
class Silence:
    """Take the send and never answer."""


@dataclass(frozen=True)
class ActAndHangUp:
    """Approve, and lose the connection before the answer leaves."""


@dataclass(frozen=True)
class Decline:
    """Decline."""

    code: str = "05"


@dataclass(frozen=True)
class Approve:
    """Approve all of it, or less."""

    approved_minor: int | None = None


Step = Refuse | Silence | ActAndHangUp | Decline | Approve


@dataclass
class ScriptedSwitch(TerminalServiceServicer):
    """Plays ``script`` send by send, then approves; what it decided it replays."""

    script: deque[Step] = field(default_factory=deque)
    received: list[wire.AuthorizeRequest] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    """How many payments were in each frame."""
    streams: int = 0
    keys_asked: int = 0
    keys_refusal: Refuse | None = None
    reversals: list[wire.ReverseRequest] = field(default_factory=list)
    reversal_script: deque[Refuse] = field(default_factory=deque)
    decided: dict[str, wire.AuthorizeResponse] = field(default_factory=dict)
    private_keys: dict[str, X25519PrivateKey] = field(default_factory=dict)
    retired: set[str] = field(default_factory=set)
    hold: asyncio.Event | None = None
    """Set to an Event: answers of frames wait for it."""
    mute: bool = False
    """Decide, and answer nothing but GetAuthorization."""
    port: int = 0
    _server: grpc.aio.Server | None = None
    _arrival: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.new_key("key-1")

    def new_key(self, key_id: str) -> None:
        """Retire the current key and hand out another."""
        self.retired |= set(self.private_keys)
        self.private_keys[key_id] = X25519PrivateKey.generate()

    def open_envelope(self, request: wire.AuthorizeRequest) -> processor_pb2.Card:
        """Open the first envelope as its processor would."""
        envelope = request.envelopes[0]
        info = "\0".join(
            (
                "payswitch-card-v1",
                request.terminal_id,
                request.request_id,
                request.amount.currency,
                str(request.amount.amount_minor),
            )
        ).encode()
        private_key = self.private_keys[envelope.key_id]
        return processor_pb2.Card.FromString(SUITE.decrypt(envelope.sealed, private_key, info))

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    async def start(self) -> Self:
        """Listen: on a free port the first time, on the same one after a stop."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        add_TerminalServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()
        return self

    async def stop(self) -> None:
        """Stop at once, with everything open."""
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def has_received(self, count: int) -> None:
        """Wait until that many sends have come."""
        while len(self.received) < count:
            self._arrival.clear()
            await self._arrival.wait()

    def _decide(self, request: wire.AuthorizeRequest) -> Step | wire.AuthorizeResponse:
        """Return the answer, or the step that is none."""
        self.received.append(request)
        self._arrival.set()
        known = self.decided.get(request.request_id)
        if known is not None and not self.mute:
            replay = wire.AuthorizeResponse()
            replay.CopyFrom(known)
            replay.replayed = True
            replay.ClearField("processing_duration")
            return replay
        if request.envelopes and request.envelopes[0].key_id in self.retired:
            return Refuse(grpc.StatusCode.FAILED_PRECONDITION, "RESEAL")
        step = self.script.popleft() if self.script else Approve()
        if isinstance(step, Refuse | Silence):
            return step
        response = wire.AuthorizeResponse(
            request_id=request.request_id,
            response_code="00",
            processor="acme",
            retry_advice=wire.RETRY_ADVICE_NONE,
            reversal=wire.REVERSAL_STATUS_NONE,
            retrieval_reference_number="123456789012",
        )
        if isinstance(step, Decline):
            response.status = wire.AUTHORIZATION_STATUS_DECLINED
            response.response_code = step.code
            response.reason = "do not honour"
        else:
            approved = step.approved_minor if isinstance(step, Approve) else None
            response.status = wire.AUTHORIZATION_STATUS_APPROVED
            response.authorization_code = "A12345"
            response.approved_amount.CopyFrom(
                Money(
                    amount_minor=request.amount.amount_minor if approved is None else approved,
                    currency=request.amount.currency,
                )
            )
        response.processing_duration.FromMilliseconds(7)
        self.decided[request.request_id] = response
        if self.mute:
            return Silence()
        return step if isinstance(step, ActAndHangUp) else response

    async def Authorize(
        self, request: wire.AuthorizeRequest, context: Context
    ) -> wire.AuthorizeResponse:
        decision = self._decide(request)
        if isinstance(decision, Silence):
            await asyncio.Event().wait()
        if isinstance(decision, ActAndHangUp):
            await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        if isinstance(decision, Refuse):
            await refuse(context, decision)
        assert isinstance(decision, wire.AuthorizeResponse)
        return decision

    async def AuthorizeStream(
        self, request_iterator: Any, context: Context
    ) -> AsyncIterator[wire.AuthorizeStreamResponse]:
        self.streams += 1
        async for frame in request_iterator:
            self.frames.append(len(frame.requests))
            decisions = [(request, self._decide(request)) for request in frame.requests]
            if self.hold is not None:
                await self.hold.wait()
            answer = wire.AuthorizeStreamResponse()
            for request, decision in decisions:
                if isinstance(decision, ActAndHangUp):
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
                elif isinstance(decision, Refuse):
                    if not decision.reason:
                        await context.abort(decision.status, decision.message)
                    refusal = wire.Refusal(
                        code=decision.status.value[0],
                        reason=decision.reason,
                        message=decision.message,
                    )
                    if decision.retry_after_s is not None:
                        refusal.retry_delay.FromMicroseconds(round(decision.retry_after_s * 1e6))
                    answer.results.add(request_id=request.request_id, refusal=refusal)
                elif isinstance(decision, wire.AuthorizeResponse):
                    answer.results.add(request_id=request.request_id, response=decision)
            if answer.results:
                yield answer

    async def Reverse(self, request: wire.ReverseRequest, context: Context) -> wire.ReverseResponse:
        self.reversals.append(request)
        if self.reversal_script:
            await refuse(context, self.reversal_script.popleft())
        known = self.decided.get(request.original_request_id)
        response = wire.ReverseResponse(
            request_id=request.request_id,
            original_request_id=request.original_request_id,
            reversal=wire.REVERSAL_STATUS_OWED if known else wire.REVERSAL_STATUS_NONE,
            original_known=known is not None,
        )
        if known is not None:
            response.reversed_amount.CopyFrom(
                request.amount if request.HasField("amount") else known.approved_amount
            )
        return response

    async def GetAuthorization(
        self, request: wire.GetAuthorizationRequest, context: Context
    ) -> wire.GetAuthorizationResponse:
        known = self.decided.get(request.request_id)
        if known is None:
            await refuse(context, Refuse(grpc.StatusCode.NOT_FOUND, "PAYMENT_UNKNOWN"))
        response = wire.GetAuthorizationResponse(
            state=wire.AUTHORIZATION_STATE_CONCLUDED, response=known
        )
        response.timeline.add(event="accepted", detail="terminal T-1").time.FromMilliseconds(1000)
        return response

    async def GetCardKeys(
        self, request: wire.GetCardKeysRequest, context: Context
    ) -> wire.GetCardKeysResponse:
        self.keys_asked += 1
        if self.keys_refusal is not None:
            await refuse(context, self.keys_refusal)
        key_id = next(key for key in self.private_keys if key not in self.retired)
        public_key = self.private_keys[key_id].public_key().public_bytes_raw()
        response = wire.GetCardKeysResponse()
        key = response.keys.add(processor="acme", key_id=key_id, public_key=public_key)
        key.not_after.GetCurrentTime()
        key.not_after.seconds += 3600
        return response


async def refuse(context: Context, refusal: Refuse) -> None:
    """End the call as the switch refuses."""
    if not refusal.reason:
        await context.abort(refusal.status, refusal.message)
    details = [error_details_pb2.ErrorInfo(reason=refusal.reason, domain="payswitch")]
    if refusal.field:
        faults = error_details_pb2.BadRequest()
        faults.field_violations.add(field=refusal.field, description=refusal.message)
        details.append(faults)
    if refusal.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMicroseconds(round(refusal.retry_after_s * 1e6))
        details.append(retry)
    status = status_pb2.Status(code=refusal.status.value[0], message=refusal.message)
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    await context.abort(refusal.status, refusal.message)
