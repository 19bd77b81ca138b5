"""What all evidence shares: names, and the way to say that it cannot be read."""

from __future__ import annotations

from typing import NamedTuple


class Unreadable(Exception):
    """A file cannot be judged; the text names it and says why."""


class Key(NamedTuple):
    """What names a payment, or a terminal's reversal."""

    terminal_id: str
    request_id: str

    def __str__(self) -> str:
        return f"{self.terminal_id} {self.request_id}"
