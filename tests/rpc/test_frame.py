"""Items on a link: their bound, and what a node may say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payswitch.processor.v1 import processor_pb2
from switch.core.message import Disposition, Envelope, Kind, Message, PaymentKey
from switch.core.money import AMOUNT_MINOR_MAX, Money
from switch.rpc.edge import Malformed, total
from switch.rpc.frame import bytes_of, fill_item, read_result
from tests.rpc.nodes import authorization, inquiry, reversal


def longest() -> Message:
    message = authorization(
        2**128 - 1,
        sealed=bytes(4096),
        key=PaymentKey("T" * 32, bytes(16)),
        amount=Money(AMOUNT_MINOR_MAX, "EUR"),
        merchant_id="M" * 32,
        kind=Kind.PREAUTHORIZATION,
        entry_mode=6,
    )
    message.envelope = Envelope("k" * 64, message.envelope.sealed)
    message.repeat = True
    return message


@pytest.mark.parametrize("message", [longest(), reversal(), inquiry()])
def test_no_item_is_longer_than_is_reckoned(message: Message) -> None:
    frame = processor_pb2.LinkRequest()
    fill_item(frame.items.add(), 2**63, message, 3.000000001)
    assert frame.ByteSize() <= bytes_of(message)


def test_a_time_to_live_is_exact() -> None:
    item = processor_pb2.Item()
    fill_item(item, 1, inquiry(), 1.25)
    assert (item.time_to_live.seconds, item.time_to_live.nanos) == (1, 250_000_000)
    fill_item(item, 1, inquiry(), 0.000_001)
    assert (item.time_to_live.seconds, item.time_to_live.nanos) == (0, 1000)


def result(**fields: Any) -> processor_pb2.ItemResult:
    told: dict[str, Any] = {
        "sending_number": 5,
        "reference": bytes(16),
        "disposition": processor_pb2.DISPOSITION_PROCESSED,
        "response_code": "00",
        "approved_amount_minor": 1250,
        "authorization_code": "A1B2C3",
    }
    return processor_pb2.ItemResult(**(told | fields))


@pytest.mark.parametrize("disposition", list(Disposition))
def test_each_disposition_is_read(disposition: Disposition) -> None:
    assert read_result(result(disposition=disposition.value)).disposition is disposition


@pytest.mark.parametrize(
    "fields",
    [
        {"disposition": 0},
        {"disposition": 7},
        {"disposition": -1},
        {"response_code": "0"},
        {"response_code": "000"},
        {"response_code": "0\0"},
        {"response_code": "é0"},
        {"approved_amount_minor": -1},
        {"approved_amount_minor": 2**53},
        {"authorization_code": "1234567"},
        {"authorization_code": "A\n"},
        {"authorization_code": "Aé"},
        {"reference": bytes(17)},
    ],
)
def test_an_answer_out_of_its_bounds_is_unreadable(fields: dict[str, Any]) -> None:
    answer = read_result(result(**fields))
    assert answer.disposition is Disposition.UNREADABLE
    assert answer.sending_number == 5
    assert len(answer.reference) <= 16


def test_a_reversal_needs_no_response_code() -> None:
    answer = read_result(result(response_code="", authorization_code=""))
    assert answer.disposition is Disposition.PROCESSED


@given(st.binary(max_size=300))
def test_any_bytes_from_a_node_are_answers_or_malformed(raw: bytes) -> None:
    frame = total(processor_pb2.LinkResponse.FromString, 1000)(raw)
    if not isinstance(frame, Malformed):
        for told in frame.results:
            answer = read_result(told)
            assert len(answer.response_code) in (0, 2)
            assert 0 <= answer.approved_amount_minor <= AMOUNT_MINOR_MAX
            assert len(answer.authorization_code) <= 6
