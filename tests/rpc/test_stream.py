"""A terminal's stream: frames in, frames out, and nothing one item does harms another."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from payswitch.terminal.v1 import terminal_pb2, terminal_pb2_grpc
from switch.core.message import Refused
from switch.rpc.server import Port
from switch.rpc.terminal import TerminalServicer, TerminalSettings
from tests.rpc.conftest import FakeStory, Faults, Supervisor, approval, payment, until

if TYPE_CHECKING:
    Stub = terminal_pb2_grpc.TerminalServiceAsyncStub
    Call = grpc.aio.StreamStreamCall[Any, terminal_pb2.AuthorizeStreamResponse]

Frame = terminal_pb2.AuthorizeStreamRequest
Results = list[terminal_pb2.AuthorizeResult]

HUGE = Frame(requests=[payment(envelopes=[{"sealed": bytes(150_000)}])]).SerializeToString()
RAW_METHOD = "/payswitch.terminal.v1.TerminalService/AuthorizeStream"


async def read_results(call: Call, count: int) -> Results:
    results: Results = []
    async with asyncio.timeout(5):
        while len(results) < count:
            frame = await call.read()
            assert frame is not grpc.aio.EOF, f"ended after {len(results)} results"
            assert isinstance(frame, terminal_pb2.AuthorizeStreamResponse)
            results += frame.results
    return results


async def test_each_item_of_a_frame_is_answered_under_its_id(
    terminal: Stub, story: FakeStory
) -> None:
    frame = Frame(requests=[payment() for _ in range(64)])
    call = terminal.AuthorizeStream()
    await call.write(frame)
    results = await read_results(call, 64)
    assert {r.request_id for r in results} == {r.request_id for r in frame.requests}
    assert {r.response.status for r in results} == {terminal_pb2.AUTHORIZATION_STATUS_APPROVED}
    assert len(story.frames) == 1
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_half_close_ends_the_stream_after_the_last_answer(
    terminal: Stub, story: FakeStory
) -> None:
    story.held = True
    call = terminal.AuthorizeStream()
    await call.write(Frame(requests=[payment(), payment()]))
    await call.done_writing()
    await until(lambda: len(story.waiting) == 2)
    first, second = story.waiting
    first[1](first[0], approval(first[0]))
    assert len(await read_results(call, 1)) == 1
    assert not call.done()
    second[1](second[0], approval(second[0]))
    assert len(await read_results(call, 1)) == 1
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_an_empty_stream_ends_well(terminal: Stub) -> None:
    call = terminal.AuthorizeStream()
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_a_bad_item_is_answered_at_once_and_harms_no_neighbour(
    terminal: Stub, story: FakeStory
) -> None:
    story.held = True
    good, bad = payment(), payment(country="Germany", bin="4111")
    call = terminal.AuthorizeStream()
    await call.write(Frame(requests=[good, bad]))
    [refused] = await read_results(call, 1)
    assert refused.request_id == bad.request_id
    assert refused.refusal.reason == "FIELD_INVALID"
    assert refused.refusal.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert [v.field for v in refused.refusal.field_violations] == ["bin", "country"]
    assert [r.request_id for r in story.accepted] == [good.request_id]
    story.answer_all()
    [answered] = await read_results(call, 1)
    assert answered.request_id == good.request_id
    assert answered.HasField("response")
    call.cancel()


async def test_a_refusal_by_the_story_is_told_with_its_delay(
    terminal: Stub, story: FakeStory
) -> None:
    story.outcome = lambda _: Refused("OVERLOADED", "Busy, try again in 2 s.", 2.0)
    call = terminal.AuthorizeStream()
    await call.write(Frame(requests=[payment()]))
    [result] = await read_results(call, 1)
    assert result.refusal.reason == "OVERLOADED"
    assert result.refusal.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert result.refusal.message == "Busy, try again in 2 s."
    assert result.refusal.retry_delay.seconds == 2
    call.cancel()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\xff\xff\xff", "MALFORMED"),
        (HUGE, "MALFORMED"),
        (
            Frame(
                requests=[terminal_pb2.AuthorizeRequest() for _ in range(65)]
            ).SerializeToString(),
            "FIELD_INVALID",
        ),
        (b"", "FIELD_INVALID"),
    ],
    ids=["no message", "over 128 KiB", "65 items", "no items"],
)
async def test_a_frame_that_cannot_be_taken_is_refused_whole_and_the_stream_lives_on(
    channel: grpc.aio.Channel, raw: bytes, reason: str
) -> None:
    call: grpc.aio.StreamStreamCall[bytes, Any] = channel.stream_stream(
        RAW_METHOD, response_deserializer=terminal_pb2.AuthorizeStreamResponse.FromString
    )()
    await call.write(raw)
    [refused] = await read_results(call, 1)
    assert refused.request_id == ""
    assert refused.refusal.reason == reason
    good = payment()
    await call.write(Frame(requests=[good]).SerializeToString())
    [answered] = await read_results(call, 1)
    assert answered.request_id == good.request_id
    assert answered.HasField("response")
    call.cancel()


async def test_a_terminal_that_leaves_cancels_no_payment_and_leaves_nothing_behind(
    terminal: Stub,
    story: FakeStory,
    servicer: TerminalServicer,
    supervisor: Supervisor,
    faults: Faults,
) -> None:
    story.held = True
    call = terminal.AuthorizeStream()
    await call.write(Frame(requests=[payment()]))
    await until(lambda: len(story.waiting) == 1)
    assert servicer.stream_count == 1
    call.cancel()
    await until(lambda: servicer.stream_count == 0 and not supervisor.tasks)
    story.answer_all()
    await asyncio.sleep(0.01)
    assert faults.seen == []


@pytest.mark.parametrize("terminal_settings", [TerminalSettings(stream_unanswered_max=128)])
async def test_nothing_more_is_read_while_too_much_is_unanswered(
    terminal: Stub, story: FakeStory
) -> None:
    story.held = True
    call = terminal.AuthorizeStream()
    for _ in range(5):
        await call.write(Frame(requests=[payment() for _ in range(64)]))
    await until(lambda: len(story.accepted) == 128)
    await asyncio.sleep(0.05)
    assert len(story.accepted) == 128
    story.answer_all()
    await read_results(call, 128)
    await until(lambda: len(story.accepted) == 256)
    story.held = False
    story.answer_all()
    await read_results(call, 192)
    assert len(story.accepted) == 320
    call.cancel()


@pytest.mark.parametrize("terminal_settings", [TerminalSettings(stream_unanswered_max=64)])
async def test_a_stream_abandoned_while_it_is_held_back_leaves_nothing_behind(
    terminal: Stub, story: FakeStory, servicer: TerminalServicer, supervisor: Supervisor
) -> None:
    story.held = True
    call = terminal.AuthorizeStream()
    await call.write(Frame(requests=[payment() for _ in range(64)]))
    await call.write(Frame(requests=[payment() for _ in range(64)]))
    await until(lambda: len(story.accepted) == 64)
    call.cancel()
    await until(lambda: servicer.stream_count == 0 and not supervisor.tasks)


async def test_a_switch_going_down_ends_streams_after_their_last_answer(
    terminal: Stub,
    story: FakeStory,
    servicer: TerminalServicer,
    supervisor: Supervisor,
    faults: Faults,
) -> None:
    story.held = True
    call = terminal.AuthorizeStream()
    await call.write(Frame(requests=[payment()]))
    await until(lambda: len(story.waiting) == 1)
    servicer.finish()
    await asyncio.sleep(0.02)
    assert not call.done()
    story.answer_all()
    await read_results(call, 1)
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await call.read()
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    await until(lambda: servicer.stream_count == 0 and not supervisor.tasks)
    assert faults.seen == []


async def test_a_fault_of_ours_ends_the_stream_with_a_fixed_text(
    terminal: Stub, story: FakeStory, faults: Faults
) -> None:
    story.fault = AssertionError("secret 4111111111111111")
    call = terminal.AuthorizeStream()
    await call.write(Frame(requests=[payment()]))
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await call.read()
    assert ended.value.code() is grpc.StatusCode.INTERNAL
    assert "4111" not in repr(ended.value)
    assert [where for where, _ in faults.seen] == [RAW_METHOD]


async def test_a_server_that_stops_cuts_streams_without_a_fault(
    terminal: Stub, port: Port, servicer: TerminalServicer, supervisor: Supervisor, faults: Faults
) -> None:
    call = terminal.AuthorizeStream()
    await call.write(Frame(requests=[payment()]))
    await read_results(call, 1)
    await port.stop(0.05)
    await until(lambda: servicer.stream_count == 0 and not supervisor.tasks)
    assert faults.seen == []


async def test_hundreds_of_streams_that_come_and_go_leave_nothing_behind(
    terminal: Stub,
    story: FakeStory,
    servicer: TerminalServicer,
    supervisor: Supervisor,
    faults: Faults,
) -> None:
    story.held = True
    frame = Frame(requests=[payment()])
    for number in range(400):
        call = terminal.AuthorizeStream()
        if number % 3:
            await call.write(frame)
        if number % 5 == 0:
            story.answer_all()
        if number % 7 == 0:
            await call.done_writing()
        call.cancel()
    story.held = False
    story.answer_all()
    await until(lambda: servicer.stream_count == 0 and not supervisor.tasks, timeout_s=20.0)
    assert faults.seen == []
    assert (await terminal.Authorize(payment())).response_code == "00"
