"""What is certain when a link ends: a killed process, and a peer that breaks off anywhere.

Written is lost, unwritten is not sent, each is settled once, and the link comes back. This is the
contract with the transport: it is to be run again for each new grpcio.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from random import Random

import pytest

from switch.clock import SystemClock
from switch.rpc.link import Greeter, Link, LinkTimes
from switch.rpc.transport import ChannelSecurity, open_channel
from tests.rpc.conftest import Supervisor, until
from tests.rpc.http2_peer import Connection, Http2Peer
from tests.rpc.nodes import RecordingObserver, Sendings, authorization, node_settings

NAME = "alpha-1"
MOMENTS = ["accepted", "settings", "headers", "hello", "items"]
BREAKS: dict[str, Callable[[Connection], None]] = {
    "reset": Connection.reset_stream,
    "goaway": Connection.go_away,
    "close": Connection.close,
    "abort": Connection.abort,
}


def open_link(port: int, supervisor: Supervisor, observer: RecordingObserver) -> Link:
    """Open a link without health checks, so that its stream is the only one."""
    node = node_settings(NAME, port)
    link = Link(
        node,
        open_channel(node.address, ChannelSecurity(insecure=True)),
        Greeter("switch-1", 1),
        observer,
        SystemClock(),
        Random(1),
        supervisor.spawn,
        LinkTimes(reopen_min_s=0.01, reopen_max_s=0.05, hello_timeout_s=0.3),
    )
    supervisor.spawn(link.run(), "link")
    return link


class NodeProcess:
    """A node in a process of its own."""

    def __init__(self) -> None:
        self.port = 0
        self.read: list[int] = []
        """How many items each frame had, the hello first."""
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.rpc.nodes",
            str(self.port),
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self.port = int(await self._process.stdout.readline())
        self._reading = asyncio.create_task(self._read(self._process.stdout))

    async def _read(self, out: asyncio.StreamReader) -> None:
        while line := await out.readline():
            self.read.append(int(line))

    def send_signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        assert self._process is not None
        assert self._reading is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading


@pytest.fixture
async def node() -> AsyncIterator[NodeProcess]:
    found = NodeProcess()
    await found.start()
    yield found
    await found.kill()


@pytest.fixture
def observer() -> RecordingObserver:
    return RecordingObserver()


@pytest.fixture
async def peer() -> AsyncIterator[Http2Peer]:
    found = Http2Peer()
    await found.start()
    yield found
    await found.stop()


async def test_a_killed_node_is_noticed_at_once_and_all_it_held_is_settled_in_one_turn(
    node: NodeProcess, supervisor: Supervisor, observer: RecordingObserver
) -> None:
    link = open_link(node.port, supervisor, observer)
    sendings = Sendings(observer)
    await until(lambda: bool(observer.of("ready")))
    offered = [sendings.make() for _ in range(200)]
    for sending in offered:
        link.offer(sending)
    await until(lambda: sum(node.read) == 200)

    turns: list[int] = []
    settled = observer.settled
    turn = 0
    running = True

    async def count_turns() -> None:
        nonlocal turn
        while running:
            turn += 1
            await asyncio.sleep(0)

    def noting(sending: object, event: object) -> None:
        turns.append(turn)
        settled(sending, event)  # type: ignore[arg-type] # passed on as it came

    for sending in offered:
        sending.settle = noting
    counting = asyncio.create_task(count_turns())
    killed_at = time.monotonic()
    await node.kill()
    await until(lambda: len(turns) == 200)
    noticed_s = time.monotonic() - killed_at
    running = False
    await counting
    assert set(observer.classes().values()) == {"LINK_LOST"}
    assert len(set(turns)) == 1
    names = [event[0] for event in observer.events]
    assert names.index("lost") < names.index("settled")
    assert noticed_s < 1.0


async def test_what_a_killed_node_was_not_written_was_not_sent(
    node: NodeProcess, supervisor: Supervisor, observer: RecordingObserver
) -> None:
    link = open_link(node.port, supervisor, observer)
    sendings = Sendings(observer)
    await until(lambda: bool(observer.of("ready")))
    node.send_signal(signal.SIGSTOP)
    offered = [sendings.make(authorization(n, sealed=bytes(4096))) for n in range(1, 3001)]
    for sending in offered:
        link.offer(sending)
    written = -1
    while written != sum(sending.written for sending in offered):
        written = sum(sending.written for sending in offered)
        await asyncio.sleep(0.2)
    assert 0 < written < 3000
    await node.kill()
    await until(lambda: len(observer.of("settled")) == 3000)
    assert observer.classes() == {
        sending.number: "LINK_LOST" if sending.written else "NOT_SENT" for sending in offered
    }


async def test_the_link_comes_back_with_the_node(
    node: NodeProcess, supervisor: Supervisor, observer: RecordingObserver
) -> None:
    link = open_link(node.port, supervisor, observer)
    await until(lambda: len(observer.of("ready")) == 1)
    await node.kill()
    await until(lambda: len(observer.of("lost")) == 1)
    await asyncio.sleep(0.3)
    await node.start()
    started_at = time.monotonic()
    await until(lambda: len(observer.of("ready")) == 2)
    assert time.monotonic() - started_at < 3.0
    assert link.newest_frame() == (2, 1)


@pytest.mark.parametrize(
    ("moment", "how"),
    [
        (moment, how)
        for moment in MOMENTS
        for how in BREAKS
        if how != "reset" or moment not in {"accepted", "settings"}  # there is no stream yet
    ],
)
async def test_wherever_a_peer_breaks_off_each_sending_is_settled_once_for_what_it_was(
    moment: str, how: str, peer: Http2Peer, supervisor: Supervisor, observer: RecordingObserver
) -> None:
    broken = 0

    def script(now: str, connection: Connection) -> None:
        nonlocal broken
        if now == moment:
            broken += 1
            BREAKS[how](connection)
        elif now == "hello":
            connection.say_hello()

    peer.script = script
    link = open_link(peer.port, supervisor, observer)
    sendings = Sendings(observer)
    before = sendings.make()
    link.offer(before)
    await until(lambda: broken > 0 or bool(observer.of("ready")))
    after = sendings.make()
    link.offer(after)
    await until(lambda: len(observer.of("settled")) == 2)
    lost = "LINK_LOST" if moment == "items" else "NOT_SENT"
    assert observer.classes() == {before.number: "NOT_SENT", after.number: lost}
    assert after.written == (moment == "items")
    assert broken > 0
    # The peer mends its ways: the link comes back.
    ready = len(observer.of("ready"))
    peer.script = lambda now, connection: connection.say_hello() if now == "hello" else None
    await until(lambda: len(observer.of("ready")) > ready)
    last = sendings.make()
    link.offer(last)
    await until(lambda: last.written)
    await asyncio.sleep(0.02)
    assert last.number not in observer.settlements()
    await peer.stop()
    await until(lambda: observer.classes().get(last.number) == "LINK_LOST")
