"""The simulator's processes: killed, stopped, restarted; and every amount that plays a trick."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import apsw
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped] # it has no stubs

from clients.simulator.card import Key
from clients.simulator.front_end import DRAIN_S
from payswitch.processor.v1 import processor_pb2 as pb
from tests.node_contract.peer import Ended, Link, Switch, outcome, switch_for
from tests.node_contract.simulators import Process, Simulators

QUIET_S = 0.3
"""How long we listen before we believe that nothing is said."""


@pytest.fixture(scope="module")
def key() -> Key:
    return Key.make("acme", "key-1", datetime.now(UTC) + timedelta(days=1))


@pytest.fixture
def simulators(key: Key) -> Iterator[Simulators]:
    simulators = Simulators(key)
    yield simulators
    simulators.close()


@pytest.fixture
def host(simulators: Simulators) -> Process:
    return simulators.start_host()


@pytest.fixture
def node(simulators: Simulators, host: Process) -> Process:
    return simulators.start_node("acme-1")


@pytest.fixture
async def switch(simulators: Simulators, node: Process) -> AsyncIterator[Switch]:
    async with switch_for(simulators.target(node)) as switch:
        yield switch


@pytest.fixture
async def link(switch: Switch) -> Link:
    return await switch.open()


def books(simulators: Simulators, query: str) -> list[tuple[Any, ...]]:
    """Read the books as an auditor does, whether their host runs or not."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    reader = apsw.Connection(f"file:{simulators.books}?mode=ro", flags=flags)
    try:
        return list(reader.execute(query))
    finally:
        reader.close()


async def decided(link: Link, switch: Switch, item: pb.Item) -> pb.ItemResult:
    """Repeat until the ledger has decided."""
    async with asyncio.timeout(5):
        while True:
            answer = await link.ask(switch.repeat(item))
            if answer.disposition != pb.DISPOSITION_IN_PROGRESS:
                return answer
            await asyncio.sleep(0.02)


async def health_of(address: str) -> int:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
        return int(answer.status)


# -- kills


async def test_what_was_answered_is_in_the_books_after_the_host_was_killed(
    simulators: Simulators, host: Process, switch: Switch, link: Link
) -> None:
    payments = [switch.authorization() for _ in range(200)]
    answered: dict[bytes, pb.ItemResult] = {}
    for start in range(0, 200, 50):
        await link.send(*payments[start : start + 50])
    for payment in payments[:120]:
        answered[payment.authorization.reference] = await link.answer(payment)
    host.kill()
    written = dict(books(simulators, 'SELECT reference, authorization_code FROM "authorization"'))
    for reference, answer in answered.items():
        assert written[reference] == answer.authorization_code


async def test_a_claim_outlives_its_host_and_is_decided_after_the_restart(
    simulators: Simulators, host: Process, switch: Switch, link: Link
) -> None:
    payment = switch.authorization(9210)
    inquiry = switch.inquiry(payment)
    await link.send(payment, inquiry)
    assert (await link.answer(inquiry)).disposition == pb.DISPOSITION_IN_PROGRESS
    host.kill()
    assert books(simulators, 'SELECT state FROM "authorization"') == [("undecided",)]
    assert (await link.ended()).status is grpc.StatusCode.UNAVAILABLE
    simulators.start_host()
    async with asyncio.timeout(5):
        while await health_of(switch.target.addresses[0]) != 1:
            await asyncio.sleep(0.02)
    again = await decided(await switch.open(), switch, payment)
    assert (again.disposition, again.response_code) == (pb.DISPOSITION_PROCESSED, "00")
    assert not link.said_to(payment)


async def test_without_its_ledger_a_node_takes_no_link_and_says_so_to_its_health(
    host: Process, node: Process, switch: Switch, link: Link
) -> None:
    host.kill()
    await link.ended()
    assert await health_of(node.address) == health_pb2.HealthCheckResponse.NOT_SERVING
    with pytest.raises(Ended) as refused:
        await switch.open()
    assert refused.value.status is grpc.StatusCode.UNAVAILABLE


