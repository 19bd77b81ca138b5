"""The contract: how a link begins, and which of two links is the newer one."""

from __future__ import annotations

import grpc
import pytest

from payswitch.processor.v1 import processor_pb2 as pb
from tests.node_contract.peer import Ended, Switch


async def test_a_node_answers_hello_in_a_first_frame_that_says_nothing_else(switch: Switch) -> None:
    link = await switch.open()
    first = link.frames[0]
    assert first.frame_number == 1
    assert first.HasField("hello_back")
    assert first.hello_back.ledger
    assert not first.results
    assert not first.HasField("go_away")


async def test_all_nodes_of_a_ledger_name_the_same_ledger(
    switch: Switch, other_address: str
) -> None:
    one, two = await switch.open(), await switch.open(other_address)
    assert one.hello_back == two.hello_back


async def test_a_hello_of_an_older_session_is_refused_as_stale(switch: Switch) -> None:
    await switch.open(link=(switch.epoch, 7))
    with pytest.raises(Ended) as refused:
        await switch.open(link=(switch.epoch, 6))
    assert refused.value.status is grpc.StatusCode.FAILED_PRECONDITION
    assert "STALE_SESSION" in refused.value.details


async def test_a_hello_of_an_older_epoch_is_refused_whatever_its_session(switch: Switch) -> None:
    await switch.open(link=(switch.epoch, 1))
    with pytest.raises(Ended) as refused:
        await switch.open(link=(switch.epoch - 1, 99))
    assert refused.value.status is grpc.StatusCode.FAILED_PRECONDITION
    assert "STALE_SESSION" in refused.value.details


async def test_a_link_that_is_gone_is_still_remembered(switch: Switch) -> None:
    gone = await switch.open(link=(switch.epoch, 7))
    await gone.close()
    with pytest.raises(Ended) as refused:
        await switch.open(link=(switch.epoch, 6))
    assert refused.value.status is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_newer_epoch_is_admitted_with_a_lower_session(switch: Switch) -> None:
    await switch.open(link=(switch.epoch, 99))
    newer = await switch.open(link=(switch.epoch + 1, 1))
    assert (await newer.ask(switch.echo())).disposition == pb.DISPOSITION_PROCESSED


async def test_a_newer_hello_ends_the_older_stream(switch: Switch) -> None:
    older = await switch.open()
    await switch.open()
    assert (await older.ended()).status is not grpc.StatusCode.OK


async def test_an_item_of_an_older_link_is_never_started_once_a_newer_hello_is_answered(
    switch: Switch,
) -> None:
    older = await switch.open()
    newer = await switch.open()
    orphan = switch.authorization()
    await older.send(orphan)
    await older.ended()
    asked = await newer.ask(switch.inquiry(orphan))
    assert asked.disposition == pb.DISPOSITION_NOT_PROCESSED
    assert not older.said_to(orphan)


async def test_links_of_other_switches_are_left_alone(switch: Switch) -> None:
    link = await switch.open()
    other = Switch(switch.target)
    try:
        await other.open()
    finally:
        await other.close()
    if other.switch_id != switch.switch_id:
        assert (await link.ask(switch.echo())).disposition == pb.DISPOSITION_PROCESSED
