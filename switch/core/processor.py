"""A processor's profile: what it promises, and how its words are read.

The profile is where a processor's promises become permissions. ``accepts_repeat`` may be set only
if its ledgers keep the promises of the processor protocol; without it an in-doubt authorization is
never sent again, only reversed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from switch.core.response_code import CODES, Code


class CardKey(NamedTuple):
    """A public key terminals seal cards to."""

    processor: str
    key_id: str
    public_key: bytes
    """X25519, 32 bytes."""
    not_after_ms: int
    """Wall-clock milliseconds since 1970: do not seal to it afterwards."""


@dataclass(frozen=True, slots=True)
class Processor:
    """One processor, as configured."""

    name: str
    accepts_repeat: bool = True
    node_timeout_s: float = 1.0
    """How long one sending is waited for."""
    codes: dict[str, Code] = field(default_factory=lambda: CODES)
    card_keys: tuple[CardKey, ...] = ()