async def test_what_a_killed_node_had_started_is_found_at_the_other_node(
    simulators: Simulators, node: Process, switch: Switch, link: Link
) -> None:
    decided_, undecided = switch.authorization(), switch.authorization(9203)
    inquiry = switch.inquiry(undecided)
    await link.send(decided_, undecided, inquiry)
    first = await link.answer(decided_)
    await link.answer(inquiry)
    node.kill()
    other = await switch.open(simulators.start_node("acme-2").address)
    assert outcome(await other.ask(switch.repeat(decided_))) == outcome(first)
    assert (await decided(other, switch, undecided)).response_code == "00"


async def test_a_node_that_was_killed_remembers_the_links_it_had_seen(
    simulators: Simulators, node: Process, switch: Switch
) -> None:
    await switch.open(link=(switch.epoch, 5))
    node.kill()
    again = simulators.start_node("acme-1")
    with pytest.raises(Ended) as refused:
        await switch.open(again.address, link=(switch.epoch, 4))
    assert refused.value.status is grpc.StatusCode.FAILED_PRECONDITION
    await switch.open(again.address, link=(switch.epoch, 6))


async def test_an_answer_for_a_killed_node_is_not_given_to_the_one_that_took_its_place(
    simulators: Simulators, node: Process, switch: Switch, link: Link
) -> None:
    old, echo = switch.authorization(9205), switch.echo()
    await link.send(old, echo)
    await link.answer(echo)
    async with asyncio.timeout(5):
        while (await link.ask(switch.inquiry(old))).disposition != pb.DISPOSITION_IN_PROGRESS:
            pass
    node.kill()
    successor = await switch.open(simulators.start_node("acme-1").address)
    new = switch.authorization(9215)
    await successor.send(new)
    answer = await successor.answer(new)
    assert answer.reference == new.authorization.reference
    assert answer.processing_duration.seconds >= 1


async def test_a_node_that_hangs_holds_up_no_other_and_loses_to_the_reversals_meanwhile(
    simulators: Simulators, node: Process, switch: Switch, link: Link
) -> None:
    other = await switch.open(simulators.start_node("acme-2").address)
    repeated, reversed_ = switch.authorization(), switch.authorization()
    node.pause()
    await link.send(repeated, reversed_)
    again = await other.ask(switch.repeat(repeated))
    assert again.response_code == "00"
    await other.ask(switch.reversal(reversed_))
    assert link.results == []
    node.resume()
    assert outcome(await link.answer(repeated)) == outcome(again)
    assert (await link.answer(reversed_)).disposition == pb.DISPOSITION_NOT_PROCESSED


async def test_a_second_host_for_one_file_is_refused(simulators: Simulators, host: Process) -> None:
    with pytest.raises(AssertionError, match="not ready"):
        simulators.start_host()
    assert host.is_running()


# -- politeness


async def test_a_node_that_is_asked_to_stop_says_go_away_finishes_and_ends(
    simulators: Simulators, node: Process, switch: Switch, link: Link
) -> None:
    slow, echo = switch.authorization(9220), switch.echo()
    await link.send(slow, echo)
    await link.answer(echo)
    node.ask_to_stop()
    async with asyncio.timeout(2):
        while link.go_away is None:
            await asyncio.sleep(0.01)
    refused = await link.ask(switch.authorization())
    assert refused.disposition == pb.DISPOSITION_NOT_PROCESSED
    assert await health_of(node.address) == health_pb2.HealthCheckResponse.NOT_SERVING
    assert (await link.answer(slow)).disposition == pb.DISPOSITION_PROCESSED
    assert (await link.ended()).status is grpc.StatusCode.OK
    assert await asyncio.to_thread(node.wait) == 0


async def test_an_idle_node_stops_without_waiting_for_its_switch(node: Process, link: Link) -> None:
    began_s = time.monotonic()
    assert await asyncio.to_thread(node.stop) == 0
    assert time.monotonic() - began_s < DRAIN_S
    assert (await link.ended()).status is grpc.StatusCode.OK


