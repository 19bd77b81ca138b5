"""The clock port: the only room that reads a clock or sleeps.

Two clocks, never mixed: ``now`` is monotonic seconds for everything in memory, ``utc_ms`` is
wall-clock milliseconds for everything that is written down.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Protocol


class Alarm(Protocol):
    """Something that will ring, unless cancelled."""

    def cancel(self) -> None:
        """Do not ring. Harmless after it rang."""
        ...


class Clock(Protocol):
    """Time, as the shell needs it. The simulator has another one."""

    def now(self) -> float:
        """Return monotonic seconds."""
        ...

    def utc_ms(self) -> int:
        """Return wall-clock milliseconds since 1970."""
        ...

    def alarm(self, at: float, ring: Callable[[], None]) -> Alarm:
        """Call ``ring`` from the event loop at the monotonic instant ``at``, or soon after."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The real clocks, on the running event loop."""

    def now(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()

    def utc_ms(self) -> int:
        """Return wall-clock milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def alarm(self, at: float, ring: Callable[[], None]) -> Alarm:
        """Call ``ring`` at ``at``; asyncio's clock on Linux is the same monotonic one."""
        loop = asyncio.get_running_loop()
        return loop.call_later(max(0.0, at - time.monotonic()), ring)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class Wake:
    """One alarm that is moved, never multiplied: rings at the earliest instant asked for."""

    __slots__ = ("_alarm", "_at", "_clock", "_ring")

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        """Ring ``ring``; nothing is set yet."""
        self._clock = clock
        self._ring = ring
        self._alarm: Alarm | None = None
        self._at = math.inf

    def at(self, instant: float | None) -> None:
        """Ring at ``instant`` unless an earlier ring is set; None asks for nothing."""
        if instant is None or instant >= self._at:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._at = instant
        self._alarm = self._clock.alarm(instant, self._rang)

    def _rang(self) -> None:
        self._alarm = None
        self._at = math.inf
        self._ring()
