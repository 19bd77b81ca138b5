"""The contract: the five promises of a ledger, at one of its nodes and across two."""

from __future__ import annotations

import asyncio

import pytest

from payswitch.processor.v1 import processor_pb2 as pb
from tests.node_contract.peer import Link, Switch, outcome

DECIDED_WITHIN_S = 15.0
REVERSED = {pb.DISPOSITION_PROCESSED, pb.DISPOSITION_ALREADY_REVERSED}


async def _final(link: Link, switch: Switch, item: pb.Item) -> pb.ItemResult:
    """Repeat an authorization until it is decided."""
    async with asyncio.timeout(DECIDED_WITHIN_S):
        while True:
            answer = await link.ask(switch.repeat(item))
            if answer.disposition != pb.DISPOSITION_IN_PROGRESS:
                return answer
            await asyncio.sleep(0.1)


@pytest.fixture
async def link(switch: Switch) -> Link:
    return await switch.open()


@pytest.fixture
async def other(switch: Switch, other_address: str) -> Link:
    return await switch.open(other_address)


# -- an ordinary answer


async def test_an_approval_names_code_amount_and_authorization_code(
    switch: Switch, link: Link
) -> None:
    answer = await link.ask(switch.authorization())
    assert answer.disposition == pb.DISPOSITION_PROCESSED
    assert answer.response_code == "00"
    assert answer.approved_amount_minor == switch.target.approved
    assert 1 <= len(answer.authorization_code) <= 6


async def test_a_decline_is_processed_and_approves_nothing(switch: Switch, link: Link) -> None:
    answer = await link.ask(switch.authorization(switch.target.declined))
    assert answer.disposition == pb.DISPOSITION_PROCESSED
    assert len(answer.response_code) == 2
    assert not answer.approved_amount_minor
    assert not answer.authorization_code


# -- 1: one authorization under a reference


async def test_ten_sendings_of_one_reference_in_one_frame_make_one_authorization(
    switch: Switch, link: Link
) -> None:
    payment = switch.authorization()
    sendings = [payment, *(switch.repeat(payment) for _ in range(9))]
    await link.send(*sendings)
    answers = [await link.answer(sending) for sending in sendings]
    said = {answer.disposition for answer in answers}
    assert said <= {pb.DISPOSITION_PROCESSED, pb.DISPOSITION_IN_PROGRESS}
    final = await _final(link, switch, payment)
    decided = {outcome(answer) for answer in answers if answer.disposition == final.disposition}
    assert decided == {outcome(final)}


async def test_sendings_of_one_reference_to_two_nodes_make_one_authorization(
    switch: Switch, link: Link, other: Link
) -> None:
    payments = [switch.authorization() for _ in range(32)]
    repeats = [switch.repeat(payment) for payment in payments]
    await asyncio.gather(link.send(*payments), other.send(*repeats))
    for payment, repeat in zip(payments, repeats, strict=True):
        one, two = await link.answer(payment), await other.answer(repeat)
        final = await _final(other, switch, payment)
        for answer in (one, two):
            if answer.disposition != pb.DISPOSITION_IN_PROGRESS:
                assert outcome(answer) == outcome(final)


# -- 2: the first outcome wins


async def test_a_repeat_of_an_approval_is_answered_with_it(switch: Switch, link: Link) -> None:
    payment = switch.authorization()
    first = await link.ask(payment)
    again = await link.ask(switch.repeat(payment))
    assert again.disposition == pb.DISPOSITION_PROCESSED
    assert outcome(again) == outcome(first)


async def test_a_repeat_of_a_decline_is_answered_with_it(switch: Switch, link: Link) -> None:
    payment = switch.authorization(switch.target.declined)
    first = await link.ask(payment)
    again = await link.ask(switch.repeat(payment))
    assert again.disposition == pb.DISPOSITION_PROCESSED
    assert outcome(again) == outcome(first)


async def test_a_repeat_at_another_node_is_answered_with_the_first_outcome(
    switch: Switch, link: Link, other: Link
) -> None:
    for amount_minor in (switch.target.approved, switch.target.declined):
        payment = switch.authorization(amount_minor)
        first = await link.ask(payment)
        again = await other.ask(switch.repeat(payment))
        assert again.disposition == pb.DISPOSITION_PROCESSED
        assert outcome(again) == outcome(first)


async def test_a_repeat_needs_no_key_that_is_still_known(switch: Switch, link: Link) -> None:
    payment = switch.authorization()
    first = await link.ask(payment)
    again = switch.repeat(payment)
    again.authorization.key_id = "retired-since"
    assert outcome(await link.ask(again)) == outcome(first)


