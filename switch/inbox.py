"""Take all that waits: the one primitive behind every batch.

Whoever has something puts it in and goes on; one pump takes everything that has gathered, does one
piece of I/O for all of it, and comes back. No timer makes batches: the I/O in flight is the window.
Under load the batches grow and each item gets cheaper.
"""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """A list that can be waited for. One taker; puts never block."""

    __slots__ = ("_items", "_waiter")

    def __init__(self) -> None:
        """Begin empty."""
        self._items: list[T] = []
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        """Return how many items wait."""
        return len(self._items)

    def put(self, item: T) -> None:
        """Add an item and wake the taker."""
        self._items.append(item)
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def take(self) -> list[T]:
        """Return all items, oldest first; wait while there is none."""
        while not self._items:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        items = self._items
        self._items = []
        return items
