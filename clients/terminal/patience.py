"""How long a terminal waits, and how it asks again: the same request, ever more rarely."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from clients.terminal.failure import CallFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a terminal waits for one send, and for all of them together."""

    timeout_s: float = 3.0
    """For one send. The switch is told, answers within it, and caps it by its own maximum."""
    grace_s: float = 0.5
    """More than the switch is told, so that its answer arrives before we stop listening."""
    total_s: float = 30.0
    """For the payment with all its repeats."""
    backoff_first_s: float = 0.1
    backoff_max_s: float = 1.0
    reseals_max: int = 3
    """How often the card is sealed anew for one payment."""

    def __post_init__(self) -> None:
        if not 0 < self.timeout_s <= self.total_s:
            raise ValueError("timeout_s must be above 0 and at most total_s")

    def pause_s(self, failure: CallFailed, failures_count: int, random: Random) -> float:
        """Return how long to wait before the next send.

        The switch's own word (RetryInfo) is the least; otherwise the pause doubles from first to
        maximum. The jitter spreads terminals that failed together: half of a pause of ours, and up
        to a quarter more than what the switch said, so that it is never asked early.
        """
        if failure.retry_after_s is not None:
            return failure.retry_after_s * (1 + random.random() / 4)
        if failure.reason == "RESEAL" and failures_count == 1:
            return 0.0
        step_s = self.backoff_first_s * 2.0 ** min(failures_count - 1, 30)
        return min(step_s, self.backoff_max_s) * (1 + random.random()) / 2


_T = TypeVar("_T")

_WORTH_ASKING_S = 0.1
"""With less left than this there is no use in one more send."""


class GaveUp(Exception):
    """Patience ended, or there is no use in asking again."""

    def __init__(self, failure: CallFailed, *, may_have_acted: bool) -> None:
        super().__init__(str(failure))
        self.failure = failure
        """The last one."""
        self.may_have_acted = may_have_acted
        """Whether any of the sends may have had an effect."""


async def persist(call: Callable[[float], Awaitable[_T]], patience: Patience, random: Random) -> _T:
    """Call until there is an answer; each call is given the seconds it may take.

    Raises GaveUp when a failure cannot be mended by asking again, or when patience ends.
    """
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + patience.total_s
    failures_count = reseals_count = 0
    may_have_acted = False
    while True:
        left_s = ends_at - loop.time()
        try:
            return await call(min(patience.timeout_s, left_s))
        except CallFailed as failure:
            failures_count += 1
            reseals_count += failure.reason == "RESEAL"
            may_have_acted = may_have_acted or failure.may_have_acted
            pause_s = patience.pause_s(failure, failures_count, random)
            in_time = loop.time() + pause_s + _WORTH_ASKING_S < ends_at
            if not (failure.repeatable and in_time and reseals_count <= patience.reseals_max):
                raise GaveUp(failure, may_have_acted=may_have_acted) from failure
            await asyncio.sleep(pause_s)
