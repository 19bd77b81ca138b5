"""A link: its hello, its frames, its end; and what each sending is settled as."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Any

import grpc
import pytest

from payswitch.money.v1 import money_pb2
from payswitch.processor.v1 import processor_pb2
from switch.clock import SystemClock
from switch.core.message import Disposition, NodeAnswer
from switch.rpc.link import LinkSettings, LinkStage, LinkTimes, NodeLinks
from switch.rpc.probe import ProbeSettings
from switch.rpc.transport import ChannelSecurity
from tests.rpc.conftest import Supervisor, until
from tests.rpc.nodes import (
    Raw,
    RecordingObserver,
    ScriptedNode,
    Sendings,
    authorization,
    inquiry,
    node_settings,
    reversal,
)

NAME = "alpha-1"
QUICK = LinkTimes(
    hello_timeout_s=0.2,
    echo_idle_s=30.0,
    reopen_min_s=0.01,
    reopen_max_s=0.05,
    refused_s=0.05,
    drain_timeout_s=0.3,
)
QUIET = ProbeSettings(interval_s=600.0, quick_interval_s=600.0)

HUGE = processor_pb2.LinkResponse(
    frame_number=2, go_away=processor_pb2.GoAway(reason="x" * 300_000)
).SerializeToString()

Open = Callable[..., Awaitable[NodeLinks]]


@pytest.fixture
async def node() -> AsyncIterator[ScriptedNode]:
    found = ScriptedNode()
    await found.start()
    yield found
    await found.stop()


@pytest.fixture
def observer() -> RecordingObserver:
    return RecordingObserver()


@pytest.fixture
def sendings(observer: RecordingObserver) -> Sendings:
    return Sendings(observer)


@pytest.fixture
def open_links(supervisor: Supervisor, observer: RecordingObserver) -> Open:
    async def opened(
        *ports: int, times: LinkTimes = QUICK, probing: ProbeSettings = QUIET, ready: bool = True
    ) -> NodeLinks:
        links = NodeLinks(
            [
                LinkSettings(node_settings(f"alpha-{number}", port), ChannelSecurity(insecure=True))
                for number, port in enumerate(ports, start=1)
            ],
            switch_id="switch-1",
            epoch=7,
            observer=observer,
            clock=SystemClock(),
            randomness=Random(1),
            spawn=supervisor.spawn,
            times=times,
            probing=probing,
        )
        links.start()
        if ready:
            await until(lambda: len(observer.of("ready")) == len(ports))
        return links

    return opened


async def test_the_first_frame_is_the_hello_and_nothing_else(
    node: ScriptedNode, open_links: Open, observer: RecordingObserver
) -> None:
    links = await open_links(node.port)
    [frame] = node.link.frames
    assert frame == processor_pb2.LinkRequest(
        frame_number=1,
        hello=processor_pb2.Hello(switch_id="switch-1", epoch=7, session=1, node=NAME),
    )
    assert observer.of("ready") == [("ready", NAME, True)]
    assert links.stage(NAME) is LinkStage.READY
    assert links.last_frame(NAME) == (1, 1)


async def test_all_that_waits_is_one_frame_and_each_answer_finds_its_sending(
    node: ScriptedNode, open_links: Open, observer: RecordingObserver, sendings: Sendings
) -> None:
    links = await open_links(node.port)
    offered = [
        sendings.make(authorization(1)),
        sendings.make(reversal(2, full=False)),
        sendings.make(inquiry(3)),
    ]
    for sending in offered:
        links.offer(sending)
        assert not sending.written
    await until(lambda: len(node.link.frames) == 2)
    assert all(sending.written for sending in offered)
    frame = node.link.frames[1]
    assert frame.frame_number == 2
    assert links.last_frame(NAME) == (1, 2)
    first, second, third = frame.items
    assert [item.sending_number for item in frame.items] == [1, 2, 3]
    assert 29 <= first.time_to_live.seconds < 30
    first.ClearField("time_to_live")
    assert first.authorization == processor_pb2.Authorization(
        reference=(1).to_bytes(16, "big"),
        kind=processor_pb2.AUTHORIZATION_KIND_PURCHASE,
        amount=money_pb2.Money(amount_minor=1250, currency="EUR"),
        sealed_card=bytes(120),
        key_id="alpha-key",
        terminal_id="T-0001",
        request_id="01a3185c-5000-7123-8123-456789abcdef",
        merchant_id="M-0042",
        merchant_category_code="5411",
        country="DE",
        entry_mode=2,
        accepts_partial_approval=True,
        stan="000001",
        retrieval_reference_number="123456000001",
    )
    assert second.reversal == processor_pb2.Reversal(
        reference=(2).to_bytes(16, "big"),
        reversal_reference=(2).to_bytes(16, "big")[::-1],
        repeat=True,
        full=False,
        amount=money_pb2.Money(amount_minor=300, currency="EUR"),
        message_reason=4021,
    )
    assert third.inquiry.reference == (3).to_bytes(16, "big")
    await node.link.answer([third, first])
    await until(lambda: len(observer.of("settled")) == 2)
    [(_, number, answer), (_, other, _)] = observer.of("settled")
    assert (number, other) == (3, 1)
    assert answer == NodeAnswer(
        3, (3).to_bytes(16, "big"), Disposition.PROCESSED, "00", 1250, "A1B2C3", 0.0125
    )


async def test_a_frame_has_at_most_64_items_and_128_kib(
    node: ScriptedNode, open_links: Open, sendings: Sendings
) -> None:
    links = await open_links(node.port)
    for _ in range(70):
        links.offer(sendings.make())
    for number in range(71, 141):
        links.offer(sendings.make(authorization(number, sealed=bytes(4096))))
    await until(lambda: len(node.link.items) == 140)
    frames = node.link.frames[1:]
    assert len(frames[0].items) == 64
    assert all(frame.ByteSize() <= 128 * 1024 for frame in frames)
    assert max(frame.ByteSize() for frame in frames) > 120 * 1024
    assert [frame.frame_number for frame in frames] == list(range(2, 2 + len(frames)))
    assert [item.sending_number for item in node.link.items] == list(range(1, 141))


async def test_sessions_are_numbered_over_all_links(
    node: ScriptedNode, open_links: Open, observer: RecordingObserver
) -> None:
    other = ScriptedNode()
    await other.start()
    await open_links(node.port, other.port)
    node.link.end()
    await until(lambda: len(node.links) == 2 and bool(node.link.frames))
    hellos = [link.frames[0].hello for link in (*node.links, *other.links)]
    assert sorted(hello.session for hello in hellos) == [1, 2, 3]
    assert node.links[1].frames[0].hello.session == 3
    assert {hello.node for hello in hellos} == {"alpha-1", "alpha-2"}
    await other.stop()


async def test_a_node_before_another_ledger_is_refused_loudly_and_sent_nothing(
    open_links: Open, observer: RecordingObserver, sendings: Sendings
) -> None:
    node = ScriptedNode(ledger="ledger-b")
    await node.start()
    links = await open_links(node.port, ready=False)
    await until(lambda: len(observer.of("refused")) == 2)
    assert observer.of("ready", "lost") == []
    assert "ledger-b" in observer.of("refused")[0][2]
    assert "ledger-a" in observer.of("refused")[0][2]
    links.offer(sendings.make())
    await until(lambda: observer.classes() == {1: "NOT_SENT"})
    assert [len(link.frames) for link in node.links] == [1] * len(node.links)
    await node.stop()


@pytest.mark.parametrize(
    ("hello_back", "why"),
    [
        (None, "took too long"),
        (b"\xff\xff\xff", "did not say hello"),
        (b"", "did not say hello"),
        (
            processor_pb2.LinkResponse(
                frame_number=2, hello_back=processor_pb2.HelloBack(ledger="ledger-a")
            ).SerializeToString(),
            "did not say hello",
        ),
    ],
    ids=["silence", "no message", "no hello", "another number"],
)
async def test_a_node_that_does_not_say_hello_is_not_used(
    node: ScriptedNode,
    open_links: Open,
    observer: RecordingObserver,
    hello_back: bytes | None,
    why: str,
) -> None:
    good, node.hello_back = node.hello_back, hello_back
    links = await open_links(node.port, ready=False)
    await until(lambda: len(node.links) >= 3)
    [(_, _, told)] = observer.of("lost", "ready")
    assert why in told
    assert links.stage(NAME) is not LinkStage.READY
    node.hello_back = good
    await until(lambda: len(observer.of("ready")) == 1)


async def test_what_is_offered_while_the_link_is_down_was_not_sent_and_is_settled_later(
    node: ScriptedNode, open_links: Open, observer: RecordingObserver, sendings: Sendings
) -> None:
    node.hello_back = None
    links = await open_links(node.port, ready=False)
    links.offer(sendings.make())
    forgotten = sendings.make()
    links.offer(forgotten)
    links.forget(forgotten)
    assert observer.events == []
    await until(lambda: observer.classes() == {1: "NOT_SENT"})
    assert links.recall(NAME) == []
    links.request_echo(NAME)


async def test_the_end_of_the_stream_settles_what_was_written_as_lost(
    node: ScriptedNode, open_links: Open, observer: RecordingObserver, sendings: Sendings
) -> None:
    links = await open_links(node.port)
    for _ in range(3):
        links.offer(sendings.make())
    await until(lambda: len(node.link.items) == 3)
    await node.link.answer(node.link.items[1:2])
    await until(lambda: len(observer.of("settled")) == 1)
    node.link.end(grpc.StatusCode.UNAVAILABLE, "going\ndown")
    await until(lambda: len(observer.of("settled")) == 3)
    assert observer.classes() == {1: "LINK_LOST", 2: "ANSWER", 3: "LINK_LOST"}
    names = [event[0] for event in observer.events]
    assert names[names.index("lost") :][:3] == ["lost", "settled", "settled"]
    assert observer.of("lost")[0][2] == "UNAVAILABLE: going down"
    await until(lambda: len(observer.of("ready")) == 2)


async def test_what_was_not_written_when_the_link_ended_was_not_sent(
    node: ScriptedNode, open_links: Open, observer: RecordingObserver, sendings: Sendings
) -> None:
    links = await open_links(node.port)
    links.offer(sendings.make())
    await until(lambda: len(node.link.items) == 1)

    # The flow, told of the first loss, offers to the same node again: that comes back unsent.
    def offer_again(sending: Any, event: Any) -> None:
        observer.settled(sending, event)
        if sending.number == 1:
            links.offer(again)

    again = sendings.make()
    first = links._links[NAME]._session
    assert first is not None
    first._in_flight[1].settle = offer_again
    node.link.end()
    await until(lambda: observer.classes() == {1: "LINK_LOST", 2: "NOT_SENT"})


async def test_a_forgotten_sending_is_not_written_or_its_answer_is_late(
    node: ScriptedNode, open_links: Open, observer: RecordingObserver, sendings: Sendings
) -> None:
    links = await open_links(node.port)
    written, unwritten, other = sendings.make(), sendings.make(), sendings.make()
    links.offer(written)
    await until(lambda: len(node.link.items) == 1)
    links.offer(unwritten)
    links.offer(other)
    links.forget(written)
    links.forget(unwritten)
    links.forget(unwritten)
    await until(lambda: len(node.link.items) == 2)
    assert [item.sending_number for item in node.link.items] == [1, 3]
    await node.link.answer(node.link.items)
    await until(lambda: len(observer.of("settled", "late")) == 2)
    assert observer.classes() == {3: "ANSWER"}
    [(_, name, answer)] = observer.of("late")
    assert (name, answer.sending_number) == (NAME, 1)


async def test_what_is_past_its_deadline_is_not_written(
    node: ScriptedNode, open_links: Open, observer: RecordingObserver, sendings: Sendings
) -> None:
    links = await open_links(node.port)
    links.offer(sendings.make(timeout_s=-0.001))
    links.offer(sendings.make())
    await until(lambda: len(node.link.items) == 1)
    assert node.link.items[0].sending_number == 2
    node.link.end()
    await until(lambda: observer.classes() == {1: "NOT_SENT", 2: "LINK_LOST"})


async def test_what_is_unwritten_can_be_recalled_and_no_later_frame_has_it(
    node: ScriptedNode, open_links: Open, observer: RecordingObserver, sendings: Sendings
) -> None:
    links = await open_links(node.port)
    links.offer(sendings.make())
    await until(lambda: len(node.link.items) == 1)
    offered = [sendings.make() for _ in range(3)]
    for sending in offered:
        links.offer(sending)
    assert links.recall(NAME) == offered
    assert observer.classes() == {2: "NOT_SENT", 3: "NOT_SENT", 4: "NOT_SENT"}
    promised = links.last_frame(NAME)
    links.offer(sendings.make())
    await until(lambda: len(node.link.items) == 2)
    assert node.link.items[1].sending_number == 5
    assert promised == (1, 2)
    assert node.link.frames[-1].frame_number == 3


async def test_while_a_write_is_held_back_nothing_more_counts_as_written(
    node: ScriptedNode, open_links: Open, observer: RecordingObserver, sendings: Sendings
) -> None:
    """A peer that reads nothing takes some megabytes; what comes after is certainly unwritten."""
    node.read_nothing_more = True
    links = await open_links(node.port)
    offered = [sendings.make(authorization(n, sealed=bytes(4096))) for n in range(1, 2001)]
    for sending in offered:
        links.offer(sending)
    written = -1
    while written != sum(s.written for s in offered):
        written = sum(s.written for s in offered)
        await asyncio.sleep(0.1)
    assert 0 < written < 2000
    node.link.end()
    await until(lambda: len(observer.of("settled")) == 2000)
    assert observer.classes() == {
        s.number: "LINK_LOST" if s.written else "NOT_SENT" for s in offered
    }
    assert sum(s.written for s in offered) < 2000


async def test_go_away_from_the_node_finishes_what_is_in_flight_and_opens_a_new_link(
    node: ScriptedNode, open_links: Open, observer: RecordingObserver, sendings: Sendings
) -> None:
    links = await open_links(node.port)
    links.offer(sendings.make())
    await until(lambda: len(node.link.items) == 1)
    first = node.link
    await first.say(go_away=processor_pb2.GoAway(reason="maintenance"))
    links.offer(sendings.make())
    await until(lambda: bool(observer.of("draining")))
    links.offer(sendings.make())
    assert links.stage(NAME) is LinkStage.DRAINING
    await until(lambda: 3 in observer.settlements())
    assert observer.classes().get(3) == "NOT_SENT"
    assert not first.half_closed
    await first.answer([item for item in first.items if item.sending_number == 1])
    for item in first.items[1:]:
        await first.answer([item])
    await until(lambda: first.half_closed)
    await until(lambda: len(observer.of("ready")) == 2)
    assert observer.classes()[1] == "ANSWER"
    assert node.link.frames[0].hello.session == 2
    links.offer(sendings.make())
    await until(lambda: len(node.link.items) == 1)


async def test_a_draining_link_that_never_finishes_is_cut(
    node: ScriptedNode, open_links: Open, observer: RecordingObserver, sendings: Sendings
) -> None:
    links = await open_links(node.port)
    links.offer(sendings.make())
    await until(lambda: len(node.link.items) == 1)
    await node.link.say(go_away=processor_pb2.GoAway())
    await until(lambda: observer.classes() == {1: "LINK_LOST"})
    assert "took too long" in observer.of("lost")[0][2]
    await until(lambda: len(observer.of("ready")) == 2)


async def test_closing_says_go_away_and_waits_for_what_is_in_flight(
    node: ScriptedNode, open_links: Open, observer: RecordingObserver, sendings: Sendings
) -> None:
    links = await open_links(node.port)
    links.offer(sendings.make())
    await until(lambda: len(node.link.items) == 1)
    closing = asyncio.create_task(links.close(5.0))
    await until(lambda: node.link.frames[-1].HasField("go_away"))
    links.offer(sendings.make())
    await until(lambda: observer.classes() == {2: "NOT_SENT"})
    assert not closing.done()
    await node.link.answer(node.link.items)
    await asyncio.wait_for(closing, 1)
    assert observer.classes() == {1: "ANSWER", 2: "NOT_SENT"}
    await asyncio.sleep(0.05)
    assert len(node.links) == 1


async def test_closing_ends_after_its_grace(
    node: ScriptedNode, open_links: Open, observer: RecordingObserver, sendings: Sendings
) -> None:
    links = await open_links(node.port)
    links.offer(sendings.make())
    await until(lambda: len(node.link.items) == 1)
    await asyncio.wait_for(links.close(0.05), 1)
    assert observer.classes() == {1: "LINK_LOST"}


async def test_an_echo_is_sent_when_nothing_else_is(
    node: ScriptedNode, open_links: Open, observer: RecordingObserver, sendings: Sendings
) -> None:
    times = LinkTimes(echo_idle_s=0.1)
    links = await open_links(node.port, times=times)
    for _ in range(6):
        links.offer(sendings.make())
        await asyncio.sleep(0.03)
    assert observer.of("echo") == []
    await until(lambda: len(observer.of("echo")) == 2)
    assert observer.of("late") == []


async def test_echoes_are_sent_at_once_when_asked_for(
    node: ScriptedNode, open_links: Open, observer: RecordingObserver
) -> None:
    links = await open_links(node.port)
    links.request_echo(NAME)
    links.request_echo(NAME)
    await until(lambda: len(observer.of("echo")) == 2)
    for _ in range(50):
        links.request_echo(NAME)
    await until(lambda: len(observer.of("echo")) == 6)


async def test_answers_nobody_waits_for_are_told_as_late(
    node: ScriptedNode, open_links: Open, observer: RecordingObserver, sendings: Sendings
) -> None:
    links = await open_links(node.port)
    links.offer(sendings.make())
    await until(lambda: len(node.link.items) == 1)
    stranger = processor_pb2.ItemResult(sending_number=4711, reference=b"s" * 16)
    await node.link.say(results=[stranger])
    await node.link.answer(node.link.items)
    await node.link.answer(node.link.items)
    await until(lambda: len(observer.of("late")) == 2)
    assert observer.classes() == {1: "ANSWER"}
    assert [answer.sending_number for _, _, answer in observer.of("late")] == [4711, 1]


async def test_an_answer_under_another_reference_is_unreadable(
    node: ScriptedNode, open_links: Open, observer: RecordingObserver, sendings: Sendings
) -> None:
    links = await open_links(node.port)
    links.offer(sendings.make())
    await until(lambda: len(node.link.items) == 1)
    await node.link.answer(node.link.items, reference=b"x" * 16)
    await until(lambda: len(observer.of("settled")) == 1)
    assert observer.of("settled")[0][2].disposition is Disposition.UNREADABLE


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (b"\xff\xff\xff", "cannot be read"),
        (processor_pb2.LinkResponse(frame_number=3).SerializeToString(), "gap"),
        (processor_pb2.LinkResponse(frame_number=1).SerializeToString(), "gap"),
        (HUGE, "RESOURCE_EXHAUSTED"),
    ],
    ids=["no message", "ahead", "again", "huge"],
)
async def test_a_node_that_breaks_the_protocol_loses_its_link(
    node: ScriptedNode,
    open_links: Open,
    observer: RecordingObserver,
    sendings: Sendings,
    frame: bytes,
    why: str,
) -> None:
    links = await open_links(node.port)
    links.offer(sendings.make())
    await until(lambda: len(node.link.items) == 1)
    # The switch may cut the stream while the node still writes: its write then fails, too.
    with suppress(grpc.aio.BaseError):
        await node.link.context.write(Raw(frame))
    await until(lambda: observer.classes() == {1: "LINK_LOST"})
    assert why in observer.of("lost")[0][2]
    await until(lambda: len(observer.of("ready")) == 2)


async def test_health_is_checked_quickly_while_it_changes_and_watched_beside(
    node: ScriptedNode, open_links: Open, observer: RecordingObserver
) -> None:
    assert node.health is not None
    probing = ProbeSettings(interval_s=30.0, quick_interval_s=0.02, quick_count=3)
    await open_links(node.port, probing=probing)

    def health() -> list[bool]:
        return [ok for _, _, ok in observer.of("health")]

    await until(lambda: health().count(True) >= 4)
    await asyncio.sleep(0.1)
    seen = len(health())
    # The next check is half a minute away: only the watch can tell.
    node.health.set("", False)
    await until(lambda: health()[seen:].count(False) >= 4)
    node.health.set("", True)
    await until(lambda: health()[-1])


async def test_a_node_without_an_answer_in_time_is_not_healthy(
    node: ScriptedNode, open_links: Open, observer: RecordingObserver
) -> None:
    await open_links(node.port, probing=ProbeSettings(interval_s=0.02, quick_interval_s=0.02))
    await until(lambda: ("health", NAME, True) in observer.events)
    await node.stop()
    await until(lambda: observer.events[-1] == ("health", NAME, False))


async def test_a_node_without_a_health_service_is_not_healthy_and_not_watched_again(
    open_links: Open, observer: RecordingObserver, supervisor: Supervisor
) -> None:
    node = ScriptedNode()
    node.health = None
    await node.start()
    await open_links(node.port, probing=ProbeSettings(interval_s=0.02, quick_interval_s=0.02))
    await until(lambda: ("health", NAME, False) in observer.events)
    await until(lambda: "health watch alpha-1" not in {t.get_name() for t in supervisor.tasks})
    await node.stop()


async def test_closing_while_the_node_is_still_to_say_hello_sends_nothing(
    node: ScriptedNode, open_links: Open, observer: RecordingObserver
) -> None:
    good, node.hello_back = node.hello_back, None
    times = LinkTimes(hello_timeout_s=5.0)
    links = await open_links(node.port, times=times, ready=False)
    await until(lambda: len(node.links) == 1 and len(node.link.frames) == 1)
    await asyncio.wait_for(links.close(1.0), 0.5)
    assert good is not None
    await node.link.context.write(Raw(good))
    await until(lambda: node.link.half_closed)
    assert [frame.HasField("go_away") for frame in node.link.frames] == [False, True]
    assert [event[0] for event in observer.of("ready", "draining", "lost")][:2] == [
        "ready",
        "draining",
    ]


async def test_go_away_returns_what_is_unwritten_at_once(
    node: ScriptedNode, open_links: Open, observer: RecordingObserver, sendings: Sendings
) -> None:
    node.read_nothing_more = True
    links = await open_links(node.port)
    offered = [sendings.make(authorization(n, sealed=bytes(4096))) for n in range(1, 2001)]
    for sending in offered:
        links.offer(sending)
    written = -1
    while written != sum(s.written for s in offered):
        written = sum(s.written for s in offered)
        await asyncio.sleep(0.1)
    await node.link.say(go_away=processor_pb2.GoAway())
    await until(lambda: bool(observer.of("settled")))
    # The stream is alive: what was written is still awaited.
    assert observer.of("lost") == []
    assert observer.classes() == {s.number: "NOT_SENT" for s in offered if not s.written}
