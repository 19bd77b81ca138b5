"""The contract: frames, numbers, echoes, time to live, GoAway, and items that break a rule."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped] # it has no stubs

from payswitch.money.v1 import money_pb2
from payswitch.processor.v1 import processor_pb2 as pb
from tests.node_contract.peer import Link, Switch, Target

ECHO_WITHIN_S = 0.5


async def test_frames_of_a_node_are_numbered_from_one_without_gaps(switch: Switch) -> None:
    link = await switch.open()
    for _ in range(5):
        items = [switch.authorization() for _ in range(20)]
        await link.send(*items)
        for item in items:
            await link.answer(item)
    assert [frame.frame_number for frame in link.frames] == list(range(1, len(link.frames) + 1))


async def test_a_frame_of_answers_holds_at_most_64(switch: Switch) -> None:
    link = await switch.open()
    items = [switch.echo() for _ in range(256)]
    for start in range(0, 256, 64):
        await link.send(*items[start : start + 64])
    await link.answer(items[-1])
    assert max(len(frame.results) for frame in link.frames) <= 64


async def test_every_item_of_a_full_frame_is_answered_once_under_its_number_and_reference(
    switch: Switch,
) -> None:
    link = await switch.open()
    items = [switch.authorization() for _ in range(62)]
    items += [switch.echo(), switch.inquiry(switch.authorization())]
    await link.send(*items)
    for item in items:
        await link.answer(item)
    await asyncio.sleep(0.2)
    counted = Counter(result.sending_number for result in link.results)
    assert counted == {item.sending_number: 1 for item in items}
    for item in items[:62]:
        assert (await link.answer(item)).reference == item.authorization.reference


async def test_an_answer_says_how_long_the_node_held_the_item(switch: Switch) -> None:
    link = await switch.open()
    answer = await link.ask(switch.authorization())
    assert answer.HasField("processing_duration")
    held_s = answer.processing_duration.seconds + answer.processing_duration.nanos / 1e9
    assert 0 < held_s < 5


async def test_an_echo_is_answered_at_once_while_a_frame_of_slow_items_is_undecided(
    switch: Switch,
) -> None:
    link = await switch.open()
    await link.send(*[switch.authorization(switch.target.slow) for _ in range(64)])
    echo = switch.echo()
    await link.send(echo)
    answer = await link.answer(echo, within_s=ECHO_WITHIN_S)
    assert answer.disposition == pb.DISPOSITION_PROCESSED
    assert not answer.reference


async def test_sign_on_and_sign_off_are_answered(switch: Switch) -> None:
    link = await switch.open()
    for item in (switch.item(sign_on=pb.SignOn()), switch.item(sign_off=pb.SignOff())):
        assert (await link.ask(item)).disposition == pb.DISPOSITION_PROCESSED


# -- time to live


async def test_an_item_whose_time_to_live_has_run_out_is_not_started(switch: Switch) -> None:
    link = await switch.open()
    late = switch.authorization(time_to_live_ns=1)
    assert (await link.ask(late)).disposition == pb.DISPOSITION_NOT_PROCESSED
    asked = await link.ask(switch.inquiry(late))
    assert asked.disposition == pb.DISPOSITION_NOT_PROCESSED


async def test_a_reference_that_was_not_started_may_be_sent_again(switch: Switch) -> None:
    link = await switch.open()
    late = switch.authorization(time_to_live_ns=1)
    await link.ask(late)
    again = switch.repeat(late)
    again.ClearField("time_to_live")
    answer = await link.ask(again)
    assert answer.disposition == pb.DISPOSITION_PROCESSED
    assert answer.approved_amount_minor == switch.target.approved


async def test_an_item_within_its_time_to_live_is_processed(switch: Switch) -> None:
    link = await switch.open()
    item = switch.authorization(time_to_live_ns=900_000_000)
    assert (await link.ask(item)).disposition == pb.DISPOSITION_PROCESSED


# -- the end of a link


async def test_after_the_switch_says_go_away_what_is_in_flight_is_answered_and_the_stream_ends(
    switch: Switch,
) -> None:
    link = await switch.open()
    slow = switch.authorization(switch.target.slow)
    await link.send_frame(items=[slow], go_away=pb.GoAway(reason="the suite leaves"))
    assert (await link.ended()).status is grpc.StatusCode.OK
    assert [answer.disposition for answer in link.said_to(slow)] == [pb.DISPOSITION_PROCESSED]


async def test_after_the_switch_half_closes_what_is_in_flight_is_answered_and_the_stream_ends(
    switch: Switch,
) -> None:
    link = await switch.open()
    slow = switch.authorization(switch.target.slow)
    await link.send(slow)
    await link.half_close()
    assert (await link.ended()).status is grpc.StatusCode.OK
    assert [answer.disposition for answer in link.said_to(slow)] == [pb.DISPOSITION_PROCESSED]


async def test_an_idle_link_ends_at_once_after_go_away(switch: Switch) -> None:
    link = await switch.open()
    await link.send_frame(go_away=pb.GoAway(reason="the suite leaves"))
    assert (await link.ended(within_s=1)).status is grpc.StatusCode.OK


# -- items that break a rule

MALFORMED: dict[str, dict[str, Any]] = {
    "a reference of 15 bytes": {"reference": b"r" * 15},
    "no reference": {"reference": b""},
    "no amount": {"amount": None},
    "an amount of nothing": {"amount": money_pb2.Money(amount_minor=0, currency="EUR")},
    "a negative amount": {"amount": money_pb2.Money(amount_minor=-1, currency="EUR")},
    "no currency": {"amount": money_pb2.Money(amount_minor=1000)},
    "no kind": {"kind": pb.AUTHORIZATION_KIND_UNSPECIFIED},
    "no request_id": {"request_id": ""},
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED)
async def test_an_authorization_that_breaks_a_rule_is_malformed_and_does_nothing(
    switch: Switch, fields: dict[str, Any]
) -> None:
    link = await switch.open()
    bad = switch.authorization(**fields)
    assert (await link.ask(bad)).disposition == pb.DISPOSITION_MALFORMED
    if len(bad.authorization.reference) == 16:
        asked = await link.ask(switch.inquiry(bad))
        assert asked.disposition == pb.DISPOSITION_NOT_PROCESSED


async def test_an_item_without_a_message_is_malformed(switch: Switch) -> None:
    link = await switch.open()
    assert (await link.ask(switch.item())).disposition == pb.DISPOSITION_MALFORMED


async def test_a_malformed_item_harms_no_neighbour(switch: Switch) -> None:
    link = await switch.open()
    before, bad, after = (
        switch.authorization(),
        switch.authorization(reference=b""),
        switch.authorization(),
    )
    await link.send(before, bad, after)
    said = [(await link.answer(item)).disposition for item in (before, bad, after)]
    assert said == [
        pb.DISPOSITION_PROCESSED,
        pb.DISPOSITION_MALFORMED,
        pb.DISPOSITION_PROCESSED,
    ]


async def test_a_reference_that_comes_back_for_another_payment_is_malformed(
    switch: Switch,
) -> None:
    link = await switch.open()
    payment = switch.authorization()
    first = await link.ask(payment)
    other = switch.authorization(
        switch.target.approved + 1, reference=payment.authorization.reference
    )
    assert (await link.ask(other)).disposition == pb.DISPOSITION_MALFORMED
    assert await link.ask(switch.repeat(payment)) == _but_for_the_sending(first, link)


def _but_for_the_sending(first: pb.ItemResult, link: Link) -> pb.ItemResult:
    expected = pb.ItemResult()
    expected.CopyFrom(first)
    last = link.results[-1]
    expected.sending_number = last.sending_number
    expected.processing_duration.CopyFrom(last.processing_duration)
    return expected


# -- the card


async def test_an_envelope_under_an_unknown_key_claims_nothing(switch: Switch) -> None:
    link = await switch.open()
    strange = switch.authorization(key_id="no-such-key")
    assert (await link.ask(strange)).disposition == pb.DISPOSITION_KEY_UNKNOWN
    asked = await link.ask(switch.inquiry(strange))
    assert asked.disposition == pb.DISPOSITION_NOT_PROCESSED
    again = switch.repeat(strange)
    again.authorization.key_id = switch.target.key_id
    assert (await link.ask(again)).disposition == pb.DISPOSITION_PROCESSED


async def test_an_envelope_of_another_payment_is_not_approved(switch: Switch) -> None:
    link = await switch.open()
    stolen = switch.authorization().authorization.sealed_card
    answer = await link.ask(switch.authorization(sealed_card=stolen))
    assert not answer.authorization_code
    assert not answer.approved_amount_minor


async def test_a_card_number_that_fails_its_check_digit_is_not_approved(switch: Switch) -> None:
    link = await switch.open()
    answer = await link.ask(switch.authorization(card_number="4111111111111112"))
    assert not answer.authorization_code


# -- health


@pytest.mark.parametrize("service", ["", "payswitch.processor.v1.NodeService"])
async def test_a_node_says_by_grpc_health_that_it_serves(
    switch: Switch, target: Target, service: str
) -> None:
    async with grpc.aio.insecure_channel(target.addresses[0]) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
