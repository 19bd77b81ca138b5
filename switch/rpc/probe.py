"""What a node says of its own health, by grpc.health.v1.

Check is asked every second or so and must be answered in 300 ms; after an answer that differs from
the one before, a few more are asked in quick succession, so that a rise or a fall is known soon.
Watch tells of changes between the checks and hastens the next one; it is never relied on alone,
because a watch on a node that hangs says nothing at all.

How many answers make a node well or ill is the routing table's affair.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Protocol

import grpc
from grpc_health.v1 import health_pb2  # type: ignore[import-untyped] # it has no stubs

from switch.clock import Clock
from switch.rpc.edge import total
from switch.rpc.session import CALL_ENDED

_SERVING: int = health_pb2.HealthCheckResponse.SERVING
_ANSWER_BYTES_MAX = 1024


class HealthObserver(Protocol):
    """Who is told."""

    def health_checked(self, node: str, ok: bool, /) -> None:
        """The node said that it serves; or that it does not, or nothing in time."""
        ...


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """How often health is asked for."""

    interval_s: float = 1.0
    """Between checks, give or take a fifth, so that switches do not ask in step."""
    quick_interval_s: float = 0.25
    """Between checks while the answer changes."""
    quick_count: int = 3
    """How many checks are quick after a change."""
    timeout_s: float = 0.3


class Probe:
    """The health checks of one node."""

    def __init__(
        self,
        node: str,
        channel: grpc.aio.Channel,
        observer: HealthObserver,
        clock: Clock,
        randomness: Random,
        settings: ProbeSettings,
    ) -> None:
        """Prepare; ``check`` and ``watch`` are to run in tasks."""
        self._node = node
        self._observer = observer
        self._clock = clock
        self._randomness = randomness
        self._settings = settings
        encode = health_pb2.HealthCheckRequest.SerializeToString
        decode = total(health_pb2.HealthCheckResponse.FromString, _ANSWER_BYTES_MAX)
        self._ask_check = channel.unary_unary(
            "/grpc.health.v1.Health/Check", request_serializer=encode, response_deserializer=decode
        )
        self._ask_watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch", request_serializer=encode, response_deserializer=decode
        )
        self._seen: bool | None = None
        self._quick = 0
        self._wake = asyncio.Event()

    async def check(self) -> None:
        """Check for ever."""
        while True:
            self._wake.clear()
            self._tell(await self._check_once())
            interval_s = self._settings.interval_s
            if self._quick:
                self._quick -= 1
                interval_s = self._settings.quick_interval_s
            spread = 0.8 + 0.4 * self._randomness.random()
            alarm = self._clock.alarm(self._clock.now() + interval_s * spread, self._wake.set)
            await self._wake.wait()
            alarm.cancel()

    async def watch(self) -> None:
        """Watch for ever, unless the node cannot be watched."""
        while True:
            try:
                async for answer in self._ask_watch(
                    health_pb2.HealthCheckRequest(), wait_for_ready=True
                ):
                    if self._tell(_serves(answer)):
                        self._wake.set()
            except CALL_ENDED as error:
                if _cannot_be_watched(error):
                    return
            await self._clock.sleep(self._settings.interval_s)

    async def _check_once(self) -> bool:
        try:
            answer = await self._ask_check(
                health_pb2.HealthCheckRequest(), timeout=self._settings.timeout_s
            )
        except CALL_ENDED:
            return False
        return _serves(answer)

    def _tell(self, ok: bool) -> bool:
        """Tell the observer; return whether the answer has changed."""
        changed = ok is not self._seen
        self._seen = ok
        if changed:
            self._quick = self._settings.quick_count
        self._observer.health_checked(self._node, ok)
        return changed


def _serves(answer: object) -> bool:
    return isinstance(answer, health_pb2.HealthCheckResponse) and answer.status == _SERVING


def _cannot_be_watched(error: Exception) -> bool:
    return isinstance(error, grpc.aio.AioRpcError) and error.code() is grpc.StatusCode.UNIMPLEMENTED
