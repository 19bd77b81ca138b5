"""The process that owns a ledger's books and serves its nodes over a unix socket.

It is the far side of every fault: nodes are killed and stopped, their host is not, and what it has
written is the truth that an audit compares with. All that arrived while the last turn was being
written is the next turn; its answers leave when it is durable, one frame for each node.
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import json
import os
import signal
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import cast

from clients.simulator.ledger import WAL_PAGES_MAX, Asker, Ledger, LedgerInvalid, Now
from clients.simulator.message import (
    BUFFER_BYTES,
    FrameInvalid,
    Join,
    Opened,
    Question,
    QuestionReader,
    Recorded,
    Reply,
    Welcome,
    frame,
)

COPY_BACK_EVERY_S = 1.0


def read_clocks() -> Now:
    """Read the two clocks."""
    return Now(time.monotonic(), time.time_ns() // 1_000_000)


class Host:
    """Gathers what the nodes ask, takes it to the ledger turn by turn, and answers."""

    def __init__(self, ledger: Ledger) -> None:
        self.failure: Exception | None = None
        self.stopped = asyncio.Event()
        self._ledger = ledger
        self._loop = asyncio.get_running_loop()
        self._connections: dict[Asker, Connection] = {}
        self._joined_count = 0
        self._waiting: list[tuple[Connection, Question]] = []
        self._turn_is_due = False
        self._alarm: asyncio.TimerHandle | None = None
        self._copying: asyncio.Future[None] | None = None
        self._set_alarm()

    def ask(self, connection: Connection, questions: list[Question]) -> None:
        """Put questions to the next turn."""
        self._waiting += [(connection, question) for question in questions]
        self._turn_soon()

    def leave(self, connection: Connection) -> None:
        """Forget a connection that is gone; what it asked is done all the same."""
        if connection.asker is not None:
            self._connections.pop(connection.asker, None)

    def copy_back(self) -> None:
        """Keep the WAL short; every second while the host runs.

        Most of the work is a thread's, beside the turns; the little that they add is the loop's.
        """
        self._loop.call_later(COPY_BACK_EVERY_S, self.copy_back)
        idle = self._copying is None or self._copying.done()
        if idle and self._ledger.wal_pages > WAL_PAGES_MAX:
            self._copying = self._loop.run_in_executor(None, self._ledger.copy_back)
            self._copying.add_done_callback(self._copied)

    def _copied(self, copying: asyncio.Future[None]) -> None:
        try:
            copying.result()
            self._ledger.copy_rest()
        except Exception as failure:  # noqa: BLE001 - the books failed
            self._fail(failure)

    def _fail(self, failure: Exception) -> None:
        """End the process: what is not durable is answered by nobody."""
        self.failure = failure
        self.stopped.set()

    # -- turns

    def _turn_soon(self) -> None:
        """Take the next turn when this pass of the loop has read from every connection."""
        if not self._turn_is_due:
            self._turn_is_due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_is_due = False
        if self.failure is not None:
            return
        waiting, self._waiting = self._waiting, []
        replies: dict[Connection, list[Reply]] = defaultdict(list)
        now = read_clocks()
        try:
            with self._ledger.turn():
                for connection, question in waiting:
                    reply = self._reply(connection, question, now)
                    if reply is not None:
                        replies[connection].append(reply)
                for asker, answer in self._ledger.fall_due(now):
                    asked = None if asker is None else self._connections.get(asker)
                    if asked is not None:
                        replies[asked].append(answer)
        except Exception as failure:  # noqa: BLE001 - the books failed
            self._fail(failure)
            return
        for connection, said in replies.items():
            connection.say(said)
        self._set_alarm()

    def _reply(self, connection: Connection, question: Question, now: Now) -> Reply | None:
        if isinstance(question, Join):
            self._joined_count += 1
            connection.asker = Asker(question.node, self._joined_count)
            self._connections[connection.asker] = connection
            newest = self._ledger.newest_sessions(question.node)
            return Welcome(self._ledger.name, newest)
        asker = connection.asker
        if asker is None:
            return None
        if isinstance(question, Opened):
            link = (question.epoch, question.session)
            self._ledger.open_session(asker.node, question.switch_id, link, now)
            return Recorded(question.number)
        return self._ledger.take(question, asker, now)

    def _set_alarm(self) -> None:
        """Ring at the next decision: one alarm for all of them."""
        due_s = self._ledger.next_due_s()
        if self._alarm is not None:
            if due_s is not None and self._alarm.when() <= due_s and not self._alarm.cancelled():
                return
            self._alarm.cancel()
            self._alarm = None
        if due_s is not None:
            self._alarm = self._loop.call_at(due_s, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._turn_soon()


class Connection(asyncio.BufferedProtocol):
    """One node's line to the host."""

    def __init__(self, host: Host) -> None:
        self.asker: Asker | None = None
        self._host = host
        self._reader = QuestionReader()
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give room to read into."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Ask what came; end a connection that is not of this protocol."""
        assert self._transport is not None
        try:
            for questions in self._reader.feed(self._buffer[:nbytes]):
                self._host.ask(self, questions)
        except FrameInvalid:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._transport = None
        self._host.leave(self)

    def say(self, replies: list[Reply]) -> None:
        """Send one frame, if anybody still listens."""
        if self._transport is not None:
            self._transport.write(frame(replies))


async def serve(ledger: Ledger, socket: Path) -> Exception | None:
    """Serve until SIGTERM or SIGINT, or until the books fail; return why they did."""
    loop = asyncio.get_running_loop()
    host = Host(ledger)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, host.stopped.set)
    host.copy_back()
    server = await loop.create_unix_server(lambda: Connection(host), str(socket))
    gc.freeze()
    ready = {"ready": True, "ledger": ledger.name, "address": str(socket), "pid": os.getpid()}
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    await host.stopped.wait()
    server.close()
    return host.failure


def run(name: str, file: Path, socket: Path, synchronous: str) -> int:
    """Run a ledger host; return the process's exit code."""
    lock = Path(f"{file}.lock").open("a", encoding="utf-8")  # noqa: SIM115 - held until the end
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.stderr.write(f"{file} has a host already\n")
        return 1
    try:
        ledger = Ledger(file, name, read_clocks(), synchronous=synchronous)
    except LedgerInvalid as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    socket.unlink(missing_ok=True)
    cause = asyncio.run(serve(ledger, socket))
    socket.unlink(missing_ok=True)
    if cause is not None:
        sys.stderr.write(f"the books of {name} failed: {cause!r}\n")
        return 1
    ledger.close()
    return 0
