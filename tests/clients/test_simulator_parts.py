"""The simulator's small parts: latencies, frames, links, keys, rules and the command line."""

from __future__ import annotations

import base64
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from clients.simulator.card import (
    OPENS_AFTER_S,
    Key,
    KeyFileInvalid,
    KeyRing,
    card_info,
    is_card_number,
    seal,
)
from clients.simulator.commands import simulator
from clients.simulator.latency import LatencyInvalid, latency_of
from clients.simulator.message import (
    Answer,
    Authorize,
    FrameInvalid,
    Inquire,
    Join,
    Opened,
    Origin,
    Question,
    QuestionReader,
    Recorded,
    Reply,
    ReplyReader,
    Reverse,
    Welcome,
    frame,
)
from clients.simulator.rule import authorization_fault, reversal_fault
from clients.simulator.session import STRANGER, Newest
from payswitch.money.v1 import money_pb2
from payswitch.processor.v1 import processor_pb2 as pb

# -- latency


def draws(text: str, seed: int = 1, count: int = 20_000) -> list[float]:
    latency = latency_of(text, Random(seed))
    return sorted(latency() for _ in range(count))


def test_no_latency_is_none_at_all() -> None:
    assert set(draws("none", count=10)) == {0.0}


def test_a_constant_latency_is_what_it_says() -> None:
    assert set(draws("constant:5ms", count=10)) == {0.005}


def test_a_uniform_latency_stays_between_its_bounds_and_comes_near_them() -> None:
    drawn = draws("uniform:low=2ms,high=9ms")
    assert 0.002 <= drawn[0] < 0.0021
    assert 0.0089 < drawn[-1] <= 0.009


def test_a_lognormal_latency_has_the_percentiles_it_names() -> None:
    drawn = draws("lognormal:p50=8ms,p99=40ms")
    assert drawn[len(drawn) // 2] == pytest.approx(0.008, rel=0.03)
    assert drawn[len(drawn) * 99 // 100] == pytest.approx(0.040, rel=0.10)


def test_the_same_seed_draws_the_same() -> None:
    assert draws("lognormal:p50=8ms,p99=40ms", 7) == draws("lognormal:p50=8ms,p99=40ms", 7)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "often",
        "none:5ms",
        "constant:5",
        "constant:-5ms",
        "uniform:low=9ms,high=2ms",
        "uniform:low=0ms,high=2ms",
        "lognormal:p50=8ms",
        "lognormal:p50=8ms,p99=40ms,p100=50ms",
        "lognormal:p50=8ms,p99=soon",
    ],
)
def test_a_latency_that_cannot_be_read_is_refused_with_examples(text: str) -> None:
    with pytest.raises(LatencyInvalid, match="constant:5ms"):
        latency_of(text, Random(1))


# -- frames between node and host

ORIGIN = Origin("switch-1", 7, 3, 12, 99)
QUESTIONS: list[Question] = [
    Join("acme-1"),
    Opened(1, "switch-1", 7, 3),
    Authorize(2, b"r" * 16, ORIGIN, False, 0, "terminal-1", "i" * 36, 1, 1000, "EUR"),
    Reverse(3, b"r" * 16, ORIGIN, True, 5, b"v" * 16, True, 0, "", 4021),
    Inquire(4, b"r" * 16, ORIGIN, 0),
]
REPLIES: list[Reply] = [
    Welcome("acme", {"switch-1": (7, 3)}),
    Recorded(1),
    Answer(2, 1, "00", 1000, "123456", "fine"),
]


@given(st.lists(st.integers(1, 40), min_size=1))
def test_frames_are_read_from_whatever_pieces_they_arrive_in(sizes: list[int]) -> None:
    data = frame(QUESTIONS) + frame([]) + frame(QUESTIONS[:1])
    reader, read, start = QuestionReader(), [], 0
    for size in sizes:
        read += list(reader.feed(data[start : start + size]))
        start += size
    read += list(reader.feed(data[start:]))
    assert read == [QUESTIONS, [], QUESTIONS[:1]]


def test_replies_come_back_as_they_went() -> None:
    assert list(ReplyReader().feed(frame(REPLIES))) == [REPLIES]


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x01\xc1", frame(REPLIES)])
def test_what_is_no_frame_of_questions_is_refused(data: bytes) -> None:
    with pytest.raises(FrameInvalid):
        list(QuestionReader().feed(data))


# -- links


def test_a_link_is_newer_by_its_epoch_first_and_then_by_its_session() -> None:
    newest = Newest()
    assert newest.of("switch-1") == STRANGER
    said = [newest.admit("switch-1", link) for link in [(1, 5), (1, 4), (1, 5), (1, 6), (2, 1)]]
    assert said == [True, False, False, True, True]
    assert newest.of("switch-1") == (2, 1)
    assert newest.admit("switch-2", (0, 0))


def test_what_was_remembered_never_makes_a_link_older() -> None:
    newest = Newest()
    newest.admit("switch-1", (3, 3))
    newest.learn({"switch-1": (3, 2), "switch-2": (1, 1)})
    assert newest.of("switch-1") == (3, 3)
    assert not newest.admit("switch-2", (1, 1))


# -- keys and cards

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CARD = pb.Card(number="4111111111111111", expiry="3012")


def sealed(key: Key, card: pb.Card = CARD, *, amount_minor: int = 1000) -> pb.Authorization:
    """Seal a card for 1000 EUR cents, or another amount, into a payment of 1000."""
    request_id = "0" * 36
    info = card_info("terminal-1", request_id, "EUR", amount_minor)
    return pb.Authorization(
        terminal_id="terminal-1",
        request_id=request_id,
        amount=money_pb2.Money(amount_minor=1000, currency="EUR"),
        key_id=key.key_id,
        sealed_card=seal(card, key.public_key, info),
    )


