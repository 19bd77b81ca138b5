"""The switch's ports: one for terminals, one for operators.

A port is a ``grpc.aio`` server with one edge before all of its methods. Health stands on both.
Reflection lets stock tools work from what the README says; it is served under both of its names,
because the library knows only the older one. channelz, which shows the inside of every connection,
is for operators only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import grpc
from grpc_channelz.v1 import (  # type: ignore[import-untyped] # it has no stubs
    channelz,
    channelz_pb2_grpc,
)
from grpc_health.v1 import health_pb2_grpc  # type: ignore[import-untyped] # it has no stubs
from grpc_reflection.v1alpha import (  # type: ignore[import-untyped] # it has no stubs
    reflection,
    reflection_pb2_grpc,
)

from payswitch.operator.v1 import operator_pb2_grpc
from payswitch.terminal.v1 import terminal_pb2_grpc
from switch.errors import ConfigurationInvalid
from switch.rpc.edge import Edge, Report
from switch.rpc.health import HealthServicer
from switch.rpc.transport import (
    FRAME_BYTES_MAX,
    SERVER_OPTIONS,
    ServerSecurity,
    bind,
)

_HEALTH = "grpc.health.v1.Health"
_REFLECTION = "grpc.reflection.v1.ServerReflection"
_TERMINAL = "payswitch.terminal.v1.TerminalService"
_OPERATOR = "payswitch.operator.v1.OperatorService"


@dataclass(frozen=True, slots=True)
class PortSettings:
    """One port of the switch."""

    address: str
    """host:port; port 0 lets the system choose."""
    security: ServerSecurity
    reflection: bool = True


class Port:
    """A server with its health."""

    def __init__(self, edge: Edge, settings: PortSettings, health: HealthServicer) -> None:
        """Keep what will be served; nothing is open yet."""
        self.health = health
        self.number = 0
        """The port's number, once started."""
        self._edge = edge
        self._settings = settings
        self._server: grpc.aio.Server | None = None

    async def start(self) -> int:
        """Begin to serve; return the port's number. Raises ConfigurationInvalid if it is taken."""
        address = self._settings.address
        server = grpc.aio.server(options=SERVER_OPTIONS)
        server.add_generic_rpc_handlers((self._edge,))
        try:
            self.number = bind(server, address, self._settings.security)
        except RuntimeError as fault:
            # gRPC's word for an address that is not to be had.
            await server.stop(None)
            raise ConfigurationInvalid(f"{address}: it cannot be listened on") from fault
        await server.start()
        self._server = server
        return self.number

    async def stop(self, grace_s: float | None) -> None:
        """End. The listener closes at once; calls that outlive the grace are cut.

        A cut call is in doubt for its caller, so the switch drains first: health says no, nothing
        new is admitted, and this comes when nothing is in flight any more.
        """
        if self._server is not None:
            await self._server.stop(grace_s)


def terminal_port(
    settings: PortSettings,
    servicer: terminal_pb2_grpc.TerminalServiceServicer,
    health: HealthServicer,
    report: Report,
) -> Port:
    """Make the port that takes payments."""
    edge = Edge(report, {f"/{_TERMINAL}/AuthorizeStream": FRAME_BYTES_MAX})
    terminal_pb2_grpc.add_TerminalServiceServicer_to_server(servicer, cast("grpc.aio.Server", edge))
    return _port(settings, edge, health)


def operator_port(
    settings: PortSettings,
    servicer: operator_pb2_grpc.OperatorServiceServicer,
    health: HealthServicer,
    report: Report,
) -> Port:
    """Make the port that operators use."""
    edge = Edge(report)
    operator_pb2_grpc.add_OperatorServiceServicer_to_server(servicer, cast("grpc.aio.Server", edge))
    channelz_pb2_grpc.add_ChannelzServicer_to_server(channelz.aio.ChannelzServicer(), edge)
    return _port(settings, edge, health)


def _port(settings: PortSettings, edge: Edge, health: HealthServicer) -> Port:
    health_pb2_grpc.add_HealthServicer_to_server(health, edge)
    if settings.reflection:
        _add_reflection(edge)
    for service in ("", *edge.services):
        health.set(service, True)
    return Port(edge, settings, health)


def _add_reflection(edge: Edge) -> None:
    # The alias is not listed: tools look up every name they are told, and it has no descriptor.
    names = [*edge.services, reflection.SERVICE_NAME]
    servicer = reflection.aio.ReflectionServicer(names)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, edge)
    # v1 has the messages of v1alpha under another name.
    edge.alias(reflection.SERVICE_NAME, _REFLECTION)
