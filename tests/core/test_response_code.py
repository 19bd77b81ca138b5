"""Response codes: what each says about the money, another ledger, the node, and to the terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payswitch.terminal.v1 import terminal_pb2
from switch.core.outcome import Outcome
from switch.core.response_code import (
    CANCELLED,
    CODES,
    INOPERATIVE,
    INSUFFICIENT,
    OVERRIDABLE,
    UNKNOWN,
    Advice,
    Code,
    Meaning,
    describe,
    meanings_with,
    problems_with,
)

SPECIFICATION = """
codes                          money     ledger node
00 08 11 16 85                 APPROVED  no     SUCCESS
10                             PARTIAL   no     SUCCESS
01 02                          DECLINED  no     SUCCESS
03 12 13 30 31 40 57 58        DECLINED  no     LOCAL
04 07 33 34 35 36 37 38 41 43  DECLINED  no     SUCCESS
05                             DECLINED  no     SUCCESS
14 54 55 75 82 1A              DECLINED  no     SUCCESS
51 61 65 59 62 63              DECLINED  no     SUCCESS
17                             DECLINED  no     SUCCESS
09                             WAIT      no     LOCAL
15 92                          TECHNICAL other  LOCAL
68                             IN_DOUBT  no     IN_DOUBT
90                             TECHNICAL other  SOFT
91                             IN_DOUBT  other  TECHNICAL
94                             WAIT      no     LOCAL
96                             IN_DOUBT  other  TECHNICAL
97 98 99                       IN_DOUBT  no     IN_DOUBT
"""
"""What a code says about the money, whether another ledger may be tried when the money says so, and
what the node's breaker is told. 17 is our own: cancelled by the terminal."""

ADVICE = """
NONE                00 08 10 11 16 85 17
FIX_AND_NEW_PAYMENT 03 12 13 30 40 57 58 1A
NOT_WITH_THIS_CARD  04 07 33 34 35 36 37 38 41 43 14 54 75 82 59 62 63 31
NEW_PAYMENT_LATER   01 02 05 51 55 61 65 09 15 68 90 91 92 94 96 97 98 99
"""

LOST_OR_STOLEN = ["04", "07", "33", "34", "35", "36", "37", "38", "41", "43"]


def specified() -> dict[str, tuple[Meaning, bool, Outcome]]:
    """Read the first table above."""
    rows = {}
    for line in SPECIFICATION.strip().splitlines()[1:]:
        *codes, money, ledger, node = line.split()
        for code in codes:
            assert code not in rows
            rows[code] = (Meaning[money], ledger == "other", Outcome[node])
    return rows


SPECIFIED = specified()
ADVISED = {
    code: Advice[advice]
    for advice, *codes in (line.split() for line in ADVICE.strip().splitlines())
    for code in codes
}
TWO_CHARACTERS = st.text("0123456789AZ", min_size=2, max_size=2)


@pytest.mark.parametrize("code", sorted(SPECIFIED.keys() | CODES.keys()))
def test_a_code_says_what_the_specification_says(code: str) -> None:
    row = CODES[code]
    assert (row.meaning, row.other_ledger, row.outcome) == SPECIFIED[code]
    assert row.advice is ADVISED[code]
    assert row.text


def test_the_table_has_every_code_of_the_specification_and_no_other() -> None:
    assert CODES.keys() == SPECIFIED.keys() == ADVISED.keys()


def test_a_code_has_one_of_six_meanings() -> None:
    assert [meaning.name for meaning in Meaning] == [
        "APPROVED",
        "PARTIAL",
        "DECLINED",
        "TECHNICAL",
        "WAIT",
        "IN_DOUBT",
    ]


def test_a_decline_never_harms_the_node_that_gave_it() -> None:
    for row in CODES.values():
        if row.meaning in {Meaning.APPROVED, Meaning.PARTIAL, Meaning.DECLINED, Meaning.WAIT}:
            assert row.outcome in {Outcome.SUCCESS, Outcome.LOCAL}


def test_no_code_says_that_the_node_could_not_be_reached() -> None:
    assert Outcome.CONNECT_FAILURE not in {row.outcome for row in CODES.values()}


@pytest.mark.parametrize("code", LOST_OR_STOLEN)
def test_a_card_to_be_picked_up_is_tried_nowhere_else(code: str) -> None:
    assert not CODES[code].other_ledger
    assert CODES[code].advice is Advice.NOT_WITH_THIS_CARD