async def test_a_host_that_is_asked_to_stop_leaves_one_whole_file(
    simulators: Simulators, host: Process, switch: Switch, link: Link
) -> None:
    await link.ask(switch.authorization())
    assert host.stop() == 0
    assert not simulators.books.with_name("books-wal").exists()
    assert books(simulators, 'SELECT count(*) FROM "authorization"') == [(1,)]


async def test_a_node_that_wants_a_sign_on_takes_nothing_before_it(
    simulators: Simulators, switch: Switch
) -> None:
    link = await switch.open(simulators.start_node("acme-2", "--sign-on").address)
    early = await link.ask(switch.authorization())
    assert early.disposition == pb.DISPOSITION_NOT_PROCESSED
    await link.ask(switch.item(sign_on=pb.SignOn()))
    assert (await link.ask(switch.authorization())).disposition == pb.DISPOSITION_PROCESSED
    await link.ask(switch.item(sign_off=pb.SignOff()))
    late = await link.ask(switch.authorization())
    assert late.disposition == pb.DISPOSITION_NOT_PROCESSED


async def test_a_node_may_say_that_it_accepts_no_repeats(
    simulators: Simulators, switch: Switch
) -> None:
    link = await switch.open(simulators.start_node("acme-2", "--no-repeat").address)
    assert not link.hello_back.accepts_repeat


async def test_a_node_that_opens_nothing_takes_any_envelope(
    simulators: Simulators, host: Process, switch: Switch
) -> None:
    node = simulators.start_blind_node("acme-2")
    link = await switch.open(node.address)
    answer = await link.ask(switch.authorization(key_id="anything", sealed_card=b"anything"))
    assert answer.response_code == "00"


async def test_the_issuer_thinks_as_long_as_the_node_was_told(
    simulators: Simulators, switch: Switch
) -> None:
    node = simulators.start_node("acme-2", "--latency", "constant:80ms")
    link = await switch.open(node.address)
    answers = [await link.ask(switch.authorization()) for _ in range(3)]
    for answer in answers:
        assert 80_000_000 <= answer.processing_duration.nanos < 300_000_000


# -- frames that break the rules of the stream


@pytest.mark.parametrize(
    "frames",
    [
        [pb.LinkRequest(frame_number=1)],
        [pb.LinkRequest(frame_number=2, hello=pb.Hello(switch_id="s", epoch=1, session=1))],
        [pb.LinkRequest(frame_number=1, hello=pb.Hello(epoch=1, session=1))],
        [
            pb.LinkRequest(
                frame_number=1,
                hello=pb.Hello(switch_id="s", epoch=1, session=1),
                items=[pb.Item(sending_number=1, echo=pb.Echo())],
            )
        ],
    ],
    ids=["no hello", "a gap", "no name", "hello and more"],
)
async def test_a_stream_that_begins_wrongly_is_ended(
    switch: Switch, frames: list[pb.LinkRequest]
) -> None:
    link = await switch.open(say_hello=False)
    with pytest.raises(Ended) as ended:
        await link.begin(frames)
    assert ended.value.status is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "frame",
    [
        pb.LinkRequest(frame_number=3),
        pb.LinkRequest(frame_number=2, hello=pb.Hello(switch_id="s", epoch=1, session=2)),
        pb.LinkRequest(
            frame_number=2,
            items=[pb.Item(sending_number=number, echo=pb.Echo()) for number in range(65)],
        ),
    ],
    ids=["a gap", "a second hello", "65 items"],
)
async def test_a_stream_that_goes_on_wrongly_is_ended_and_nothing_of_the_frame_is_started(
    link: Link, frame: pb.LinkRequest
) -> None:
    await link.call.write(frame)
    ended = await link.ended()
    assert ended.status is grpc.StatusCode.INVALID_ARGUMENT
    assert link.results == []


