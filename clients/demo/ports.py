"""Ports nobody listens on, chosen before anything is started.

They lie below the range from which the kernel takes the ports of outgoing connections. Inside it, a
client that keeps calling a port whose server was killed is sooner or later given that very port as
its own, is connected to itself, and keeps the server from coming back.
"""

from __future__ import annotations

import errno
import socket
from random import Random

LOOPBACK = "127.0.0.1"
_RANGE = range(10_000, 30_000)


def free_ports(count: int, random: Random) -> list[int]:
    """Return ``count`` different ports that are free on this machine's loopback now."""
    found: list[int] = []
    for port in random.sample(_RANGE, len(_RANGE)):
        if len(found) == count:
            return found
        if _is_free(port):
            found.append(port)
    raise OSError(errno.EADDRINUSE, f"no {count} free ports between {_RANGE[0]} and {_RANGE[-1]}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # A port that a server has just left may be listened on again.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
