"""A node made of bytes: it speaks just enough HTTP/2 to break off wherever a test wants.

It reads frames (RFC 9113), puts gRPC messages together from DATA, and answers from a script. What
it cannot do is behave: there is no flow control and no HPACK beyond what a response needs.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

from payswitch.processor.v1 import processor_pb2

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
ACK, END_STREAM, END_HEADERS = 1, 1, 4
NO_ERROR, INTERNAL_ERROR = 0, 2

# :status 200 (static entry 8) and content-type (static entry 31) with a literal value.
RESPONSE_HEADERS = b"\x88\x5f\x10application/grpc"


class Connection:
    """One connection, while it lasts."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.messages: list[processor_pb2.LinkRequest] = []
        self.stream_id = 0
        self._writer = writer
        self._data = b""

    def begin(self, stream_id: int) -> None:
        self.stream_id = stream_id
        self.messages.clear()
        self._data = b""

    def send(self, kind: int, flags: int, stream_id: int, payload: bytes = b"") -> None:
        head = struct.pack(">I", len(payload))[1:] + bytes((kind, flags))
        self._writer.write(head + struct.pack(">I", stream_id) + payload)

    def say(self, message: processor_pb2.LinkResponse) -> None:
        raw = message.SerializeToString()
        self.send(DATA, 0, self.stream_id, b"\0" + struct.pack(">I", len(raw)) + raw)

    def say_hello(self) -> None:
        self.send(HEADERS, END_HEADERS, self.stream_id, RESPONSE_HEADERS)
        back = processor_pb2.HelloBack(ledger="ledger-a", accepts_repeat=True)
        self.say(processor_pb2.LinkResponse(frame_number=1, hello_back=back))

    def reset_stream(self) -> None:
        self.send(RST_STREAM, 0, self.stream_id, struct.pack(">I", INTERNAL_ERROR))

    def go_away(self) -> None:
        """Say that no stream was ever processed, and hang up."""
        self.send(GOAWAY, 0, 0, struct.pack(">II", 0, NO_ERROR))
        self.close()

    def close(self) -> None:
        """End in order: FIN."""
        self._writer.close()

    def abort(self) -> None:
        """End at once: RST, as the system does for a process that was killed."""
        if self._writer.transport.is_closing():
            return
        found = self._writer.get_extra_info("socket")
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def collect(self, payload: bytes) -> int:
        """Add DATA; return how many messages it completed."""
        self._data += payload
        before = len(self.messages)
        while len(self._data) >= 5:
            length = struct.unpack(">I", self._data[1:5])[0]
            if len(self._data) < 5 + length:
                break
            raw, self._data = self._data[5 : 5 + length], self._data[5 + length :]
            self.messages.append(processor_pb2.LinkRequest.FromString(raw))
        return len(self.messages) - before


Script = Callable[[str, Connection], None]
"""Called at each moment: accepted, settings, headers, hello, items."""


class Http2Peer:
    """Listens, and follows its script on each connection."""

    def __init__(self) -> None:
        self.script: Script = lambda moment, connection: None
        self.connections: list[Connection] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self.port

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self.connections:
            connection.abort()
        await asyncio.gather(*self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        connection = Connection(writer)
        self.connections.append(connection)
        try:
            self.script("accepted", connection)
            await reader.readexactly(len(PREFACE))
            connection.send(SETTINGS, 0, 0)
            self.script("settings", connection)
            while True:
                await self._take(reader, connection)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _take(self, reader: asyncio.StreamReader, connection: Connection) -> None:
        head = await reader.readexactly(9)
        length = int.from_bytes(head[:3], "big")
        kind, flags = head[3], head[4]
        stream_id = int.from_bytes(head[5:], "big") & 0x7FFF_FFFF
        payload = await reader.readexactly(length)
        if kind == SETTINGS and not flags & ACK:
            connection.send(SETTINGS, ACK, 0)
        elif kind == PING and not flags & ACK:
            connection.send(PING, ACK, 0, payload)
        elif kind == HEADERS:
            connection.begin(stream_id)
            self.script("headers", connection)
        elif kind == DATA and stream_id == connection.stream_id:
            for _ in range(connection.collect(payload)):
                first = len(connection.messages) == 1
                self.script("hello" if first else "items", connection)
