"""The card, and how it is sealed: it leaves the terminal for one processor's eyes only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from payswitch.processor.v1 import processor_pb2
from payswitch.terminal.v1 import terminal_pb2 as wire

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
_DOMAIN = "payswitch-card-v1"


@dataclass(frozen=True, slots=True, repr=False)
class Card:
    """A card as the terminal read it. It is never written down, and does not print itself."""

    number: str
    """12 to 19 digits."""
    expiry: str = ""
    """YYMM."""
    track_two: str = field(default="", kw_only=True)
    emv: bytes = field(default=b"", kw_only=True)

    def __post_init__(self) -> None:
        if not (self.number.isascii() and self.number.isdigit() and 12 <= len(self.number) <= 19):
            raise ValueError("a card number has 12 to 19 digits")

    def __repr__(self) -> str:
        return f"Card({self.bin}…{self.last_four})"

    @property
    def bin(self) -> str:
        """The first 6 digits, or 8 of a number that is long enough to keep the rest secret."""
        return self.number[: 8 if len(self.number) >= 16 else 6]

    @property
    def last_four(self) -> str:
        """The last 4 digits."""
        return self.number[-4:]


def seal(
    card: Card,
    keys: Iterable[wire.CardKey],
    *,
    terminal_id: str,
    request_id: str,
    currency: str,
    amount_minor: int,
) -> list[wire.CardEnvelope]:
    """Seal the card once to each key, so that each envelope opens for this payment only."""
    text = (_DOMAIN, terminal_id, request_id, currency, str(amount_minor))
    info = "\0".join(text).encode()
    plain = processor_pb2.Card(
        number=card.number, expiry=card.expiry, track_two=card.track_two, emv=card.emv
    ).SerializeToString()
    return [
        wire.CardEnvelope(
            processor=key.processor,
            key_id=key.key_id,
            sealed=_SUITE.encrypt(plain, X25519PublicKey.from_public_bytes(key.public_key), info),
        )
        for key in keys
    ]


class _Scope(NamedTuple):
    bin: str
    merchant_id: str
    currency: str


class CardKeys:
    """The processors' public keys, asked for once per BIN, merchant and currency.

    Terminals that want the same keys at the same time share one question. Keys go when they are
    too old to seal to, and when the switch says RESEAL.
    """

    SCOPES_MAX = 10_000
    """Kept at once; the oldest go first."""

    def __init__(
        self, ask: Callable[[wire.GetCardKeysRequest, float], Awaitable[wire.GetCardKeysResponse]]
    ) -> None:
        self._ask = ask
        self._known: dict[_Scope, tuple[wire.CardKey, ...]] = {}
        self._asked: dict[_Scope, asyncio.Task[tuple[wire.CardKey, ...]]] = {}

    async def get(
        self, card: Card, merchant_id: str, currency: str, timeout_s: float
    ) -> tuple[wire.CardKey, ...]:
        """Return the keys in route order. Raises what the question raises."""
        scope = _Scope(card.bin, merchant_id, currency)
        keys = self._known.get(scope)
        if keys is not None and all(_usable(key) for key in keys):
            return keys
        task = self._asked.get(scope)
        if task is None:
            task = asyncio.create_task(self._fetch(scope, timeout_s))
            self._asked[scope] = task
            task.add_done_callback(lambda task: self._answered(scope, task))
        # One terminal that goes away must not take the answer from the others.
        return await asyncio.shield(task)

    def forget(self, keys: tuple[wire.CardKey, ...]) -> None:
        """Ask anew for what these keys were; newer ones that came meanwhile stay."""
        for scope in [scope for scope, known in self._known.items() if known is keys]:
            del self._known[scope]

    def _answered(self, scope: _Scope, task: asyncio.Task[tuple[wire.CardKey, ...]]) -> None:
        del self._asked[scope]
        if not task.cancelled():
            task.exception()  # Seen, even if all who asked have gone away meanwhile.

    async def _fetch(self, scope: _Scope, timeout_s: float) -> tuple[wire.CardKey, ...]:
        response = await self._ask(wire.GetCardKeysRequest(**scope._asdict()), timeout_s)
        keys = tuple(response.keys)
        self._known[scope] = keys
        while len(self._known) > self.SCOPES_MAX:
            del self._known[next(iter(self._known))]
        return keys


def _usable(key: wire.CardKey) -> bool:
    return not key.HasField("not_after") or key.not_after.seconds > time.time()
