"""Request ids: UUIDs of version 7, which carry the time they were made."""

from __future__ import annotations

import secrets
import time
from uuid import UUID


def new_request_id() -> str:
    """Return a new UUIDv7 (RFC 9562, 5.7) in its 36-character form.

    The switch keeps its memory of a payment by the time in its id, so the terminal's clock should
    be right to a few minutes. Python's own uuid7 came with 3.14.
    """
    at_ms = time.time_ns() // 1_000_000 & (1 << 48) - 1
    version, variant = 0x7, 0b10
    return str(
        UUID(
            int=at_ms << 80
            | version << 76
            | secrets.randbits(12) << 64
            | variant << 62
            | secrets.randbits(62)
        )
    )
