"""One call for each payment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from clients.terminal.failure import failure_of_error
from payswitch.terminal.v1 import terminal_pb2 as wire

if TYPE_CHECKING:
    from payswitch.terminal.v1.terminal_pb2_grpc import TerminalServiceAsyncStub


class UnaryCalls:
    """Sends each payment by a call of its own."""

    def __init__(self, stub: TerminalServiceAsyncStub, grace_s: float) -> None:
        self._stub = stub
        self._grace_s = grace_s

    async def send(
        self, request: wire.AuthorizeRequest, timeout_s: float
    ) -> wire.AuthorizeResponse:
        """Send once and return the answer. Raises CallFailed."""
        try:
            return await self._stub.Authorize(request, timeout=timeout_s + self._grace_s)
        except grpc.aio.AioRpcError as error:
            raise failure_of_error(error) from error

    async def close(self) -> None:
        """Do nothing: each call ends by itself."""
