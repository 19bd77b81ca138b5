"""The terminal SDK against a real gRPC server that does what each test tells it."""

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import grpc
import pytest
from cryptography.exceptions import InvalidTag

from clients.terminal import (
    Approval,
    Card,
    Connection,
    Decline,
    EntryMode,
    Kind,
    NoAnswer,
    Patience,
    PaymentState,
    Refused,
    ReversalReason,
    ReversalStatus,
    Terminal,
    TerminalJournal,
    new_request_id,
)
from clients.terminal.failure import CallFailed
from payswitch.terminal.v1 import terminal_pb2 as wire
from tests.clients import scripted_switch as scripted
from tests.clients.scripted_switch import ActAndHangUp, Refuse, ScriptedSwitch, Silence

CARD = Card("4111111111111111", "3012")
STEADY = Patience(timeout_s=10.0, total_s=40.0, backoff_first_s=0.01, backoff_max_s=0.05)
QUICK = Patience(timeout_s=0.3, grace_s=0.1, total_s=5.0, backoff_first_s=0.01, backoff_max_s=0.05)
BRIEF = Patience(timeout_s=0.2, grace_s=0.05, total_s=0.7, backoff_first_s=0.01, backoff_max_s=0.05)

both_modes = pytest.mark.parametrize("framed", [False, True], ids=["unary", "framed"])


@pytest.fixture
async def switch() -> AsyncIterator[ScriptedSwitch]:
    async with ScriptedSwitch() as switch:
        yield switch


def terminal_at(connection: Connection, terminal_id: str = "T-1") -> Terminal:
    return Terminal(
        connection,
        terminal_id,
        merchant_id="M-1",
        merchant_category_code="5411",
        country="FR",
    )


def connect(switch: ScriptedSwitch, framed: bool = False, **options: Any) -> Connection:
    options.setdefault("patience", STEADY)
    return Connection(switch.address, framed=framed, random=Random(1), **options)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_request_id_is_a_uuid_of_version_7_that_carries_its_time() -> None:
    before = time.time_ns() // 1_000_000
    made = UUID(new_request_id())
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000
    assert len({new_request_id() for _ in range(1000)}) == 1000


def test_a_card_does_not_print_its_number() -> None:
    assert repr(CARD) == "Card(41111111…1111)"
    assert "4111111111111111" not in repr(CARD) + str(CARD)
    with pytest.raises(ValueError, match="digits"):
        Card("4111-1111")


@both_modes
async def test_an_approval_is_a_value(switch: ScriptedSwitch, framed: bool) -> None:
    async with connect(switch, framed) as connection:
        answer = await terminal_at(connection).authorize(CARD, 1250, "EUR")
    assert isinstance(answer, Approval)
    assert answer.approved
    assert (answer.approved_amount_minor, answer.currency) == (1250, "EUR")
    assert (answer.response_code, answer.authorization_code) == ("00", "A12345")
    assert answer.processing_s == pytest.approx(0.007)
    assert answer.reversal is ReversalStatus.NONE
    (received,) = switch.received
    assert received.merchant_category_code == "5411"
    assert received.kind == wire.AUTHORIZATION_KIND_PURCHASE
    assert 0 < received.timeout.ToMilliseconds() <= 10_000


@both_modes
async def test_a_decline_is_a_value(switch: ScriptedSwitch, framed: bool) -> None:
    switch.script.append(scripted.Decline("51"))
    async with connect(switch, framed) as connection:
        answer = await terminal_at(connection).authorize(
            CARD, 1250, "EUR", kind=Kind.PREAUTHORIZATION, entry_mode=EntryMode.CONTACTLESS
        )
    assert isinstance(answer, Decline)
    assert not answer.approved
    assert answer.response_code == "51"
    assert switch.received[0].entry_mode == wire.ENTRY_MODE_CONTACTLESS
    assert switch.received[0].kind == wire.AUTHORIZATION_KIND_PREAUTHORIZATION


async def test_the_card_is_sealed_to_this_payment_alone(switch: ScriptedSwitch) -> None:
    async with connect(switch) as connection:
        await terminal_at(connection).authorize(CARD, 1250, "EUR")
    (request,) = switch.received
    opened = switch.open_envelope(request)
    assert (opened.number, opened.expiry) == ("4111111111111111", "3012")
    assert b"4111111111111111" not in request.SerializeToString()
    assert (request.bin, request.last_four) == ("41111111", "1111")
    request.amount.amount_minor = 1251
    with pytest.raises(InvalidTag):
        switch.open_envelope(request)


