"""What is to be looked at, and when: a heap of instants.

Deadlines are events, not tasks: a payment costs one entry here and no timer of its own. Nothing is
ever removed before its time; whoever is called finds that the matter is settled and goes on. With
time-outs of about a second an entry lives about a second, which is cheaper than keeping handles.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T")


class Agenda(Generic[T]):
    """Items by the monotonic instant at which they are due; equal instants keep their order."""

    __slots__ = ("_count", "_heap")

    def __init__(self) -> None:
        """Begin empty."""
        self._heap: list[tuple[float, int, T]] = []
        self._count = 0

    def add(self, at: float, item: T) -> None:
        """Put an item down for ``at``."""
        self._count += 1
        heappush(self._heap, (at, self._count, item))

    def next_at(self) -> float | None:
        """Return the earliest instant, or None when there is nothing to do."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[T]:
        """Take out all items whose instant has come, oldest first."""
        heap = self._heap
        items: list[T] = []
        while heap and heap[0][0] <= now:
            items.append(heappop(heap)[2])
        return items
