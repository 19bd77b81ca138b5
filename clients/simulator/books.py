"""A node's line to its ledger host.

Questions gather while the loop runs and leave as one frame; answers come back to whoever asked, by
number. While the host is away nothing can be asked, so nothing is claimed. What was under way when
the line broke is never answered here: the node ends its streams, and says no more than it knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import cast

from clients.simulator.message import (
    BUFFER_BYTES,
    Answer,
    FrameInvalid,
    Item,
    Join,
    Opened,
    Question,
    Recorded,
    Reply,
    ReplyReader,
    Welcome,
    frame,
)

ASKED_MAX = 8192
"""Questions under way; beyond it the node refuses."""
RECONNECT_AFTER_S = 0.1

Answered = Callable[[Answer], None]


class HostAway(Exception):
    """There is no host to ask, or it left before it answered."""


class Books(asyncio.BufferedProtocol):
    """The ledger, as its node sees it."""

    def __init__(
        self, socket: Path, node: str, on_change: Callable[[Welcome | None], None]
    ) -> None:
        """Call ``on_change`` with the host's welcome, and with None when the host is gone."""
        self._socket = socket
        self._node = node
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._reader = ReplyReader()
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._transport: asyncio.Transport | None = None
        self._welcomed = False
        self._broken = asyncio.Event()
        self._number = 0
        self._asked: dict[int, Answered] = {}
        self._opening: dict[int, asyncio.Future[None]] = {}
        self._outbox: list[Question] = []

    async def keep_connected(self) -> None:
        """Connect, and again whenever the line breaks. Runs until cancelled."""
        while True:
            self._broken.clear()
            try:
                await self._loop.create_unix_connection(lambda: self, str(self._socket))
                await self._broken.wait()
            except OSError:
                pass
            await asyncio.sleep(RECONNECT_AFTER_S)

    def can_ask(self) -> bool:
        """Tell whether the host is there and has room."""
        return self._welcomed and len(self._asked) < ASKED_MAX

    def next_number(self) -> int:
        """Return a number for the next question."""
        self._number += 1
        return self._number

    def ask(self, item: Item, answered: Answered) -> None:
        """Take an item to the ledger. Only while ``can_ask``."""
        self._asked[item.number] = answered
        self._put(item)

    async def open_session(self, switch_id: str, epoch: int, session: int) -> None:
        """Have a link remembered; raise HostAway if it cannot be."""
        if not self._welcomed:
            raise HostAway
        opened = Opened(self.next_number(), switch_id, epoch, session)
        recorded: asyncio.Future[None] = self._loop.create_future()
        self._opening[opened.number] = recorded
        self._put(opened)
        await recorded

    # -- asyncio's protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say who we are."""
        self._transport = cast("asyncio.Transport", transport)
        self._reader = ReplyReader()
        self._transport.write(frame([Join(self._node)]))

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give room to read into."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand out what the host said."""
        assert self._transport is not None
        try:
            for replies in self._reader.feed(self._buffer[:nbytes]):
                for reply in replies:
                    self._hear(reply)
        except FrameInvalid:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was asked."""
        was_welcomed, self._welcomed, self._transport = self._welcomed, False, None
        self._asked.clear()
        self._outbox.clear()
        opening, self._opening = self._opening, {}
        for recorded in opening.values():
            if not recorded.done():
                recorded.set_exception(HostAway())
        if was_welcomed:
            self._on_change(None)
        self._broken.set()

    # -- inside

    def _put(self, question: Question) -> None:
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.append(question)

    def _flush(self) -> None:
        outbox, self._outbox = self._outbox, []
        if self._transport is not None and outbox:
            self._transport.write(frame(outbox))

    def _hear(self, reply: Reply) -> None:
        if isinstance(reply, Answer):
            self._asked.pop(reply.number)(reply)
        elif isinstance(reply, Recorded):
            recorded = self._opening.pop(reply.number)
            if not recorded.done():
                recorded.set_result(None)
        else:
            self._welcomed = True
            self._on_change(reply)
