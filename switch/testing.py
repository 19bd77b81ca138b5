"""The test kit: virtual time and scripted links, for running the real story without a sleep.

Time stands still while anything can run, and jumps to the next timer when nothing can. It must stop
at the ports: a real peer under a virtual clock times out falsely.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from switch.clock import Alarm
from switch.core.message import (
    Authorization,
    Disposition,
    NodeAnswer,
    Reversal,
    Unanswered,
)
from switch.core.sending import Sending

T = TypeVar("T")


class _Jump(selectors.SelectSelector):
    """A selector that never waits: what it is asked to wait is added to the time."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("nothing can ever happen: every task waits for another")
        if not ready and timeout:
            self._loop.virtual_s += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer whenever nothing can run."""

    def __init__(self) -> None:
        """Begin at 1,000 seconds."""
        self.virtual_s = 1_000.0
        super().__init__(_Jump(self))

    def time(self) -> float:
        """Return the virtual monotonic seconds."""
        return self.virtual_s


def run_virtual(story: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine under virtual time and return its result."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(story)


class VirtualClock:
    """The clock port over the running loop's time; the wall clock may be moved at will."""

    def __init__(self, utc_ms: int = 1_700_000_000_000) -> None:
        """Begin with the wall clock at ``utc_ms``."""
        self._offset_ms = utc_ms - 1_000_000

    def now(self) -> float:
        """Return the loop's seconds."""
        return asyncio.get_running_loop().time()

    def utc_ms(self) -> int:
        """Return the wall clock."""
        return int(self.now() * 1000) + self._offset_ms

    def jump_wall_clock(self, by_ms: int) -> None:
        """Move the wall clock; nothing in memory may notice."""
        self._offset_ms += by_ms

    def alarm(self, at: float, ring: Callable[[], None]) -> Alarm:
        """Ring at a virtual instant."""
        return asyncio.get_running_loop().call_at(at, ring)

    async def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        await asyncio.sleep(seconds)  # noqa: TID251 - time is virtual here


class ScriptedLinks:
    """Links to nodes that do what a test says.

    Offered sendings are written in the next turn of the loop, as a writer task would, and then
    stay in ``written`` until the test answers or loses them.
    """

    def __init__(self) -> None:
        """Begin with nothing offered."""
        self.offered: list[Sending] = []
        self.written: dict[str, list[Sending]] = {}
        self.history: list[Sending] = []
        self.forgotten: list[Sending] = []
        self.behaviour: dict[str, Callable[[Sending], None]] = {}
        """By node: called with each sending once it is written."""

    def offer(self, sending: Sending) -> None:
        """Take a sending into the outbox."""
        self.offered.append(sending)
        self.history.append(sending)
        asyncio.get_running_loop().call_soon(self._write)

    def forget(self, sending: Sending) -> None:
        """Withdraw an unwritten sending, or stop matching a written one."""
        self.forgotten.append(sending)
        if sending in self.offered:
            self.offered.remove(sending)

    def _write(self) -> None:
        offered, self.offered = self.offered, []
        for sending in offered:
            sending.written = True
            node = sending.permit.node.settings.name
            self.written.setdefault(node, []).append(sending)
            behaviour = self.behaviour.get(node)
            if behaviour is not None:
                behaviour(sending)

    def lose(self, node: str) -> None:
        """End a node's link: unwritten sendings never left, written ones are lost."""
        for sending in [s for s in self.offered if s.permit.node.settings.name == node]:
            self.offered.remove(sending)
            sending.settle(sending, Unanswered.NOT_SENT)
        for sending in self.written.pop(node, []):
            sending.settle(sending, Unanswered.LINK_LOST)


def node_answer(
    sending: Sending,
    code: str = "00",
    *,
    disposition: Disposition = Disposition.PROCESSED,
    approved_minor: int | None = None,
    authorization_code: str = "A12345",
) -> NodeAnswer:
    """Return an answer to a sending; an approval is for all that was asked."""
    message = sending.message
    if approved_minor is None:
        approved_minor = 0
        if isinstance(message, Authorization) and code == "00":
            approved_minor = message.request.amount.amount_minor
    if isinstance(message, Reversal) or disposition is not Disposition.PROCESSED:
        code, approved_minor, authorization_code = "", 0, ""
    return NodeAnswer(
        sending.number,
        message.reference,
        disposition,
        code,
        approved_minor,
        authorization_code if approved_minor else "",
        0.005,
    )