async def test_an_inquiry_is_answered_with_the_outcome(switch: Switch, link: Link) -> None:
    payment = switch.authorization()
    first = await link.ask(payment)
    asked = await link.ask(switch.inquiry(payment))
    assert asked.disposition == pb.DISPOSITION_PROCESSED
    assert outcome(asked) == outcome(first)


# -- 3: undecided, and unknown


async def test_a_repeat_of_an_undecided_reference_is_in_progress_and_later_its_outcome(
    switch: Switch, link: Link
) -> None:
    payment = switch.authorization(switch.target.slow)
    repeat, inquiry = switch.repeat(payment), switch.inquiry(payment)
    await link.send(payment, repeat, inquiry)
    assert (await link.answer(repeat)).disposition == pb.DISPOSITION_IN_PROGRESS
    assert (await link.answer(inquiry)).disposition == pb.DISPOSITION_IN_PROGRESS
    first = await link.answer(payment, within_s=DECIDED_WITHIN_S)
    assert first.disposition == pb.DISPOSITION_PROCESSED
    assert outcome(await link.ask(switch.repeat(payment))) == outcome(first)


async def test_a_reference_that_is_undecided_at_one_node_is_in_progress_at_the_other(
    switch: Switch, link: Link, other: Link
) -> None:
    payment = switch.authorization(switch.target.slow)
    echo = switch.echo()
    await link.send(payment, echo)
    await link.answer(echo)
    async with asyncio.timeout(1):
        while True:
            said = (await other.ask(switch.inquiry(payment))).disposition
            if said == pb.DISPOSITION_IN_PROGRESS:
                break
    again = await other.ask(switch.repeat(payment))
    assert again.disposition == pb.DISPOSITION_IN_PROGRESS
    final = await _final(other, switch, payment)
    assert outcome(await link.answer(payment)) == outcome(final)


async def test_a_repeat_of_an_unknown_reference_is_processed(switch: Switch, link: Link) -> None:
    answer = await link.ask(switch.repeat(switch.authorization()))
    assert answer.disposition == pb.DISPOSITION_PROCESSED
    assert answer.approved_amount_minor == switch.target.approved


# -- 4: the reversal wins


async def test_a_reversal_of_an_unknown_reference_wins_over_the_authorization_that_comes_later(
    switch: Switch, link: Link
) -> None:
    payment = switch.authorization()
    assert (await link.ask(switch.reversal(payment))).disposition in REVERSED
    for late in (payment, switch.repeat(payment)):
        answer = await link.ask(late)
        assert answer.disposition == pb.DISPOSITION_NOT_PROCESSED
        assert not answer.authorization_code


async def test_a_reversal_at_one_node_wins_over_an_authorization_at_the_other(
    switch: Switch, link: Link, other: Link
) -> None:
    payment = switch.authorization()
    assert (await other.ask(switch.reversal(payment))).disposition in REVERSED
    assert (await link.ask(payment)).disposition == pb.DISPOSITION_NOT_PROCESSED


async def test_a_reversal_of_an_undecided_reference_wins_over_the_decision(
    switch: Switch, link: Link
) -> None:
    payment = switch.authorization(switch.target.slow)
    reversal = switch.reversal(payment)
    await link.send(payment, reversal)
    assert (await link.answer(reversal)).disposition in REVERSED
    answer = await link.answer(payment, within_s=DECIDED_WITHIN_S)
    assert answer.disposition == pb.DISPOSITION_NOT_PROCESSED
    assert (await link.ask(switch.repeat(payment))).disposition == pb.DISPOSITION_NOT_PROCESSED
    asked = await link.ask(switch.inquiry(payment))
    assert asked.disposition in {
        pb.DISPOSITION_NOT_PROCESSED,
        pb.DISPOSITION_ALREADY_REVERSED,
    }


async def test_a_reversal_of_an_approval_is_acknowledged(switch: Switch, link: Link) -> None:
    payment = switch.authorization()
    await link.ask(payment)
    assert (await link.ask(switch.reversal(payment))).disposition == pb.DISPOSITION_PROCESSED


async def test_a_reversal_of_a_decline_is_acknowledged(switch: Switch, link: Link) -> None:
    payment = switch.authorization(switch.target.declined)
    await link.ask(payment)
    assert (await link.ask(switch.reversal(payment))).disposition in REVERSED


