"""The processor's keys, and opening what terminals seal to them.

HPKE (RFC 9180, base mode) with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-128-GCM. The info
parameter binds an envelope to one payment: sealed for another, it does not open.

A key file is JSON: processor, key_id, private_key and public_key (base64 of the 32 raw bytes) and
not_after (ISO 8601, UTC): after that instant nobody should seal to the key. It opens for a day
more, so that a payment under way is not lost to a rotation.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from google.protobuf.message import DecodeError

from payswitch.processor.v1 import processor_pb2 as pb

INFO_PREFIX = "payswitch-card-v1"
ENVELOPE_BYTES_MAX = 4096
OPENS_AFTER_S = 24 * 3600
"""How long a key opens after its not_after."""

FORMAT_ERROR = "30"
INVALID_CARD_NUMBER = "14"

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)


class KeyFileInvalid(ValueError):
    """The text names the file and what is wrong with it."""


@dataclass(frozen=True)
class Key:
    """One key pair of a processor."""

    processor: str
    key_id: str
    private_key: X25519PrivateKey
    not_after: datetime

    @classmethod
    def make(cls, processor: str, key_id: str, not_after: datetime) -> Key:
        """Make a new pair."""
        return cls(processor, key_id, X25519PrivateKey.generate(), not_after)

    @classmethod
    def read(cls, path: Path) -> Key:
        """Read a key file."""
        try:
            fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            private = X25519PrivateKey.from_private_bytes(base64.b64decode(fields["private_key"]))
            not_after = datetime.fromisoformat(fields["not_after"])
            return cls(str(fields["processor"]), str(fields["key_id"]), private, not_after)
        except (OSError, KeyError, TypeError, ValueError) as failure:
            raise KeyFileInvalid(f"{path} is no key file: {failure!r}") from failure

    def write(self, path: Path) -> None:
        """Write a key file that only its owner may read. It must not exist."""
        fields = {
            "processor": self.processor,
            "key_id": self.key_id,
            "private_key": base64.b64encode(self.private_key.private_bytes_raw()).decode(),
            "public_key": base64.b64encode(self.public_key).decode(),
            "not_after": self.not_after.astimezone(UTC).isoformat(timespec="seconds"),
        }
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(fields, indent=2) + "\n")

    @property
    def public_key(self) -> bytes:
        """The public half, 32 bytes."""
        return self.private_key.public_key().public_bytes_raw()


class KeyRing:
    """The keys a node opens envelopes with."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._opens: dict[str, tuple[X25519PrivateKey, float]] = {
            key.key_id: (
                key.private_key,
                (key.not_after + timedelta(seconds=OPENS_AFTER_S)).timestamp(),
            )
            for key in keys
        }

    def knows(self, key_id: str, utc_s: float) -> bool:
        """Tell whether a key is known and not retired."""
        known = self._opens.get(key_id)
        return known is not None and utc_s <= known[1]

    def fault(self, authorization: pb.Authorization) -> str:
        """Open the envelope; return the code to decline with, or nothing if the card is sound.

        The key must be one that ``knows`` knows.
        """
        info = card_info(
            authorization.terminal_id,
            authorization.request_id,
            authorization.amount.currency,
            authorization.amount.amount_minor,
        )
        private_key = self._opens[authorization.key_id][0]
        try:
            plaintext = _SUITE.decrypt(authorization.sealed_card, private_key, info)
            number = pb.Card.FromString(plaintext).number
        except (InvalidTag, ValueError, DecodeError):
            return FORMAT_ERROR
        return "" if is_card_number(number) else INVALID_CARD_NUMBER


def card_info(terminal_id: str, request_id: str, currency: str, amount_minor: int) -> bytes:
    """Return HPKE's info parameter for a payment."""
    texts = (INFO_PREFIX, terminal_id, request_id, currency, str(amount_minor))
    return "\0".join(texts).encode()


def seal(card: pb.Card, public_key: bytes, info: bytes) -> bytes:
    """Seal a card as a terminal does: the encapsulated key, then the ciphertext."""
    key = X25519PublicKey.from_public_bytes(public_key)
    return _SUITE.encrypt(card.SerializeToString(), key, info)


def is_card_number(number: str) -> bool:
    """Tell whether a text is 12 to 19 digits whose last is the check digit (Luhn)."""
    if not (12 <= len(number) <= 19 and number.isascii() and number.isdecimal()):
        return False
    digits = [int(digit) for digit in reversed(number)]
    doubled = sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + doubled) % 10 == 0
