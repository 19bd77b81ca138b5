"""What operators see of the switch, asked over and over: it may be gone at any moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import grpc

from payswitch.operator.v1 import operator_pb2 as wire
from payswitch.operator.v1.operator_pb2_grpc import OperatorServiceStub

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

    from payswitch.operator.v1.operator_pb2_grpc import OperatorServiceAsyncStub

_ASK_WITHIN_S = 1.0
_OPTIONS = (
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    # The switch is killed and comes back; so do we, soon.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.use_local_subchannel_pool", 1),
)
_LINKS = {
    wire.LINK_STATE_DOWN: "down",
    wire.LINK_STATE_CONNECTED: "connected",
    wire.LINK_STATE_READY: "ready",
    wire.LINK_STATE_DRAINING: "draining",
}
_BREAKERS = {
    wire.BREAKER_STATE_CLOSED: "closed",
    wire.BREAKER_STATE_OPEN: "open",
    wire.BREAKER_STATE_HALF_OPEN: "half-open",
}


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node."""

    name: str
    tier: int
    link: str
    breaker: str
    usable: bool
    in_flight: int
    limit: int
    answered: int
    """Since the switch's start."""
    rate: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Counters:
    """Payments, as the switch has counted them since its start."""

    failed_over: int = 0
    repeated: int = 0
    in_doubt: int = 0
    owed: int = 0
    acknowledged: int = 0
    running: int = 0

    def after(self, earlier: Counters) -> Counters:
        """Return these with what an earlier life of the switch had counted; states stay."""
        return Counters(
            failed_over=self.failed_over + earlier.failed_over,
            repeated=self.repeated + earlier.repeated,
            in_doubt=self.in_doubt + earlier.in_doubt,
            owed=self.owed,
            acknowledged=self.acknowledged + earlier.acknowledged,
            running=self.running,
        )


class Operators:
    """The operators' port of a switch."""

    def __init__(self, address: str) -> None:
        """Connect when first asked."""
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._stub: OperatorServiceAsyncStub = OperatorServiceStub(self._channel)

    async def nodes(self) -> list[NodeView] | None:
        """Return the nodes; None if the switch does not answer."""
        try:
            said = await self._stub.ListNodes(wire.ListNodesRequest(), timeout=_ASK_WITHIN_S)
        except grpc.aio.AioRpcError:
            return None
        return [
            NodeView(
                name=node.name,
                tier=node.tier,
                link=_LINKS.get(node.link, "?"),
                breaker=_BREAKERS.get(node.breaker, "?"),
                usable=node.usable,
                in_flight=node.in_flight,
                limit=node.limit,
                answered=node.answered_count,
                rate=node.rate,
                p50_ms=_ms(node.p50),
                p99_ms=_ms(node.p99),
            )
            for node in said.nodes
        ]

    async def counters(self) -> Counters | None:
        """Return the counters; None if the switch does not answer."""
        try:
            said = await self._stub.GetStatus(wire.GetStatusRequest(), timeout=_ASK_WITHIN_S)
        except grpc.aio.AioRpcError:
            return None
        return Counters(
            failed_over=said.failed_over_count,
            repeated=said.repeated_count,
            in_doubt=said.in_doubt_count,
            owed=said.owed_count,
            acknowledged=said.reversals_acknowledged_count,
            running=said.running_count,
        )

    async def close(self) -> None:
        """Hang up."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _ms(duration: Duration) -> float:
    return duration.seconds * 1000 + duration.nanos / 1e6
