"""What is to be looked at, and when: a heap of instants.

Deadlines are events, not tasks: a payment costs one entry here and no timer of its own. Nothing is
ever removed before its time; whoever is called finds that the matter is settled and goes on. With
time-outs of about a second an entry lives about a second, which is cheaper than keeping handles.

The heap holds instants, not items: what is handed over together has one deadline, so a batch costs
one push and one pop, and an item no more than being appended to a list.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T")


class Agenda(Generic[T]):
    """Items by the monotonic instant at which they are due; equal instants keep their order."""

    __slots__ = ("_heap", "_items")

    def __init__(self) -> None:
        """Begin empty."""
        self._heap: list[float] = []
        self._items: dict[float, list[T]] = {}

    def add(self, at: float, item: T) -> None:
        """Put an item down for ``at``."""
        items = self._items.get(at)
        if items is None:
            self._items[at] = [item]
            heappush(self._heap, at)
        else:
            items.append(item)

    def next_at(self) -> float | None:
        """Return the earliest instant, or None when there is nothing to do."""
        return self._heap[0] if self._heap else None

    def due(self, now: float) -> list[T]:
        """Take out all items whose instant has come, oldest first."""
        heap = self._heap
        items: list[T] = []
        while heap and heap[0] <= now:
            items += self._items.pop(heappop(heap))
        return items
