"""A switch's side of the link, as plain as can be: what the suite talks to a node with."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from google.protobuf import duration_pb2
from grpc import aio

from payswitch.money.v1 import money_pb2
from payswitch.processor.v1 import processor_pb2 as pb
from payswitch.processor.v1 import processor_pb2_grpc

ANSWER_WITHIN_S = 5.0
CARD_NUMBER = "4111111111111111"
OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)


@dataclass(frozen=True)
class Target:
    """What is under test: one ledger, and the nodes before it."""

    addresses: tuple[str, ...]
    key_id: str
    public_key: bytes
    approved: int = 1000
    """An amount that is approved in full within ANSWER_WITHIN_S."""
    declined: int = 9005
    """An amount that is declined."""
    slow: int = 9212
    """An amount that stays undecided for a second or more, and is approved in the end."""
    currency: str = "EUR"
    card_number: str = CARD_NUMBER
    switch_id: str = ""
    """The name to say in Hello; empty: a new one for each test."""

    @classmethod
    def read(cls, path: Path) -> Target:
        """Read a target from a JSON file: this class's fields, the key in base64."""
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        fields["addresses"] = tuple(fields["addresses"])
        fields["public_key"] = base64.b64decode(fields["public_key"])
        return cls(**fields)


class Ended(Exception):
    """The node ended the stream; ``status`` says how."""

    def __init__(self, status: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{status.name}: {details}")
        self.status = status
        self.details = details


@dataclass
class Link:
    """One Link stream, from the switch's side."""

    call: aio.StreamStreamCall[pb.LinkRequest, pb.LinkResponse]
    link: tuple[int, int]
    hello_back: pb.HelloBack = field(default_factory=pb.HelloBack)
    frames: list[pb.LinkResponse] = field(default_factory=list)
    go_away: str | None = None
    _sent_count: int = 0
    _heard: asyncio.Condition = field(default_factory=asyncio.Condition)
    _ended: Ended | None = None
    _reader: asyncio.Task[None] | None = None

    async def greet(self, hello: pb.Hello) -> None:
        """Say Hello and wait for the answer; raise Ended where the node refuses."""
        self._sent_count = 1
        await self.begin([pb.LinkRequest(frame_number=1, hello=hello)])

    async def begin(self, frames: Sequence[pb.LinkRequest]) -> None:
        """Send the very first frames, whatever they are, and wait for the node's first."""
        self._reader = asyncio.create_task(self._read())
        for frame in frames:
            await self.call.write(frame)
        async with self._heard:
            await asyncio.wait_for(
                self._heard.wait_for(lambda: self.frames or self._ended), ANSWER_WITHIN_S
            )
        if not self.frames:
            assert self._ended is not None
            raise self._ended
        self.hello_back = self.frames[0].hello_back

    async def send(self, *items: pb.Item) -> None:
        """Send one frame of items."""
        await self.send_frame(items=items)

    async def send_frame(self, **fields: Any) -> None:
        """Send one frame, with its number."""
        self._sent_count += 1
        frame = pb.LinkRequest(**{"frame_number": self._sent_count, **fields})
        with suppress(asyncio.InvalidStateError, aio.UsageError):  # the node ended it meanwhile
            await self.call.write(frame)

    async def half_close(self) -> None:
        """Say that no more frames will come."""
        await self.call.done_writing()

    @property
    def results(self) -> list[pb.ItemResult]:
        """All results so far, in the order they came."""
        return [result for frame in self.frames for result in frame.results]

    def said_to(self, item: pb.Item) -> list[pb.ItemResult]:
        """All results for one item so far."""
        number = item.sending_number
        return [result for result in self.results if result.sending_number == number]

    async def ask(self, item: pb.Item) -> pb.ItemResult:
        """Send one item alone and wait for its answer."""
        await self.send(item)
        return await self.answer(item)

    async def answer(self, item: pb.Item, within_s: float = ANSWER_WITHIN_S) -> pb.ItemResult:
        """Wait for the first answer to an item."""
        async with self._heard:
            await asyncio.wait_for(
                self._heard.wait_for(lambda: self.said_to(item) or self._ended), within_s
            )
        said = self.said_to(item)
        if not said:
            assert self._ended is not None
            raise self._ended
        return said[0]

    async def ended(self, within_s: float = ANSWER_WITHIN_S) -> Ended:
        """Wait until the node ends the stream; return how it did."""
        async with self._heard:
            await asyncio.wait_for(self._heard.wait_for(lambda: self._ended), within_s)
        assert self._ended is not None
        return self._ended

    async def close(self) -> None:
        """End the stream from our side, without a word."""
        self.call.cancel()
        if self._reader is not None:
            await self._reader

    async def _read(self) -> None:
        status, details = grpc.StatusCode.OK, ""
        try:
            while True:
                frame: object = await self.call.read()
                if not isinstance(frame, pb.LinkResponse):
                    break
                async with self._heard:
                    self.frames.append(frame)
                    if frame.HasField("go_away"):
                        self.go_away = frame.go_away.reason
                    self._heard.notify_all()
            status, details = await self.call.code(), await self.call.details() or ""
        except aio.AioRpcError as failure:
            status, details = failure.code(), failure.details() or ""
        except asyncio.CancelledError:
            if not self.call.cancelled():
                raise
            status = grpc.StatusCode.CANCELLED
        async with self._heard:
            self._ended = Ended(status, details)
            self._heard.notify_all()


class Switch:
    """Opens links and makes items; each sending number is used once."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.switch_id = target.switch_id or f"contract-{uuid.uuid4().hex[:12]}"
        self.epoch = time.time_ns()
        self._session_numbers = itertools.count(1)
        self._sending_numbers = itertools.count(1)
        self._links: list[Link] = []
        self._channels: list[aio.Channel] = []

    async def open(
        self,
        address: str | None = None,
        *,
        link: tuple[int, int] | None = None,
        say_hello: bool = True,
    ) -> Link:
        """Open a link to a node, with a newer session than any before."""
        channel = aio.insecure_channel(address or self.target.addresses[0], options=OPTIONS)
        self._channels.append(channel)
        await asyncio.wait_for(channel.channel_ready(), ANSWER_WITHIN_S)
        call = processor_pb2_grpc.NodeServiceStub(channel).Link()
        epoch, session = link or (self.epoch, next(self._session_numbers))
        opened = Link(call, (epoch, session))
        self._links.append(opened)
        if say_hello:
            hello = pb.Hello(
                switch_id=self.switch_id, epoch=epoch, session=session, node="contract"
            )
            await opened.greet(hello)
        return opened

    async def close(self) -> None:
        """Close every link and channel."""
        for link in self._links:
            await link.close()
        for channel in self._channels:
            await channel.close()

    def item(self, *, time_to_live_ns: int | None = None, **message: Any) -> pb.Item:
        """Make an item of one message, with a new sending number."""
        item = pb.Item(sending_number=next(self._sending_numbers), **message)
        if time_to_live_ns is not None:
            item.time_to_live.CopyFrom(duration_pb2.Duration(nanos=time_to_live_ns))
        return item

    def authorization(
        self,
        amount_minor: int | None = None,
        *,
        time_to_live_ns: int | None = None,
        card_number: str | None = None,
        **fields: Any,
    ) -> pb.Item:
        """Make an authorization of a new payment; ``fields`` replace what it would say."""
        target = self.target
        amount_minor = target.approved if amount_minor is None else amount_minor
        request_id = str(uuid.uuid4())
        terminal_id = "contract-1"
        card = pb.Card(number=card_number or target.card_number, expiry="3012")
        texts = ("payswitch-card-v1", terminal_id, request_id, target.currency, str(amount_minor))
        sealed = _SUITE.encrypt(
            card.SerializeToString(),
            X25519PublicKey.from_public_bytes(target.public_key),
            "\0".join(texts).encode(),
        )
        message = {
            "reference": new_reference(),
            "kind": pb.AUTHORIZATION_KIND_PURCHASE,
            "amount": money_pb2.Money(amount_minor=amount_minor, currency=target.currency),
            "sealed_card": sealed,
            "key_id": target.key_id,
            "terminal_id": terminal_id,
            "request_id": request_id,
            "merchant_id": "contract-merchant",
            "merchant_category_code": "5411",
            "country": "DE",
            "entry_mode": 1,
            "stan": "000001",
            "retrieval_reference_number": "000000000001",
        }
        authorization = pb.Authorization(**{**message, **fields})
        return self.item(time_to_live_ns=time_to_live_ns, authorization=authorization)

    def repeat(self, item: pb.Item) -> pb.Item:
        """Make the repeat of an authorization or a reversal: a new sending of the same."""
        again = pb.Item()
        again.CopyFrom(item)
        again.sending_number = next(self._sending_numbers)
        if again.HasField("reversal"):
            again.reversal.repeat = True
        else:
            again.authorization.repeat = True
        return again

    def reversal(self, of: pb.Item, *, part_minor: int | None = None, **fields: Any) -> pb.Item:
        """Make a reversal of an authorization: full, or of a part."""
        amount = money_pb2.Money()
        amount.CopyFrom(of.authorization.amount)
        if part_minor is not None:
            amount.amount_minor = part_minor
        message = {
            "reference": of.authorization.reference,
            "reversal_reference": new_reference(),
            "full": part_minor is None,
            "amount": amount,
            "message_reason": 4021 if part_minor is None else 4000,
        }
        return self.item(reversal=pb.Reversal(**{**message, **fields}))

    def inquiry(self, of: pb.Item) -> pb.Item:
        """Make an inquiry for an authorization."""
        return self.item(inquiry=pb.Inquiry(reference=of.authorization.reference))

    def echo(self) -> pb.Item:
        """Make an echo."""
        return self.item(echo=pb.Echo())


def new_reference() -> bytes:
    """Return 16 bytes that no ledger has seen."""
    return hashlib.sha256(uuid.uuid4().bytes).digest()[:16]


def outcome(result: pb.ItemResult) -> tuple[str, int, str]:
    """Return what must be equal for ever."""
    return result.response_code, result.approved_amount_minor, result.authorization_code


@asynccontextmanager
async def switch_for(target: Target) -> AsyncIterator[Switch]:
    """Give a switch; close what it opened."""
    switch = Switch(target)
    try:
        yield switch
    finally:
        await switch.close()
