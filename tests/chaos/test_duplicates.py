"""The same request two hundred times at once: one payment, one message, one answer."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import grpc
import pytest

from clients.demo.site import Site, SiteSettings
from clients.terminal.failure import failure_of_error
from clients.terminal.framed import ITEMS_MAX
from payswitch.terminal.v1 import terminal_pb2 as wire
from tests.chaos.world import CARD, ONE_AT_A_TIME, Shop, site_with

if TYPE_CHECKING:
    from payswitch.terminal.v1.terminal_pb2_grpc import TerminalServiceAsyncStub

pytestmark = ONE_AT_A_TIME

COPIES = 200
SLOWLY_APPROVED = 9205
"""An amount the simulated issuer approves after half a second: all copies arrive before that."""


Send = Callable[
    ["TerminalServiceAsyncStub", wire.AuthorizeRequest], Awaitable[list[wire.AuthorizeResponse]]
]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with site_with(SiteSettings()) as site:
        yield site


@pytest.fixture
async def shop(site: Site) -> AsyncIterator[Shop]:
    async with Shop(site) as shop:
        yield shop


def deliveries(site: Site, request_id: str) -> list[tuple[str, str]]:
    """Return every authorization that reached the ledger for a payment."""
    (books,) = site.books
    connection = sqlite3.connect(f"file:{books}?mode=ro", uri=True)
    try:
        return connection.execute(
            'SELECT delivery.kind, delivery.disposition FROM delivery JOIN "authorization"'
            ' USING (reference) WHERE "authorization".request_id = ?',
            (request_id,),
        ).fetchall()
    finally:
        connection.close()


def equal_but_for_replayed(answers: list[wire.AuthorizeResponse]) -> bool:
    """Tell whether answers are equal; how long the node took is known to the first one only."""
    for answer in answers:
        answer.ClearField("replayed")
        answer.ClearField("processing_duration")
    return all(answer == answers[0] for answer in answers)


async def unary(
    stub: TerminalServiceAsyncStub, request: wire.AuthorizeRequest
) -> list[wire.AuthorizeResponse]:
    """Send all copies as calls, at once."""

    async def call() -> wire.AuthorizeResponse:
        return await stub.Authorize(request, timeout=5.0)

    return await asyncio.gather(*(call() for _ in range(COPIES)))


async def framed(
    stub: TerminalServiceAsyncStub, request: wire.AuthorizeRequest
) -> list[wire.AuthorizeResponse]:
    """Send all copies in as few frames as hold them, and collect the answers."""
    stream = stub.AuthorizeStream(timeout=5.0)
    for start in range(0, COPIES, ITEMS_MAX):
        size = min(ITEMS_MAX, COPIES - start)
        await stream.write(wire.AuthorizeStreamRequest(requests=[request] * size))
    answers: list[wire.AuthorizeResponse] = []
    while len(answers) < COPIES:
        frame = await stream.read()
        assert isinstance(frame, wire.AuthorizeStreamResponse), frame
        for result in frame.results:
            assert result.HasField("response"), result.refusal
            answers.append(result.response)
    await stream.done_writing()
    return answers


@pytest.mark.parametrize("send", [unary, framed])
async def test_two_hundred_copies_are_one_payment(site: Site, shop: Shop, send: Send) -> None:
    terminal = shop.terminals[0]
    request = await terminal.sealed_request(CARD, SLOWLY_APPROVED, "EUR")
    stub = terminal.connection.stub

    answers = await send(stub, request)

    assert len(answers) == COPIES
    assert [answer.replayed for answer in answers].count(False) == 1
    assert equal_but_for_replayed(answers)
    assert answers[0].status == wire.AUTHORIZATION_STATUS_APPROVED
    assert deliveries(site, request.request_id) == [("authorization", "CLAIMED")]

    # The same id for another amount: an error, and nothing happens.
    other = wire.AuthorizeRequest()
    other.CopyFrom(request)
    other.amount.amount_minor = SLOWLY_APPROVED + 1
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Authorize(other, timeout=5.0)
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert failure_of_error(refused.value).reason == "REQUEST_ID_REUSED"
    assert len(deliveries(site, request.request_id)) == 1
    again = await stub.Authorize(request, timeout=5.0)
    assert again.replayed
    assert equal_but_for_replayed([again, answers[0]])