async def test_keys_are_asked_for_once_by_all_who_want_the_same(switch: ScriptedSwitch) -> None:
    async with connect(switch, framed=True) as connection:
        terminal = terminal_at(connection)
        await asyncio.gather(*(terminal.authorize(CARD, 100 + i, "EUR") for i in range(50)))
        await terminal.authorize(CARD, 999, "EUR")
        assert switch.keys_asked == 1
        await terminal.authorize(CARD, 999, "USD")
        await terminal.authorize(Card("5555555555554444"), 999, "EUR")
    assert switch.keys_asked == 3


@both_modes
async def test_reseal_gets_new_keys_and_keeps_the_request_id(
    switch: ScriptedSwitch, framed: bool
) -> None:
    async with connect(switch, framed) as connection:
        terminal = terminal_at(connection)
        await terminal.authorize(CARD, 100, "EUR")
        switch.new_key("key-2")
        answer = await terminal.authorize(CARD, 200, "EUR")
    assert answer.approved
    first, second = switch.received[1:]
    assert first.request_id == second.request_id
    assert [request.envelopes[0].key_id for request in (first, second)] == ["key-1", "key-2"]
    assert switch.open_envelope(second).number == CARD.number


@both_modes
@pytest.mark.parametrize(
    "step",
    [
        Refuse(grpc.StatusCode.UNAVAILABLE, "NO_NODE_READY", retry_after_s=0.01),
        Refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", retry_after_s=0.01),
        Refuse(grpc.StatusCode.ABORTED, "OUTCOME_UNKNOWN", retry_after_s=0.01),
        Refuse(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_TOO_SHORT"),
        Refuse(grpc.StatusCode.INTERNAL, "INTERNAL"),
        Refuse(grpc.StatusCode.UNAVAILABLE),
        Silence(),
        ActAndHangUp(),
    ],
    ids=lambda step: getattr(step, "reason", "") or type(step).__name__,
)
async def test_what_can_be_repeated_is_repeated_under_the_same_id(
    switch: ScriptedSwitch, framed: bool, step: scripted.Step
) -> None:
    silent = isinstance(step, Silence)
    switch.script.append(step)
    async with connect(switch, framed, patience=QUICK if silent else STEADY) as connection:
        answer = await terminal_at(connection).authorize(CARD, 1250, "EUR")
    assert answer.approved
    assert len(switch.received) == 2 or silent
    assert len({request.request_id for request in switch.received}) == 1
    assert answer.replayed is isinstance(step, ActAndHangUp)


async def test_the_delay_the_switch_asks_for_is_kept(switch: ScriptedSwitch) -> None:
    switch.script.append(Refuse(grpc.StatusCode.UNAVAILABLE, "NO_NODE_READY", retry_after_s=0.4))
    async with connect(switch) as connection:
        began_at = time.monotonic()
        await terminal_at(connection).authorize(CARD, 1250, "EUR")
    assert 0.4 <= time.monotonic() - began_at < 5


def test_pauses_double_up_to_the_maximum_and_are_spread() -> None:
    patience = Patience()
    failure = CallFailed("UNAVAILABLE", "", "", may_have_acted=True)
    pauses = [
        [patience.pause_s(failure, count, Random(seed)) for seed in range(200)]
        for count in range(1, 8)
    ]
    for step_s, spread in zip([0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0], pauses, strict=True):
        assert step_s / 2 <= min(spread) < 0.6 * step_s
        assert 0.9 * step_s < max(spread) <= step_s


@both_modes
async def test_a_refusal_is_typed_and_not_repeated(switch: ScriptedSwitch, framed: bool) -> None:
    switch.script.append(
        Refuse(
            grpc.StatusCode.INVALID_ARGUMENT,
            "FIELD_INVALID",
            "is not a currency",
            field="amount.currency",
        )
    )
    async with connect(switch, framed) as connection:
        with pytest.raises(Refused, match="FIELD_INVALID") as refused:
            await terminal_at(connection).authorize(CARD, 1250, "EUX", request_id=new_request_id())
    assert refused.value.reason == "FIELD_INVALID"
    assert refused.value.status == "INVALID_ARGUMENT"
    if not framed:
        assert refused.value.fields == (("amount.currency", "is not a currency"),)
    assert refused.value.request_id == switch.received[0].request_id
    assert len(switch.received) == 1


@both_modes
async def test_a_busy_switch_is_a_refusal_when_patience_ends(
    switch: ScriptedSwitch, framed: bool
) -> None:
    busy = Refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", retry_after_s=0.02)
    switch.script.extend([busy] * 1000)
    patience = Patience(timeout_s=1.5, total_s=1.5, backoff_first_s=0.01)
    async with connect(switch, framed, patience=patience) as connection:
        with pytest.raises(Refused) as refused:
            await terminal_at(connection).authorize(CARD, 1250, "EUR")
    assert refused.value.reason == "OVERLOADED"
    assert len(switch.received) >= 2


@both_modes
async def test_no_answer_says_so_and_names_the_payment(
    switch: ScriptedSwitch, framed: bool
) -> None:
    switch.script.extend([Silence()] * 100)
    request_id = new_request_id()
    async with connect(switch, framed, patience=BRIEF) as connection:
        began_at = time.monotonic()
        with pytest.raises(NoAnswer) as no_answer:
            await terminal_at(connection).authorize(CARD, 1250, "EUR", request_id=request_id)
    assert time.monotonic() - began_at < 10
    assert no_answer.value.request_id == request_id
    assert no_answer.value.terminal_id == "T-1"
    assert no_answer.value.sends == len(switch.received) >= 2


async def test_a_refusal_after_a_lost_answer_is_no_proof(switch: ScriptedSwitch) -> None:
    switch.script.extend(
        [Silence(), Refuse(grpc.StatusCode.PERMISSION_DENIED, "SCOPE", "may not authorize")]
    )
    async with connect(switch, patience=QUICK) as connection:
        with pytest.raises(NoAnswer, match="may not authorize"):
            await terminal_at(connection).authorize(CARD, 1250, "EUR")


async def test_when_patience_ends_the_switch_is_asked_what_became_of_it(
    switch: ScriptedSwitch,
) -> None:
    switch.mute = True
    async with connect(switch, patience=BRIEF) as connection:
        answer = await terminal_at(connection).authorize(CARD, 1250, "EUR")
    assert len(switch.received) >= 2
    assert isinstance(answer, Approval)


@both_modes
async def test_a_switch_that_restarts_is_found_again(switch: ScriptedSwitch, framed: bool) -> None:
    patience = Patience(timeout_s=5.0, total_s=30.0)
    async with connect(switch, framed, patience=patience) as connection:
        terminal = terminal_at(connection)
        await terminal.authorize(CARD, 100, "EUR")
        switch.script.extend([Silence()] * 20)
        open_ones = [
            asyncio.create_task(terminal.authorize(CARD, 200 + i, "EUR")) for i in range(20)
        ]
        await switch.has_received(21)
        await switch.stop()
        await asyncio.sleep(0.3)
        await switch.start()
        began_at = time.monotonic()
        answers = await asyncio.gather(*open_ones)
    assert time.monotonic() - began_at < 5
    assert all(answer.approved for answer in answers)
    assert len({request.request_id for request in switch.received}) == 21


async def test_nothing_was_sent_if_no_switch_was_there_at_all(switch: ScriptedSwitch) -> None:
    await switch.stop()
    async with connect(switch, patience=BRIEF) as connection:
        with pytest.raises(Refused) as refused:
            await terminal_at(connection).authorize(CARD, 100, "EUR")
    assert refused.value.reason == "UNAVAILABLE"


async def test_a_frame_takes_all_that_waits_and_no_more_than_64(switch: ScriptedSwitch) -> None:
    async with connect(switch, framed=True) as connection:
        terminal = terminal_at(connection)
        await terminal.authorize(CARD, 100, "EUR")
        answers = await asyncio.gather(
            *(terminal.authorize(CARD, 1000 + i, "EUR") for i in range(500))
        )
    assert [answer.request_id for answer in answers] == list(
        dict.fromkeys(request.request_id for request in switch.received[1:])
    )
    assert sum(switch.frames) == 501
    assert max(switch.frames) <= 64
    assert len(switch.frames) < 250
    assert switch.streams == 1


async def test_a_frame_stays_within_128_kib(switch: ScriptedSwitch) -> None:
    fat = Card("4111111111111111", emv=bytes(3900))
    async with connect(switch, framed=True) as connection:
        terminal = terminal_at(connection)
        await terminal.authorize(fat, 100, "EUR")
        await asyncio.gather(*(terminal.authorize(fat, 1000 + i, "EUR") for i in range(200)))
    assert 20 < max(switch.frames) <= 128 // 4


async def test_twins_in_one_frame_are_both_answered(switch: ScriptedSwitch) -> None:
    request_id = new_request_id()
    async with connect(switch, framed=True) as connection:
        terminal = terminal_at(connection)
        answers = await asyncio.gather(
            *(terminal.authorize(CARD, 100, "EUR", request_id=request_id) for _ in range(20))
        )
    assert len(switch.received) == 20
    assert [answer.replayed for answer in answers].count(False) == 1


async def test_two_payments_under_one_id_are_not_let_into_one_stream(
    switch: ScriptedSwitch,
) -> None:
    switch.hold = asyncio.Event()
    request_id = new_request_id()
    async with connect(switch, framed=True) as connection:
        terminal = terminal_at(connection)
        first = asyncio.create_task(terminal.authorize(CARD, 100, "EUR", request_id=request_id))
        await switch.has_received(1)
        with pytest.raises(ValueError, match="other contents"):
            await terminal.authorize(CARD, 101, "EUR", request_id=request_id)
        switch.hold.set()
        assert (await first).approved


async def test_closing_waits_for_what_is_open(switch: ScriptedSwitch) -> None:
    switch.hold = asyncio.Event()
    connection = connect(switch, framed=True, patience=Patience())
    payment = asyncio.create_task(terminal_at(connection).authorize(CARD, 100, "EUR"))
    await switch.has_received(1)
    closing = asyncio.create_task(connection.close())
    await asyncio.sleep(0.05)
    switch.hold.set()
    await closing
    assert (await payment).approved


async def test_a_cancelled_sale_does_not_disturb_the_stream(
    switch: ScriptedSwitch, tmp_path: Path
) -> None:
    path = tmp_path / "terminal.jsonl"
    switch.hold = asyncio.Event()
    async with connect(switch, framed=True, journal=path) as connection:
        terminal = terminal_at(connection)
        given_up = asyncio.create_task(terminal.authorize(CARD, 100, "EUR"))
        await switch.has_received(1)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        switch.hold.set()
        assert (await terminal.authorize(CARD, 200, "EUR")).approved
    assert [line["event"] for line in lines(path)][:3] == ["intended", "sent", "gave_up"]
    assert switch.streams == 1


async def test_a_payment_is_reversed_wholly_or_in_part(switch: ScriptedSwitch) -> None:
    switch.reversal_script.append(Refuse(grpc.StatusCode.UNAVAILABLE, "JOURNAL_UNAVAILABLE"))
    async with connect(switch) as connection:
        terminal = terminal_at(connection)
        answer = await terminal.authorize(CARD, 1250, "EUR")
        assert isinstance(answer, Approval)
        part = await terminal.reverse(answer, amount_minor=250)
        whole = await terminal.reverse(answer.request_id, reason=ReversalReason.COULD_NOT_COMPLETE)
        unknown = await terminal.reverse(new_request_id())
        with pytest.raises(ValueError, match="currency"):
            await terminal.reverse(answer.request_id, amount_minor=250)
    assert (part.reversal, part.reversed_amount_minor) == (ReversalStatus.OWED, 250)
    assert whole.reversed_amount_minor == 1250
    assert not unknown.original_known
    assert unknown.reversal is ReversalStatus.NONE
    refused, repeated, second, _ = switch.reversals
    assert refused == repeated
    assert second.request_id != repeated.request_id
    assert not second.HasField("amount")
    assert second.reason == wire.REVERSAL_REASON_COULD_NOT_COMPLETE


async def test_a_payment_can_be_asked_for(switch: ScriptedSwitch) -> None:
    async with connect(switch) as connection:
        terminal = terminal_at(connection)
        answer = await terminal.authorize(CARD, 1250, "EUR")
        payment = await terminal.get(answer.request_id)
        with pytest.raises(Refused, match="PAYMENT_UNKNOWN"):
            await terminal.get(new_request_id())
    assert payment.state is PaymentState.CONCLUDED
    assert payment.answer == answer
    assert [(event.at_ms, event.event) for event in payment.timeline] == [(1000, "accepted")]


@both_modes
async def test_the_journal_holds_what_the_terminal_knows(
    switch: ScriptedSwitch, tmp_path: Path, framed: bool
) -> None:
    path = tmp_path / "terminal.jsonl"
    switch.script.extend(
        [
            Refuse(grpc.StatusCode.UNAVAILABLE, "NO_NODE_READY"),
            scripted.Approve(1000),
            Refuse(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"),
        ]
    )
    async with connect(switch, framed, journal=path) as connection:
        terminal = terminal_at(connection)
        began_at = asyncio.get_running_loop().time() - 1.0
        answer = await terminal.authorize(
            CARD, 1250, "EUR", accepts_partial_approval=True, began_at=began_at
        )
        with pytest.raises(Refused):
            await terminal.authorize(CARD, 1, "EUR")
        await terminal.reverse(answer.request_id)
    written = lines(path)
    assert [line["event"] for line in written] == [
        *("intended", "sent", "failed", "sent", "answered"),
        *("intended", "sent", "failed", "refused"),
        *("reversal_intended", "reversal_sent", "reversal_answered"),
    ]
    assert all({"at_ms", "terminal_id", "request_id", "call"} <= line.keys() for line in written)
    intended, answered = written[0], written[4]
    assert intended["call"] == answered["call"] != written[5]["call"]
    assert (intended["amount_minor"], intended["currency"]) == (1250, "EUR")
    expected = {
        "request_id": answer.request_id,
        "terminal_id": "T-1",
        "amount_minor": 1250,
        "currency": "EUR",
        "outcome": "approved",
        "code": "00",
        "approved_amount_minor": 1000,
        "authorization_code": "A12345",
        "replayed": False,
        "processing_duration_ms": 7.0,
        "sends": 2,
        "via": "authorize",
    }
    assert expected.items() <= answered.items()
    assert 1000 < answered["latency_ms"] < 3000
    assert written[-1]["original_request_id"] == answer.request_id
    assert b"4111111111111111" not in path.read_bytes()


def test_a_journal_line_is_in_the_file_before_the_next_step(tmp_path: Path) -> None:
    path = tmp_path / "terminal.jsonl"
    with TerminalJournal(path) as journal:
        journal.write("intended", request_id="a")
        with TerminalJournal(path) as other:
            other.write("intended", request_id="b")
        journal.write("intended", request_id="c")
        assert [line["request_id"] for line in lines(path)] == ["a", "b", "c"]
        assert journal.new_call() != journal.new_call()


async def test_a_request_can_be_prepared_for_another_client(switch: ScriptedSwitch) -> None:
    async with connect(switch) as connection:
        request = await terminal_at(connection).sealed_request(CARD, 1250, "EUR")
        assert switch.open_envelope(request).number == CARD.number
        assert not switch.received
        response = await connection.stub.Authorize(request)
    assert response.status == wire.AUTHORIZATION_STATUS_APPROVED


async def test_a_terminal_may_bring_its_own_connection(switch: ScriptedSwitch) -> None:
    async with Terminal(
        switch.address, "T-9", merchant_id="M-1", merchant_category_code="5411", country="FR"
    ) as terminal:
        assert (await terminal.authorize(CARD, 1250, "EUR")).approved


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:7100", True),
        ("localhost:7100", True),
        ("[::1]:7100", True),
        ("unix:/run/payswitch.sock", True),
        ("192.0.2.7:7100", False),
        ("switch.example:7100", False),
    ],
)
def test_plain_text_does_not_leave_this_machine(address: str, local: bool) -> None:
    if local:
        Connection(address)
    else:
        with pytest.raises(ValueError, match="insecure"):
            Connection(address)
        Connection(address, insecure=True)


def test_patience_must_hold_one_send() -> None:
    with pytest.raises(ValueError, match="timeout_s"):
        Patience(timeout_s=40)


async def test_an_unreadable_frame_costs_the_stream_and_no_payment(switch: ScriptedSwitch) -> None:
    answers: deque[wire.AuthorizeStreamResponse] = deque()
    original = switch.AuthorizeStream

    async def complain(
        request_iterator: Any, context: Any
    ) -> AsyncIterator[wire.AuthorizeStreamResponse]:
        async for response in original(request_iterator, context):
            if switch.streams == 1:
                answers.append(response)
                refusal = wire.Refusal(code=3, reason="MALFORMED", message="not a frame")
                yield wire.AuthorizeStreamResponse(results=[wire.AuthorizeResult(refusal=refusal)])
            else:
                yield response

    switch.AuthorizeStream = complain  # type: ignore[method-assign]  # scripted
    await switch.stop()
    await switch.start()
    async with connect(switch, framed=True) as connection:
        answer = await terminal_at(connection).authorize(CARD, 100, "EUR")
    assert answer.approved
    assert answer.replayed
    assert switch.streams == 2