async def test_the_same_link_is_not_opened_twice(switch: Switch) -> None:
    await switch.open(link=(switch.epoch, 5))
    with pytest.raises(Ended) as refused:
        await switch.open(link=(switch.epoch, 5))
    assert "STALE_SESSION" in refused.value.details


# -- amounts that play tricks


async def test_a_90_amount_declines_with_its_code(switch: Switch, link: Link) -> None:
    for code in ("05", "51", "91", "99"):
        answer = await link.ask(switch.authorization(int(f"90{code}")))
        assert outcome(answer) == (code, 0, "")


async def test_9010_approves_half(simulators: Simulators, switch: Switch, link: Link) -> None:
    answer = await link.ask(switch.authorization(9010))
    assert outcome(answer)[:2] == ("10", 4505)
    assert books(simulators, 'SELECT state, approved_minor FROM "authorization"') == [
        ("live", 4505)
    ]


async def test_9902_asks_whether_a_part_is_welcome(switch: Switch, link: Link) -> None:
    welcome = await link.ask(switch.authorization(9902, accepts_partial_approval=True))
    assert outcome(welcome)[:2] == ("10", 4951)
    assert outcome(await link.ask(switch.authorization(9902))) == ("51", 0, "")


async def test_9196_says_no_and_takes_the_money(
    simulators: Simulators, switch: Switch, link: Link
) -> None:
    assert outcome(await link.ask(switch.authorization(9196))) == ("96", 0, "")
    assert books(simulators, 'SELECT state, approved_minor FROM "authorization"') == [
        ("live", 9196)
    ]


async def test_93_is_never_answered_yet_approved_and_its_repeat_is_answered(
    simulators: Simulators, switch: Switch, link: Link
) -> None:
    payment = switch.authorization(9300)
    await link.send(payment)
    assert (await decided(link, switch, payment)).response_code == "00"
    await asyncio.sleep(QUIET_S)
    assert not link.said_to(payment)
    assert books(simulators, 'SELECT state FROM "authorization"') == [("live",)]


async def test_93_is_in_progress_until_its_seconds_are_over(switch: Switch, link: Link) -> None:
    payment = switch.authorization(9301)
    repeat = switch.repeat(payment)
    await link.send(payment, repeat)
    assert (await link.answer(repeat)).disposition == pb.DISPOSITION_IN_PROGRESS
    assert (await decided(link, switch, payment)).response_code == "00"


async def test_a_link_on_which_93_hangs_can_still_be_left(switch: Switch, link: Link) -> None:
    await link.send_frame(items=[switch.authorization(9300)], go_away=pb.GoAway())
    assert (await link.ended()).status is grpc.StatusCode.OK


async def test_94_answers_no_repeat_either_but_inquiries_and_reversals(
    switch: Switch, link: Link
) -> None:
    payment = switch.authorization(9400)
    repeat = switch.repeat(payment)
    await link.send(payment, repeat)
    asked = await link.ask(switch.inquiry(payment))
    assert asked.response_code == "00"
    reversed_ = await link.ask(switch.reversal(payment))
    assert reversed_.disposition == pb.DISPOSITION_PROCESSED
    await asyncio.sleep(QUIET_S)
    assert not link.said_to(payment)
    assert not link.said_to(repeat)


async def test_95_is_answered_late_and_its_repeat_at_once(switch: Switch, link: Link) -> None:
    payment = switch.authorization(9506)
    await link.send(payment)
    again = await link.ask(switch.repeat(payment))
    assert again.response_code == "00"
    assert not link.said_to(payment)
    late = await link.answer(payment)
    assert outcome(late) == outcome(again)
    assert late.processing_duration.nanos >= 600_000_000


async def test_9601_is_never_processed(simulators: Simulators, switch: Switch, link: Link) -> None:
    payment = switch.authorization(9601)
    for item in (payment, switch.repeat(payment)):
        assert (await link.ask(item)).disposition == pb.DISPOSITION_NOT_PROCESSED
    assert books(simulators, 'SELECT count(*) FROM "authorization"') == [(0,)]


