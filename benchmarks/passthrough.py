"""The bare pass-through: what any switch made of grpc.aio pays before it does anything.

Two roles, each a process. ``node`` answers every unary call with a canned approval. ``proxy`` takes
a unary call and makes the same call to the node, bytes in and bytes out: no parsing, no routing, no
journal, no idempotency. It is not a product; it is the unit in which the switch's cost is counted.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable

import grpc
from grpc import aio

from payswitch.money.v1 import money_pb2
from payswitch.terminal.v1 import terminal_pb2

METHOD = "/payswitch.terminal.v1.TerminalService/Authorize"

Call = Callable[[bytes, "aio.ServicerContext[bytes, bytes]"], Awaitable[bytes]]


class _Only(grpc.GenericRpcHandler):
    """One unary method, raw bytes."""

    def __init__(self, call: Call) -> None:
        self._handler: grpc.RpcMethodHandler[bytes, bytes]
        self._handler = grpc.unary_unary_rpc_method_handler(call)

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        return self._handler if handler_call_details.method == METHOD else None


def canned_approval() -> bytes:
    """Return the answer of the bare node."""
    return terminal_pb2.AuthorizeResponse(
        request_id="01890000-0000-7000-8000-000000000000",
        status=terminal_pb2.AUTHORIZATION_STATUS_APPROVED,
        response_code="00",
        reason="Approved",
        approved_amount=money_pb2.Money(amount_minor=1250, currency="EUR"),
        authorization_code="A12345",
    ).SerializeToString()


async def _serve(call: Call) -> None:
    server = aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((_Only(call),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    sys.stdout.write(json.dumps({"ready": True, "address": f"127.0.0.1:{port}"}) + "\n")
    sys.stdout.flush()
    await stopped.wait()
    await server.stop(0)


async def _node() -> None:
    answer = canned_approval()

    async def call(request: bytes, context: aio.ServicerContext[bytes, bytes]) -> bytes:
        return answer

    await _serve(call)


async def _proxy(upstream: str) -> None:
    async with aio.insecure_channel(upstream) as channel:
        forward: aio.UnaryUnaryMultiCallable[bytes, bytes]
        forward = channel.unary_unary(METHOD)

        async def call(request: bytes, context: aio.ServicerContext[bytes, bytes]) -> bytes:
            answer: bytes = await forward(request, timeout=3.0)
            return answer

        await _serve(call)


def main(argv: list[str]) -> None:
    """Run ``node`` or ``proxy UPSTREAM``."""
    match argv:
        case ["node"]:
            asyncio.run(_node())
        case ["proxy", upstream]:
            asyncio.run(_proxy(upstream))
        case _:
            sys.exit("usage: python -m benchmarks.passthrough node | proxy UPSTREAM")


if __name__ == "__main__":
    main(sys.argv[1:])