async def test_a_reversal_sent_again_is_a_success_again(switch: Switch, link: Link) -> None:
    payment = switch.authorization()
    await link.ask(payment)
    reversal = switch.reversal(payment)
    await link.ask(reversal)
    assert (await link.ask(switch.repeat(reversal))).disposition in REVERSED


async def test_a_reversal_sent_again_to_another_node_is_a_success_again(
    switch: Switch, link: Link, other: Link
) -> None:
    payment = switch.authorization()
    await link.ask(payment)
    reversal = switch.reversal(payment)
    await link.ask(reversal)
    assert (await other.ask(switch.repeat(reversal))).disposition in REVERSED


async def test_a_second_reversal_of_all_finds_the_reference_already_reversed(
    switch: Switch, link: Link
) -> None:
    payment = switch.authorization()
    await link.ask(payment)
    await link.ask(switch.reversal(payment))
    second = await link.ask(switch.reversal(payment))
    assert second.disposition == pb.DISPOSITION_ALREADY_REVERSED


async def test_a_repeat_after_a_reversal_never_makes_a_new_authorization(
    switch: Switch, link: Link
) -> None:
    payment = switch.authorization()
    first = await link.ask(payment)
    await link.ask(switch.reversal(payment))
    again = await link.ask(switch.repeat(payment))
    assert again.disposition in REVERSED
    assert outcome(again) == outcome(first)


# -- parts of an approval


async def test_parts_of_an_approval_are_given_back_and_the_rest_stands(
    switch: Switch, link: Link
) -> None:
    payment = switch.authorization()
    first = await link.ask(payment)
    for part_minor in (1, switch.target.approved - 2):
        part = await link.ask(switch.reversal(payment, part_minor=part_minor))
        assert part.disposition == pb.DISPOSITION_PROCESSED
    asked = await link.ask(switch.inquiry(payment))
    assert asked.disposition == pb.DISPOSITION_PROCESSED
    assert outcome(asked) == outcome(first)


async def test_more_than_was_approved_is_never_given_back(switch: Switch, link: Link) -> None:
    payment = switch.authorization()
    await link.ask(payment)
    await link.ask(switch.reversal(payment, part_minor=switch.target.approved - 1))
    too_much = await link.ask(switch.reversal(payment, part_minor=2))
    assert too_much.disposition not in REVERSED
    rest = await link.ask(switch.reversal(payment, part_minor=1))
    assert rest.disposition == pb.DISPOSITION_PROCESSED


async def test_a_part_sent_again_is_given_back_once(switch: Switch, link: Link) -> None:
    payment = switch.authorization()
    await link.ask(payment)
    most = switch.reversal(payment, part_minor=switch.target.approved - 1)
    await link.ask(most)
    assert (await link.ask(switch.repeat(most))).disposition in REVERSED
    rest = await link.ask(switch.reversal(payment, part_minor=1))
    assert rest.disposition == pb.DISPOSITION_PROCESSED


async def test_a_full_reversal_after_a_part_takes_the_rest(switch: Switch, link: Link) -> None:
    payment = switch.authorization()
    await link.ask(payment)
    await link.ask(switch.reversal(payment, part_minor=1))
    assert (await link.ask(switch.reversal(payment))).disposition == pb.DISPOSITION_PROCESSED
    beyond = await link.ask(switch.reversal(payment, part_minor=1))
    assert beyond.disposition != pb.DISPOSITION_PROCESSED


async def test_one_reversal_reference_names_one_reversal(switch: Switch, link: Link) -> None:
    one, two = switch.authorization(), switch.authorization()
    await link.send(one, two)
    await link.answer(one)
    await link.answer(two)
    reversal = switch.reversal(one)
    await link.ask(reversal)
    stolen = switch.reversal(two, reversal_reference=reversal.reversal.reversal_reference)
    assert (await link.ask(stolen)).disposition == pb.DISPOSITION_MALFORMED
    asked = await link.ask(switch.inquiry(two))
    assert asked.disposition == pb.DISPOSITION_PROCESSED


# -- 5: no effect, and never one


async def test_an_inquiry_for_an_unknown_reference_finds_nothing_and_leaves_nothing(
    switch: Switch, link: Link
) -> None:
    payment = switch.authorization()
    for _ in range(2):
        asked = await link.ask(switch.inquiry(payment))
        assert asked.disposition == pb.DISPOSITION_NOT_PROCESSED
    assert (await link.ask(payment)).approved_amount_minor == switch.target.approved