async def test_9602_is_processed_the_second_time(switch: Switch, link: Link) -> None:
    payment = switch.authorization(9602)
    assert (await link.ask(payment)).disposition == pb.DISPOSITION_NOT_PROCESSED
    assert (await link.ask(switch.repeat(payment))).response_code == "00"


async def test_9603_and_9604_claim_nothing(
    simulators: Simulators, switch: Switch, link: Link
) -> None:
    unknown = await link.ask(switch.authorization(9603))
    malformed = await link.ask(switch.authorization(9604))
    assert unknown.disposition == pb.DISPOSITION_KEY_UNKNOWN
    assert malformed.disposition == pb.DISPOSITION_MALFORMED
    assert books(simulators, 'SELECT count(*) FROM "authorization"') == [(0,)]


async def test_9606_is_approved_and_answered_unreadably(switch: Switch, link: Link) -> None:
    payment = switch.authorization(9606)
    answer = await link.ask(payment)
    assert answer.disposition == pb.DISPOSITION_UNSPECIFIED
    assert not answer.response_code
    assert (await link.ask(switch.repeat(payment))).response_code == "00"


async def test_9701_kills_the_node_before_anything_is_claimed(
    simulators: Simulators, node: Process, switch: Switch, link: Link
) -> None:
    payment = switch.authorization(9701)
    await link.send(payment)
    assert (await link.ended()).status is grpc.StatusCode.UNAVAILABLE
    assert await asyncio.to_thread(node.wait) == -9
    assert books(simulators, 'SELECT count(*) FROM "authorization"') == [(0,)]
    other = await switch.open(simulators.start_node("acme-2").address)
    assert (await other.ask(switch.repeat(payment))).response_code == "00"


async def test_9702_kills_the_node_between_the_claim_and_the_decision(
    simulators: Simulators, node: Process, switch: Switch, link: Link
) -> None:
    payment = switch.authorization(9702)
    await link.send(payment)
    await link.ended()
    assert books(simulators, 'SELECT state FROM "authorization"') == [("undecided",)]
    other = await switch.open(simulators.start_node("acme-2").address)
    assert (await decided(other, switch, payment)).response_code == "00"


async def test_9703_kills_the_node_after_the_decision(
    simulators: Simulators, node: Process, switch: Switch, link: Link
) -> None:
    payment = switch.authorization(9703)
    await link.send(payment)
    await link.ended()
    assert not link.said_to(payment)
    assert books(simulators, 'SELECT state FROM "authorization"') == [("live",)]
    other = await switch.open(simulators.start_node("acme-2").address)
    assert (await other.ask(switch.repeat(payment))).response_code == "00"


async def test_9801_is_answered_twice_in_the_same_words(switch: Switch, link: Link) -> None:
    payment = switch.authorization(9801)
    await link.ask(payment)
    await asyncio.sleep(QUIET_S)
    first, second = link.said_to(payment)
    assert outcome(first) == outcome(second)


async def test_9802_contradicts_itself(switch: Switch, link: Link) -> None:
    payment = switch.authorization(9802)
    await link.ask(payment)
    await asyncio.sleep(QUIET_S)
    assert [answer.response_code for answer in link.said_to(payment)] == ["00", "05"]


async def test_9803_tells_a_repeat_another_outcome(switch: Switch, link: Link) -> None:
    payment = switch.authorization(9803)
    await link.send(payment)
    assert outcome(await link.ask(switch.repeat(payment))) == ("05", 0, "")
    assert (await link.answer(payment)).response_code == "00"


async def test_no_card_number_is_ever_written(
    simulators: Simulators, switch: Switch, link: Link
) -> None:
    number = "4000056655665556"
    payment = switch.authorization(card_number=number)
    assert (await link.ask(payment)).response_code == "00"
    written = b"".join(path.read_bytes() for path in simulators.folder.glob("books*"))
    assert payment.authorization.reference in written
    assert number.encode() not in written
