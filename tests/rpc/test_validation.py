"""The rules of the wire: every one of them, on any message there can be."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from payswitch.money.v1 import money_pb2
from payswitch.terminal.v1 import terminal_pb2
from switch.core.identity import format_uuid, time_of
from switch.core.message import (
    AuthorizationRequest,
    Envelope,
    Kind,
    PaymentKey,
    ReversalReason,
    ReversalRequest,
)
from switch.core.money import Money
from switch.core.screening import passes_luhn
from switch.errors import REASONS
from switch.rpc.edge import Malformed, total
from switch.rpc.validation import CardKeysQuery, Rejected, Rules, ValidationSettings
from tests.rpc.conftest import payment as payment_of_now

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000
RULES = Rules(ValidationSettings())
CARD_NUMBER = "4111111111111111"


def id_of(at_ms: int = NOW_MS, tail: int = 1) -> str:
    bits = (at_ms << 80) | (0x7 << 76) | (0x2 << 62) | tail
    return str(uuid.UUID(int=bits))


def payment(**changes: Any) -> terminal_pb2.AuthorizeRequest:
    return payment_of_now(**({"request_id": id_of()} | changes))


def checked(message: terminal_pb2.AuthorizeRequest) -> AuthorizationRequest | Rejected:
    return RULES.authorize(message, NOW_MS, None)


def rejected(message: terminal_pb2.AuthorizeRequest) -> Rejected:
    found = checked(message)
    assert isinstance(found, Rejected)
    return found


def test_a_good_payment_becomes_a_record() -> None:
    message = payment(request_id=id_of().upper(), accepts_partial_approval=True)
    message.terminal_time.FromMilliseconds(NOW_MS - 5)
    found = checked(message)
    assert isinstance(found, AuthorizationRequest)
    assert found == AuthorizationRequest(
        key=PaymentKey("T-0001", uuid.UUID(id_of()).bytes),
        request_id=id_of(),
        kind=Kind.PURCHASE,
        amount=Money(1250, "EUR"),
        bin="411111",
        last_four="1111",
        envelopes={"alpha": Envelope("alpha-1", bytes(120))},
        entry_mode=terminal_pb2.ENTRY_MODE_CONTACTLESS,
        merchant_id="M-0042",
        merchant_category_code="5411",
        country="DE",
        terminal_time_ms=NOW_MS - 5,
        accepts_partial=True,
        timeout_s=3.0,
        fingerprint=found.fingerprint,
    )
    assert type(found.kind) is Kind


def envelope(**fields: Any) -> terminal_pb2.CardEnvelope:
    told: dict[str, Any] = {"processor": "alpha", "key_id": "alpha-1", "sealed": bytes(120)}
    return terminal_pb2.CardEnvelope(**(told | fields))


def euros(amount_minor: int, currency: str = "EUR") -> money_pb2.Money:
    return money_pb2.Money(amount_minor=amount_minor, currency=currency)


@pytest.mark.parametrize(
    ("changes", "reason", "fields"),
    [
        ({"request_id": ""}, "REQUEST_ID_INVALID", ["request_id"]),
        ({"request_id": str(uuid.uuid4())}, "REQUEST_ID_INVALID", ["request_id"]),
        ({"request_id": id_of(NOW_MS - 31 * DAY_MS)}, "REQUEST_ID_EXPIRED", ["request_id"]),
        ({"request_id": id_of(NOW_MS + 301_000)}, "REQUEST_ID_FROM_FUTURE", ["request_id"]),
        ({"terminal_id": ""}, "FIELD_INVALID", ["terminal_id"]),
        ({"terminal_id": "T" * 33}, "FIELD_INVALID", ["terminal_id"]),
        ({"terminal_id": "T\n"}, "FIELD_INVALID", ["terminal_id"]),
        ({"terminal_id": "T\0"}, "FIELD_INVALID", ["terminal_id"]),
        ({"terminal_id": "T\u202e"}, "FIELD_INVALID", ["terminal_id"]),
        ({"terminal_id": "Tä"}, "FIELD_INVALID", ["terminal_id"]),
        ({"kind": 0}, "FIELD_INVALID", ["kind"]),
        ({"kind": 3}, "FIELD_INVALID", ["kind"]),
        ({"kind": 77}, "FIELD_INVALID", ["kind"]),
        ({"amount": None}, "FIELD_INVALID", ["amount.amount_minor", "amount.currency"]),
        ({"amount": euros(0)}, "FIELD_INVALID", ["amount.amount_minor"]),
        ({"amount": euros(-1)}, "FIELD_INVALID", ["amount.amount_minor"]),
        ({"amount": euros(2**63 - 1)}, "FIELD_INVALID", ["amount.amount_minor"]),
        ({"amount": euros(2**53)}, "FIELD_INVALID", ["amount.amount_minor"]),
        ({"amount": euros(1, "eur")}, "FIELD_INVALID", ["amount.currency"]),
        ({"amount": euros(1, "XXX")}, "FIELD_INVALID", ["amount.currency"]),
        ({"bin": "41111"}, "FIELD_INVALID", ["bin"]),
        ({"bin": "411111111"}, "FIELD_INVALID", ["bin"]),
        ({"bin": "41111\u0661"}, "FIELD_INVALID", ["bin"]),
        ({"last_four": "111"}, "FIELD_INVALID", ["last_four"]),
        ({"entry_mode": 0}, "FIELD_INVALID", ["entry_mode"]),
        ({"entry_mode": 7}, "FIELD_INVALID", ["entry_mode"]),
        ({"merchant_id": " "}, "FIELD_INVALID", ["merchant_id"]),
        ({"merchant_category_code": "541"}, "FIELD_INVALID", ["merchant_category_code"]),
        ({"country": "de"}, "FIELD_INVALID", ["country"]),
        ({"country": "DE\n"}, "FIELD_INVALID", ["country"]),
        ({"timeout": {"seconds": 0}}, "FIELD_INVALID", ["timeout"]),
        ({"timeout": {"seconds": -1}}, "FIELD_INVALID", ["timeout"]),
        ({"timeout": {"seconds": 1, "nanos": -1}}, "FIELD_INVALID", ["timeout"]),
        ({"timeout": {"seconds": 1, "nanos": 10**9}}, "FIELD_INVALID", ["timeout"]),
        ({"terminal_id": CARD_NUMBER}, "CARD_NUMBER_IN_CLEAR", ["terminal_id"]),
        ({"merchant_id": "4111-1111-1111-1111"}, "CARD_NUMBER_IN_CLEAR", ["merchant_id"]),
        (
            {"envelopes": [envelope(key_id=CARD_NUMBER)]},
            "CARD_NUMBER_IN_CLEAR",
            ["envelopes[0].key_id"],
        ),
        (
            {"envelopes": [envelope(processor=CARD_NUMBER)]},
            "CARD_NUMBER_IN_CLEAR",
            ["envelopes[0].processor"],
        ),
        ({"envelopes": [envelope(sealed=bytes(47))]}, "FIELD_INVALID", ["envelopes[0].sealed"]),
        ({"envelopes": [envelope(sealed=bytes(4097))]}, "FIELD_INVALID", ["envelopes[0].sealed"]),
        ({"envelopes": [envelope(key_id="")]}, "FIELD_INVALID", ["envelopes[0].key_id"]),
        ({"envelopes": [envelope(), envelope()]}, "FIELD_INVALID", ["envelopes[1].processor"]),
        (
            {"envelopes": [envelope(processor=f"p{n}") for n in range(9)]},
            "FIELD_INVALID",
            ["envelopes"],
        ),
    ],
)
def test_each_rule_is_kept_and_named(
    changes: dict[str, Any], reason: str, fields: list[str]
) -> None:
    found = rejected(payment(**changes))
    assert found.refused.reason == reason
    assert [violation.field for violation in found.violations] == fields


@pytest.mark.parametrize(
    "changes",
    [
        {"request_id": id_of(NOW_MS - 30 * DAY_MS)},
        {"request_id": id_of(NOW_MS + 300_000)},
        {"kind": terminal_pb2.AUTHORIZATION_KIND_PREAUTHORIZATION},
        {"amount": euros(1)},
        {"amount": euros(2**53 - 1, "KWD")},
        {"bin": "41111111"},
        {"envelopes": None},
        {"envelopes": [envelope(sealed=bytes(48)), envelope(processor="b", sealed=bytes(4096))]},
        {"envelopes": [envelope(processor=f"p{n}") for n in range(8)]},
        {"terminal_id": "A-z_0.9", "merchant_id": "M" * 32},
        {"merchant_id": "378282246310005"},  # a card number by its sum, of another BIN
        {"timeout": {"nanos": 1}},
        {"timeout": {"seconds": 315_576_000_000}},
        {"terminal_time": None},
        {"terminal_time": {"seconds": 4_000_000_000}},
        {"terminal_time": {"seconds": 2**62, "nanos": -5}},
    ],
)
def test_what_breaks_no_rule_passes(changes: dict[str, Any]) -> None:
    assert isinstance(checked(payment(**changes)), AuthorizationRequest)


def test_a_terminal_clock_that_makes_no_sense_is_left_out() -> None:
    found = checked(payment(terminal_time={"seconds": 2**62}))
    assert isinstance(found, AuthorizationRequest)
    assert found.terminal_time_ms == 0


@pytest.mark.parametrize(
    ("wish", "remaining_s", "timeout_s"),
    [
        (None, None, 3.0),
        ({"seconds": 60}, None, 3.0),
        ({"seconds": 1, "nanos": 500_000_000}, None, 1.5),
        ({"seconds": 2}, 1.0, 1.0),
        (None, 60.0, 3.0),
        (None, 0.0, 0.0),
    ],
)
def test_the_shortest_of_three_timeouts_counts(
    wish: dict[str, int] | None, remaining_s: float | None, timeout_s: float
) -> None:
    found = RULES.authorize(payment(timeout=wish), NOW_MS, remaining_s)
    assert isinstance(found, AuthorizationRequest)
    assert found.timeout_s == timeout_s


def test_what_must_not_be_written_is_said_before_all_else_and_all_is_named() -> None:
    found = rejected(payment(request_id="x", country="x", terminal_id=CARD_NUMBER))
    assert found.refused.reason == "CARD_NUMBER_IN_CLEAR"
    assert {v.field for v in found.violations} == {"request_id", "country", "terminal_id"}
    assert CARD_NUMBER not in repr(found)


def test_an_old_id_with_other_faults_is_first_mended() -> None:
    old = id_of(NOW_MS - 31 * DAY_MS)
    assert rejected(payment(request_id=old, country="x")).refused.reason == "FIELD_INVALID"


def test_a_refused_id_is_told_the_time_of_the_switch() -> None:
    for at_ms in (NOW_MS - 31 * DAY_MS, NOW_MS + DAY_MS):
        assert (
            "2027-01-15T08:00:00.000+00:00"
            in rejected(payment(request_id=id_of(at_ms))).refused.detail
        )


def test_no_more_violations_are_listed_than_a_header_holds() -> None:
    bad = [envelope(processor="", key_id="", sealed=b"") for _ in range(8)]
    found = rejected(payment(envelopes=bad))
    assert len(found.violations) == 16


IDENTIFIERS = st.text(st.sampled_from("Aa0._-\n "), max_size=5) | st.sampled_from(
    ["T-1", CARD_NUMBER, "T" * 32, "T" * 33, f"x{CARD_NUMBER}"]
)
ENVELOPES = st.builds(
    terminal_pb2.CardEnvelope,
    processor=IDENTIFIERS,
    key_id=IDENTIFIERS,
    sealed=st.sampled_from([b"", bytes(47), bytes(48), bytes(4096), bytes(4097)]),
)
AMOUNTS = st.builds(
    money_pb2.Money,
    amount_minor=st.integers(-(2**63), 2**63 - 1) | st.integers(0, 5),
    currency=st.sampled_from(["EUR", "JPY", "XXX", "", "eur"]),
)
IDS = (
    st.text(max_size=40)
    | st.integers(NOW_MS - 40 * DAY_MS, NOW_MS + DAY_MS).map(id_of)
    | st.just(id_of().upper())
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "request_id": IDS,
        "terminal_id": IDENTIFIERS,
        "kind": st.integers(-1, 4),
        "amount": st.none() | AMOUNTS,
        "bin": st.sampled_from(["411111", "41111111", "4111", "411111\n", "41111x"]),
        "last_four": st.sampled_from(["1111", "111", "11111", "\u0661\u0661\u0661\u0661"]),
        "envelopes": st.lists(ENVELOPES, max_size=3),
        "entry_mode": st.integers(-1, 8),
        "merchant_id": IDENTIFIERS,
        "merchant_category_code": st.sampled_from(["5411", "54x1", ""]),
        "country": st.sampled_from(["DE", "de", "D", "DE\n"]),
        "accepts_partial_approval": st.booleans(),
    },
)


@given(CHANGES)
def test_any_message_is_read_or_rejected_with_a_published_reason(changes: dict[str, Any]) -> None:
    message = payment(**changes)
    found = checked(message)
    # The quick look and the walk along the table agree, or the walk would find nothing to say.
    if isinstance(found, Rejected):
        assert found.refused.reason in REASONS
        assert 1 <= len(found.violations) <= 16
        descriptions = " ".join(v.description for v in found.violations)
        assert CARD_NUMBER not in descriptions + found.refused.detail
    else:
        assert RULES._problems_of_authorize(message, NOW_MS) == []
        assert format_uuid(found.key.request_id) == found.request_id
        assert abs(time_of(found.key.request_id) - NOW_MS) <= 30 * DAY_MS
        for text in (found.key.terminal_id, found.merchant_id):
            assert not (text.isdigit() and len(text) >= 13 and text.startswith(found.bin)
                        and passes_luhn([int(c) for c in text]))  # fmt: skip


@given(st.binary(max_size=200))
@example(b"")
def test_any_bytes_have_a_documented_answer(raw: bytes) -> None:
    for kind, check in (
        (terminal_pb2.AuthorizeRequest, checked),
        (terminal_pb2.ReverseRequest, lambda m: RULES.reverse(m, NOW_MS, None)),
        (terminal_pb2.GetAuthorizationRequest, lambda m: RULES.payment_key(m, NOW_MS)),
        (terminal_pb2.GetCardKeysRequest, lambda m: RULES.card_keys(m, NOW_MS)),
    ):
        message: Any = total(kind.FromString, 100)(raw)
        if isinstance(message, Malformed):
            assert message.refused.reason == "MALFORMED"
        else:
            assert len(raw) <= 100
            found = check(message)
            assert not isinstance(found, Rejected) or found.refused.reason in REASONS


@given(st.integers(0, 300), st.integers(0, 255))
def test_a_damaged_payment_has_a_documented_answer(position: int, byte: int) -> None:
    raw = bytearray(payment().SerializeToString())
    raw[position % len(raw)] = byte
    message = total(terminal_pb2.AuthorizeRequest.FromString, 10_000)(bytes(raw))
    if not isinstance(message, Malformed):
        checked(message)


def test_unknown_fields_are_passed_over() -> None:
    raw = payment().SerializeToString() + bytes([0xFA, 0x7F, 3, 1, 2, 3])
    message = terminal_pb2.AuthorizeRequest.FromString(raw)
    assert isinstance(checked(message), AuthorizationRequest)


def reversal(**changes: Any) -> terminal_pb2.ReverseRequest:
    fields: dict[str, Any] = {
        "request_id": id_of(tail=2),
        "terminal_id": "T-0001",
        "original_request_id": id_of(),
        "reason": terminal_pb2.REVERSAL_REASON_COULD_NOT_COMPLETE,
    }
    return terminal_pb2.ReverseRequest(**(fields | changes))


def test_a_good_reversal_becomes_a_record() -> None:
    assert RULES.reverse(reversal(amount=euros(3)), NOW_MS, 1.0) == ReversalRequest(
        key=PaymentKey("T-0001", uuid.UUID(id_of(tail=2)).bytes),
        original=PaymentKey("T-0001", uuid.UUID(id_of()).bytes),
        amount=Money(3, "EUR"),
        reason=ReversalReason.COULD_NOT_COMPLETE,
        timeout_s=1.0,
    )
    found = RULES.reverse(reversal(), NOW_MS, None)
    assert isinstance(found, ReversalRequest)
    assert (found.amount, found.timeout_s) == (None, 3.0)


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"request_id": "x"}, "REQUEST_ID_INVALID", "request_id"),
        ({"original_request_id": "x"}, "REQUEST_ID_INVALID", "original_request_id"),
        (
            {"original_request_id": id_of(NOW_MS - 31 * DAY_MS)},
            "REQUEST_ID_EXPIRED",
            "original_request_id",
        ),
        ({"terminal_id": ""}, "FIELD_INVALID", "terminal_id"),
        ({"reason": 0}, "FIELD_INVALID", "reason"),
        ({"reason": 9}, "FIELD_INVALID", "reason"),
        ({"amount": euros(0)}, "FIELD_INVALID", "amount.amount_minor"),
        ({"amount": euros(1, "?")}, "FIELD_INVALID", "amount.currency"),
    ],
)
def test_each_rule_of_a_reversal_is_kept(changes: dict[str, Any], reason: str, field: str) -> None:
    found = RULES.reverse(reversal(**changes), NOW_MS, None)
    assert isinstance(found, Rejected)
    assert found.refused.reason == reason
    assert [v.field for v in found.violations] == [field]


def test_an_old_payment_may_still_be_asked_for() -> None:
    old = id_of(NOW_MS - 400 * DAY_MS)
    asked = terminal_pb2.GetAuthorizationRequest(terminal_id="T", request_id=old)
    assert RULES.payment_key(asked, NOW_MS) == PaymentKey("T", uuid.UUID(old).bytes)
    asked.terminal_id = ""
    assert isinstance(RULES.payment_key(asked, NOW_MS), Rejected)


def test_whose_keys_are_asked_for() -> None:
    asked = terminal_pb2.GetCardKeysRequest(bin="411111", merchant_id="M", currency="EUR")
    assert RULES.card_keys(asked, NOW_MS) == CardKeysQuery("411111", "M", "EUR")
    asked.merchant_id = CARD_NUMBER
    found = RULES.card_keys(asked, NOW_MS)
    assert isinstance(found, Rejected)
    assert found.refused.reason == "CARD_NUMBER_IN_CLEAR"