def test_a_decided_sale_is_not_taken_to_another_ledger() -> None:
    for row in CODES.values():
        if row.other_ledger:
            assert row.meaning in {Meaning.TECHNICAL, Meaning.IN_DOUBT}


def test_two_codes_are_not_told_by_one_text_unless_they_say_the_same() -> None:
    by_text: dict[str, Code] = {}
    for row in CODES.values():
        assert by_text.setdefault(row.text, row) == row


@given(TWO_CHARACTERS)
def test_a_code_that_nobody_knows_leaves_the_money_in_doubt(code: str) -> None:
    if code not in CODES:
        assert describe(code) == ("Unknown code", Advice.NEW_PAYMENT_LATER)
    assert UNKNOWN.meaning is Meaning.IN_DOUBT
    assert UNKNOWN.outcome is Outcome.IN_DOUBT
    assert not UNKNOWN.other_ledger


def test_a_code_is_described_by_its_text_and_advice() -> None:
    assert describe("00") == ("Approved", 1)
    assert describe("51") == ("Insufficient funds", 2)
    assert describe("41") == ("Lost card", 3)
    assert describe("13") == ("Invalid amount", 4)


def test_what_the_switch_says_itself_declines() -> None:
    assert CODES[CANCELLED].meaning is Meaning.DECLINED
    assert CODES[INSUFFICIENT].meaning is Meaning.DECLINED
    assert (CANCELLED, INOPERATIVE, INSUFFICIENT) == ("17", "91", "51")


def test_advice_has_the_numbers_of_the_terminals_protocol() -> None:
    for advice in Advice:
        name = terminal_pb2.RetryAdvice.Name(terminal_pb2.RetryAdvice.ValueType(advice))
        assert name == f"RETRY_ADVICE_{advice.name}"
    assert len(terminal_pb2.RetryAdvice.values()) == len(Advice) + 1


OVERRIDES = st.dictionaries(
    st.sampled_from(sorted(CODES)) | TWO_CHARACTERS, st.sampled_from(sorted(OVERRIDABLE))
)


@given(OVERRIDES)
def test_a_profile_changes_the_codes_it_names_and_no_other(overrides: dict[str, str]) -> None:
    table = meanings_with(overrides)
    assert table.keys() == CODES.keys() | overrides.keys()
    for code, row in table.items():
        if code not in overrides:
            assert row is CODES[code]
            continue
        assert row.meaning is OVERRIDABLE[overrides[code]]
        assert row.other_ledger == (row.meaning is Meaning.TECHNICAL)
        assert row.text == CODES.get(code, UNKNOWN).text


def test_a_processor_may_promise_that_a_code_means_not_posted() -> None:
    promised = meanings_with({"91": "technical", "96": "declined"})
    assert promised["91"] == CODES["91"]._replace(meaning=Meaning.TECHNICAL)
    assert promised["96"].meaning is Meaning.DECLINED
    assert promised["96"].outcome is Outcome.SUCCESS
    assert not promised["96"].other_ledger
    assert CODES["91"].meaning is Meaning.IN_DOUBT


def test_a_private_code_takes_the_meaning_its_processor_gives_it() -> None:
    assert meanings_with({"Z9": "declined"})["Z9"].meaning is Meaning.DECLINED
    assert "Z9" not in CODES


@given(OVERRIDES)
def test_an_approval_keeps_its_meaning(overrides: dict[str, str]) -> None:
    approvals = {c for c in overrides if SPECIFIED.get(c, (None,))[0] in {1, 2}}
    assert len(problems_with(overrides)) == len(approvals)
    for code, problem in zip(
        (c for c in overrides if c in approvals), problems_with(overrides), strict=True
    ):
        assert problem == f'code "{code}" is an approval and keeps its meaning'


def test_no_code_can_be_made_an_approval() -> None:
    assert OVERRIDABLE == {
        "declined": Meaning.DECLINED,
        "technical": Meaning.TECHNICAL,
        "in_doubt": Meaning.IN_DOUBT,
    }
    assert problems_with({"05": "approved", "00": "lost"}) == [
        'code "05": "approved" is none of declined, technical, in_doubt',
        'code "00" is an approval and keeps its meaning',
        'code "00": "lost" is none of declined, technical, in_doubt',
    ]