@pytest.fixture(scope="module")
def key() -> Key:
    return Key("acme", "key-1", X25519PrivateKey.generate(), NOON)


def test_a_sound_card_opens(key: Key) -> None:
    assert KeyRing([key]).fault(sealed(key)) == ""


def test_an_envelope_for_another_amount_does_not_open(key: Key) -> None:
    assert KeyRing([key]).fault(sealed(key, amount_minor=999)) == "30"


def test_an_envelope_of_another_key_or_of_no_bytes_at_all_does_not_open(key: Key) -> None:
    other = Key("acme", "key-1", X25519PrivateKey.generate(), NOON)
    assert KeyRing([key]).fault(sealed(other)) == "30"
    asked = sealed(key)
    for broken in (b"", asked.sealed_card[:40], asked.sealed_card + b"\0"):
        asked.sealed_card = broken
        assert KeyRing([key]).fault(asked) == "30"


def test_a_card_number_that_is_none_is_declined_as_one(key: Key) -> None:
    for number in ("4111111111111112", "", "411111111111111x", "41", "4" * 20):
        assert KeyRing([key]).fault(sealed(key, pb.Card(number=number))) == "14"


@pytest.mark.parametrize("number", ["4111111111111111", "5500000000000004", "340000000000009"])
def test_well_known_test_numbers_pass_their_check_digit(number: str) -> None:
    assert is_card_number(number)


def test_a_key_opens_for_a_day_after_its_last_and_then_is_unknown(key: Key) -> None:
    ring = KeyRing([key])
    retired_s = NOON.timestamp() + OPENS_AFTER_S
    assert ring.knows("key-1", retired_s)
    assert not ring.knows("key-1", retired_s + 1)
    assert not ring.knows("key-2", 0)


def test_a_key_file_comes_back_as_it_was_written_and_is_its_owners_only(
    tmp_path: Path, key: Key
) -> None:
    path = tmp_path / "key.json"
    key.write(path)
    again = Key.read(path)
    assert (again.processor, again.key_id, again.not_after) == ("acme", "key-1", NOON)
    assert again.public_key == key.public_key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    fields = json.loads(path.read_text(encoding="utf-8"))
    assert base64.b64decode(fields["public_key"]) == key.public_key


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"private_key": "AAAA"}'])
def test_a_key_file_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(KeyFileInvalid, match=r"key\.json"):
        Key.read(path)


# -- rules


def authorization(**fields: Any) -> pb.Authorization:
    sound: dict[str, Any] = {
        "reference": b"r" * 16,
        "kind": pb.AUTHORIZATION_KIND_PURCHASE,
        "amount": money_pb2.Money(amount_minor=1, currency="EUR"),
        "sealed_card": b"sealed",
        "terminal_id": "terminal-1",
        "request_id": "0" * 36,
    }
    return pb.Authorization(**{**sound, **fields})


def test_a_sound_authorization_breaks_no_rule() -> None:
    assert authorization_fault(authorization(), sealed=True) == ""


@pytest.mark.parametrize(
    "fields",
    [
        {"reference": b"r" * 17},
        {"kind": pb.AUTHORIZATION_KIND_UNSPECIFIED},
        {"kind": 99},
        {"request_id": "0" * 35},
        {"terminal_id": ""},
        {"sealed_card": b""},
        {"sealed_card": b"s" * 4097},
        {"amount": money_pb2.Money(amount_minor=0, currency="EUR")},
        {"amount": money_pb2.Money(amount_minor=1, currency="eur")},
        {"amount": money_pb2.Money(amount_minor=1, currency="EURO")},
        {"amount": money_pb2.Money(amount_minor=1, currency="E1R")},
    ],
)
def test_an_authorization_that_breaks_a_rule_is_told_which(fields: dict[str, Any]) -> None:
    assert authorization_fault(authorization(**fields), sealed=True)


def test_a_node_that_opens_nothing_needs_no_card() -> None:
    assert authorization_fault(authorization(sealed_card=b""), sealed=False) == ""


def test_only_a_part_must_say_how_much() -> None:
    reversal = pb.Reversal(reference=b"r" * 16, reversal_reference=b"v" * 16, full=True)
    assert reversal_fault(reversal) == ""
    reversal.full = False
    assert reversal_fault(reversal)
    reversal.reversal_reference = b""
    assert reversal_fault(reversal) == "reversal_reference has 16 bytes"


# -- the command line


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(simulator, arguments)
    return result.exit_code, result.output


def test_keys_are_made_for_the_days_asked_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    asked = ("keys", "--processor", "acme", "--key-id", "key-1", "--days", "2", str(path))
    assert run(*asked)[0] == 0
    left = Key.read(path).not_after - datetime.now(UTC)
    assert timedelta(days=1) < left <= timedelta(days=2)
    code, output = run(*asked)
    assert code == 2
    assert "never overwritten" in output


def test_the_outcomes_are_printed_as_published() -> None:
    code, output = run("outcomes")
    assert code == 0
    assert "`90cc`" in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["node", "--name", "n", "--ledger-socket", "s"], "--no-open"),
        (["node", "--name", "n", "--ledger-socket", "s", "--no-open", "--latency", "x"], "latency"),
        (["node", "--name", "n", "--ledger-socket", "s", "--key", "no-such-file"], "no key file"),
        (["ledger", "--name", "n", "--file", "f", "--socket", "s" * 108], "107"),
    ],
)
def test_a_command_that_cannot_run_says_what_it_needs(arguments: list[str], said: str) -> None:
    code, output = run(*arguments)
    assert code == 2
    assert said in output
