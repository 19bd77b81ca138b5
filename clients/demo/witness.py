"""Watches what each act brings about, and how soon: as operators see it, or as terminals do."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from clients.demo.chronicle import Chronicle, ms_since
from clients.demo.crowd import Crowd
from clients.demo.operators import NodeView, Operators
from clients.demo.site import PRIMARY

LOOK_EVERY_S = 0.05
_LOOKS = 8
"""So many looks in a row show who answers most: the few trial payments of a half-open breaker are
over sooner."""


class Witness:
    """Puts figures into the events of a chronicle."""

    def __init__(self, operators: Operators, crowd: Crowd, chronicle: Chronicle) -> None:
        """Watch through operators' and terminals' eyes."""
        self._operators = operators
        self._crowd = crowd
        self._chronicle = chronicle

    async def see_fall(self, event: dict[str, Any], killed_at: float, until: float) -> None:
        """Find out how soon the switch stops using the primary, and its breaker is open."""

        def fallen(nodes: list[NodeView]) -> bool:
            node = next(node for node in nodes if node.name == PRIMARY)
            if not node.usable and event["unusable_ms"] is None:
                event["unusable_ms"] = ms_since(killed_at)
                self._chronicle.say(f"seen out of use after {event['unusable_ms']} ms")
            return node.breaker == "open"

        if await self._see(fallen, until):
            event["breaker_opened_ms"] = ms_since(killed_at)
            self._chronicle.say(f"its breaker is seen open after {event['breaker_opened_ms']} ms")

    async def see_return(self, event: dict[str, Any], started_at: float, until: float) -> None:
        """Find out how soon the primary answers more than all others together."""
        looks: deque[tuple[int, int]] = deque(maxlen=_LOOKS)

        def leads(nodes: list[NodeView]) -> bool:
            answered = {node.name: node.answered for node in nodes}
            primary = answered.pop(PRIMARY)
            looks.append((primary, sum(answered.values())))
            gained = [last - first for first, last in zip(looks[0], looks[-1], strict=True)]
            return len(looks) == _LOOKS and gained[0] > gained[1]

        if await self._see(leads, until):
            event["leads_ms"] = ms_since(started_at)
            self._chronicle.say(f"the primary leads again {event['leads_ms']} ms after its restart")

    async def see_first_answer(
        self, event: dict[str, Any], killed_at: float, within_s: float
    ) -> None:
        """Find out how soon a payment is answered that began after the switch was killed."""
        try:
            first_at = await asyncio.wait_for(self._crowd.first_answer(), within_s)
        except TimeoutError:
            return  # Then terminals are without their answers, and that is a problem of its own.
        event["first_answer_ms"] = round((first_at - killed_at) * 1000)
        self._chronicle.say(f"the first answer came {event['first_answer_ms']} ms after the kill")

    async def see_nothing_owed(self) -> None:
        """Wait until the switch runs nothing and owes nothing."""
        while True:
            counters = await self._operators.counters()
            if counters is not None and counters.owed == counters.running == 0:
                return
            await asyncio.sleep(LOOK_EVERY_S)

    async def _see(self, wanted: Callable[[list[NodeView]], bool], until: float) -> bool:
        """Look at the nodes until they are as wanted; False if that did not come in time."""
        while time.monotonic() < until:
            nodes = await self._operators.nodes()
            if nodes is not None and wanted(nodes):
                return True
            await asyncio.sleep(LOOK_EVERY_S)
        return False
