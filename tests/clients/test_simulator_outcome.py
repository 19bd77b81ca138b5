"""The published table: which amount ends how."""

from __future__ import annotations

from pathlib import Path

import pytest

from clients.simulator import outcome
from clients.simulator.outcome import ORDINARY, RESERVED, RULES, Crash, Reply, outcome_of
from payswitch.processor.v1 import processor_pb2 as pb

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "simulator.md"


def decision(amount_minor: int, *, partial_welcome: bool = False) -> tuple[str, int]:
    return outcome_of(amount_minor).decision(amount_minor, partial_welcome)


def test_the_published_page_holds_the_table_of_the_code() -> None:
    assert outcome.table() in PAGE.read_text(encoding="utf-8")


def test_every_amount_outside_the_reserved_range_is_approved_in_full() -> None:
    for digits in set(range(10_000)) - set(RESERVED):
        assert outcome_of(120_000 + digits) is ORDINARY
    assert decision(1250) == ("00", 1250)


def test_no_two_rules_speak_of_one_amount() -> None:
    spoken_of = [digits for rule in RULES for digits, _ in rule.amounts()]
    assert len(spoken_of) == len(set(spoken_of))
    assert set(spoken_of) <= set(RESERVED)


def test_only_the_last_four_digits_count() -> None:
    assert outcome_of(9051) is outcome_of(7_779_051)


@pytest.mark.parametrize(
    "code", ["05", "51", "54", "14", "61", "91", "96", "15", "92", "09", "94", "68", "99"]
)
def test_a_90_amount_is_decided_with_its_code_and_takes_nothing(code: str) -> None:
    assert decision(int(f"90{code}")) == (code, 0)


@pytest.mark.parametrize("code", ["00", "08", "11", "16", "85"])
def test_a_90_amount_whose_code_approves_takes_all(code: str) -> None:
    amount_minor = int(f"90{code}")
    assert decision(amount_minor) == (code, amount_minor)


def test_9010_approves_half_whether_welcome_or_not() -> None:
    assert decision(9010) == ("10", 4505)
    assert decision(9010, partial_welcome=True) == ("10", 4505)


def test_9902_approves_half_only_where_welcome() -> None:
    assert decision(9902, partial_welcome=True) == ("10", 4951)
    assert decision(9902) == ("51", 0)


def test_9901_declines_with_a_code_that_is_no_number() -> None:
    assert decision(9901) == ("1A", 0)


@pytest.mark.parametrize("code", ["68", "91", "96", "99", "05"])
def test_a_91_amount_declines_in_words_and_takes_the_money(code: str) -> None:
    amount_minor = int(f"91{code}")
    assert decision(amount_minor) == (code, amount_minor)


def test_a_91_amount_with_an_approving_code_is_ordinary() -> None:
    assert outcome_of(9100) is ORDINARY


@pytest.mark.parametrize(("amount_minor", "delay_ms"), [(9201, 100), (9206, 600), (9230, 3000)])
def test_a_92_amount_is_decided_after_tenths_of_a_second(amount_minor: int, delay_ms: int) -> None:
    assert outcome_of(amount_minor).decided_after_ms == delay_ms


def test_the_families_that_trouble_the_answer_do_what_their_name_says() -> None:
    assert outcome_of(9305).reply is Reply.NEVER
    assert outcome_of(9305).decided_after_ms == 5000
    assert outcome_of(9400).reply is Reply.NEVER_NOR_REPEATS
    assert outcome_of(9515).reply_after_ms == 1500
    assert outcome_of(9601).refusal == pb.DISPOSITION_NOT_PROCESSED
    assert outcome_of(9602).refusal_once
    assert outcome_of(9603).refusal == pb.DISPOSITION_KEY_UNKNOWN
    assert outcome_of(9604).refusal == pb.DISPOSITION_MALFORMED
    assert outcome_of(9606).reply is Reply.UNREADABLE
    assert outcome_of(9701).crash is Crash.BEFORE_CLAIM
    assert outcome_of(9702).crash is Crash.AFTER_CLAIM
    assert outcome_of(9703).crash is Crash.AFTER_DECISION
    assert outcome_of(9801).reply is Reply.TWICE
    assert outcome_of(9802).reply is Reply.TWICE_DIFFERING
    assert outcome_of(9803).reply is Reply.OTHERWISE_TO_REPEATS
