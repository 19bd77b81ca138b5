"""The process of a node: a front end, gRPC, and how it is started and stopped.

SIGKILL is the fault. SIGTERM is polite: health says NOT_SERVING, each switch gets GoAway, and what
is in flight is finished.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from pathlib import Path

from grpc import aio
from grpc_health.v1 import health_pb2_grpc  # type: ignore[import-untyped] # it has no stubs

from clients.simulator.front_end import Node, Profile
from clients.simulator.latency import Latency
from payswitch.processor.v1 import processor_pb2_grpc

LEDGER_WAIT_S = 10.0
STATUS_WITHIN_S = 1.0
"""How long the last status of each call may take to leave."""
SERVER_OPTIONS = (
    ("grpc.so_reuseport", 0),
    # A switch pings an idle link every few seconds; gRPC would take that for an attack.
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
)


async def _serve(profile: Profile, socket: Path, address: str, latency: Latency) -> int:
    """Serve until SIGTERM or SIGINT; return the process's exit code."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    node = Node(profile, socket, latency)
    try:
        await asyncio.wait_for(node.has_ledger.wait(), LEDGER_WAIT_S)
    except TimeoutError:
        sys.stderr.write(f"no ledger answers at {socket}\n")
        return 1
    server = aio.server(options=SERVER_OPTIONS)
    processor_pb2_grpc.add_NodeServiceServicer_to_server(node, server)
    health_pb2_grpc.add_HealthServicer_to_server(node.health, server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as failure:
        sys.stderr.write(f"{address} cannot be listened on: {failure}\n")
        return 1
    await server.start()
    gc.freeze()
    chosen = f"{address.rpartition(':')[0]}:{port}" if not address.startswith("unix:") else address
    ready = {"ready": True, "node": profile.name, "address": chosen, "pid": os.getpid()}
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    await stopping.wait()
    await node.drain()
    await server.stop(STATUS_WITHIN_S)
    return 0


def run(profile: Profile, socket: Path, address: str, latency: Latency) -> int:
    """Run a node until it is told to stop; return the process's exit code."""
    return asyncio.run(_serve(profile, socket, address, latency))
