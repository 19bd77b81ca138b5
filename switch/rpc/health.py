"""Health as standard tools ask for it: grpc.health.v1 for the port, its services and each node.

Names: "" for the switch, each service by its full name, and ``node/<name>`` for each node, so that
any probe of the trade can watch a node.

Written here because the library's servicer forgets its other watchers when one of them leaves: a
second watcher of the same name is never told again.
"""

from __future__ import annotations

import asyncio

import grpc
from grpc_health.v1 import (  # type: ignore[import-untyped] # it has no stubs
    health_pb2,
    health_pb2_grpc,
)

from switch.rpc.edge import Context

_SERVING: int = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: int = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN: int = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def node_name(node: str) -> str:
    """Return the name under which a node's health is asked for."""
    return f"node/{node}"


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc] # untyped
    """What is serving, for those who ask and those who watch."""

    def __init__(self) -> None:
        self._serving: dict[str, bool] = {}
        self._changed = asyncio.Event()
        self._stopping = False

    def set(self, name: str, serving: bool) -> None:
        """Set the status of one name; without effect once ``stop`` was called."""
        if not self._stopping and self._serving.get(name) is not serving:
            self._serving[name] = serving
            self._wake()

    def stop(self) -> None:
        """Say NOT_SERVING for every name from now on: callers look elsewhere while we drain."""
        self._stopping = True
        self._serving = dict.fromkeys(self._serving, False)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _status(self, name: str) -> int:
        serving = self._serving.get(name)
        if serving is None:
            return _UNKNOWN
        return _SERVING if serving else _NOT_SERVING

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """Say how one name is now."""
        status = self._status(request.service)
        if status == _UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        """Say how one name is, now and whenever it changes."""
        told = None
        while True:
            changed = self._changed
            status = self._status(request.service)
            if status != told:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                told = status
            else:
                await changed.wait()
