"""Evidence: what each thing that can happen to a sending proves about the money."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.core.evidence import LATE_EVENTS, Evidence, Kind, read, read_code
from switch.core.message import (
    Authorization,
    Disposition,
    Event,
    Inquiry,
    Message,
    NodeAnswer,
    Reversal,
    ReversalReason,
    Unanswered,
)
from switch.core.outcome import Outcome
from switch.core.response_code import CODES, UNKNOWN, Code, Meaning, meanings_with
from switch.core.transaction import OPEN, TABLE, AttemptEvent, AttemptState
from tests.core.examples import REFERENCE, TWELVE_FIFTY, request, said

ASKED = request()
AUTHORIZATION = Authorization(REFERENCE, ASKED, ASKED.envelopes["P"], False, "000001", "0" * 12)
REVERSAL = Reversal(
    REFERENCE, b"reversal-of-one.", False, True, TWELVE_FIFTY, ReversalReason.TIMED_OUT
)
INQUIRY = Inquiry(REFERENCE)

SILENCE = """
what       money    node
NOT_SENT   NOTHING  LOCAL
LINK_LOST  DOUBT    IN_DOUBT
EXPIRED    DOUBT    IN_DOUBT
STALLED    DOUBT    IN_DOUBT
"""

DISPOSITIONS = """
disposition      authorization     reversal
UNREADABLE       DOUBT    IN_DOUBT DOUBT    IN_DOUBT
NOT_PROCESSED    NOTHING  SOFT     NOTHING  SOFT
IN_PROGRESS      WAIT     LOCAL    WAIT     LOCAL
ALREADY_REVERSED DECLINED SUCCESS  APPROVED SUCCESS
KEY_UNKNOWN      NOTHING  LOCAL    NOTHING  LOCAL
MALFORMED        NOTHING  SOFT     NOTHING  SOFT
"""
"""What is proven of the money and what the node's breaker is told; PROCESSED goes by the code, and
acknowledges a reversal. APPROVED means acknowledged for a reversal."""


def lines(table: str) -> list[list[str]]:
    """Read a table's rows, without its head."""
    return [line.split() for line in table.strip().splitlines()[1:]]


CODES_SAID = st.sampled_from(sorted(CODES)) | st.text(max_size=3)
REFERENCES = st.just(REFERENCE) | st.binary(max_size=20)
ANSWERS = st.builds(
    NodeAnswer,
    sending_number=st.integers(0),
    reference=REFERENCES,
    disposition=st.sampled_from(Disposition),
    response_code=CODES_SAID,
    approved_amount_minor=st.integers() | st.sampled_from([0, 1, 1249, 1250, 1251]),
    authorization_code=st.text(max_size=7),
    processing_s=st.floats(),
)
EVENTS: st.SearchStrategy[Event] = ANSWERS | st.sampled_from(Unanswered)
MESSAGES: st.SearchStrategy[Message] = st.sampled_from([AUTHORIZATION, REVERSAL, INQUIRY])
TABLES: st.SearchStrategy[dict[str, Code]] = st.dictionaries(
    CODES_SAID, st.sampled_from(["declined", "technical", "in_doubt"]), max_size=4
).map(meanings_with)


@given(EVENTS, MESSAGES, TABLES)
def test_whatever_comes_back_is_read(event: Event, asked: Message, codes: dict[str, Code]) -> None:
    evidence = read(event, asked, codes)
    assert isinstance(evidence, Evidence)
    assert evidence.why
    assert " " not in evidence.why


@pytest.mark.parametrize("row", lines(SILENCE), ids=lambda row: row[0])
@pytest.mark.parametrize("asked", [AUTHORIZATION, REVERSAL], ids=["authorization", "reversal"])
def test_silence_is_never_read_as_no(row: list[str], asked: Message) -> None:
    what, money, node = row
    evidence = read(Unanswered[what], asked, CODES)
    assert evidence == Evidence(Kind[money], Outcome[node], what.lower())


def test_there_are_six_kinds_in_falling_certainty() -> None:
    assert [kind.name for kind in Kind] == [
        "APPROVED",
        "DECLINED",
        "FAILED",
        "NOTHING",
        "WAIT",
        "DOUBT",
    ]


def test_every_kind_of_silence_is_specified() -> None:
    assert [row[0] for row in lines(SILENCE)] == [what.name for what in Unanswered]


@pytest.mark.parametrize("row", lines(DISPOSITIONS), ids=lambda row: row[0])
def test_a_disposition_is_read_by_the_specification(row: list[str]) -> None:
    name, money, node, money_of_reversal, node_of_reversal = row
    answer = said("", disposition=Disposition[name])
    evidence = read(answer, AUTHORIZATION, CODES)
    assert (evidence.kind, evidence.outcome) == (Kind[money], Outcome[node])
    assert evidence.why == name.lower()
    assert not evidence.other_ledger
    evidence = read(answer, REVERSAL, CODES)
    assert (evidence.kind, evidence.outcome) == (Kind[money_of_reversal], Outcome[node_of_reversal])
    assert evidence.why == ("acknowledged" if evidence.kind is Kind.APPROVED else name.lower())


def test_every_disposition_is_specified() -> None:
    named = {row[0] for row in lines(DISPOSITIONS)} | {"PROCESSED"}
    assert named == {disposition.name for disposition in Disposition}


def test_only_an_unknown_key_asks_the_terminal_to_seal_anew() -> None:
    for disposition in Disposition:
        evidence = read(said("", disposition=disposition), AUTHORIZATION, CODES)
        assert evidence.reseal == (disposition is Disposition.KEY_UNKNOWN)


@given(CODES_SAID, st.integers())
def test_a_processed_reversal_is_acknowledged_whatever_its_code(code: str, minor: int) -> None:
    evidence = read(said(code, approved_amount_minor=minor), REVERSAL, CODES)
    assert evidence == Evidence(Kind.APPROVED, Outcome.SUCCESS, "acknowledged")


@given(ANSWERS, st.sampled_from([AUTHORIZATION, REVERSAL, INQUIRY]))
def test_an_answer_under_a_foreign_reference_proves_nothing(
    answer: NodeAnswer, asked: Message
) -> None:
    evidence = read(answer, asked, CODES)
    if answer.reference != REFERENCE:
        assert evidence.kind is Kind.DOUBT
        assert evidence.reason is ReversalReason.UNREADABLE


MEANS = {
    Meaning.DECLINED: Kind.DECLINED,
    Meaning.TECHNICAL: Kind.FAILED,
    Meaning.WAIT: Kind.WAIT,
    Meaning.IN_DOUBT: Kind.DOUBT,
}


@pytest.mark.parametrize("code", [*sorted(CODES), "??", ""])
def test_every_code_is_read_by_its_meaning(code: str) -> None:
    row = CODES.get(code, UNKNOWN)
    if row.meaning in MEANS:
        assert read(said(code), AUTHORIZATION, CODES).kind is MEANS[row.meaning]
    else:
        answer = said(code, approved_amount_minor=1250)
        assert read(answer, AUTHORIZATION, CODES).kind is Kind.APPROVED


@given(CODES_SAID, TABLES)
def test_a_code_is_read_by_the_processors_own_table(code: str, codes: dict[str, Code]) -> None:
    evidence = read(said(code), AUTHORIZATION, codes)
    row = codes.get(code, UNKNOWN)
    if row.meaning in MEANS:
        assert evidence == Evidence(
            MEANS[row.meaning],
            row.outcome,
            f"code_{code}" if code in codes else "unknown_code",
            other_ledger=row.other_ledger,
        )


@pytest.mark.parametrize("code", ["00", "08", "10", "11", "16", "85"])
@pytest.mark.parametrize(
    ("approved_minor", "kind", "partial"),
    [
        (1250, Kind.APPROVED, False),
        (1249, Kind.APPROVED, True),
        (1, Kind.APPROVED, True),
        (0, Kind.DOUBT, False),
        (1251, Kind.DOUBT, False),
        (-1, Kind.DOUBT, False),
        (-1250, Kind.DOUBT, False),
    ],
)
def test_an_approval_is_believed_for_what_was_asked_or_a_part_of_it(
    code: str, approved_minor: int, kind: Kind, *, partial: bool
) -> None:
    evidence = read(said(code, approved_amount_minor=approved_minor), AUTHORIZATION, CODES)
    assert (evidence.kind, evidence.partial) == (kind, partial)
    if kind is Kind.DOUBT:
        assert evidence.outcome is Outcome.IN_DOUBT
        assert (evidence.reason, evidence.why) == (ReversalReason.UNREADABLE, "unreadable")
    else:
        assert (evidence.outcome, evidence.why) == (Outcome.SUCCESS, "approved")


@given(CODES_SAID, st.integers(), st.integers(1, 2**53))
def test_an_approval_of_too_much_or_of_nothing_is_in_doubt(
    code: str, approved_minor: int, asked_minor: int
) -> None:
    evidence = read_code(said(code, approved_amount_minor=approved_minor), asked_minor, CODES)
    if evidence.kind is Kind.APPROVED:
        assert 0 < approved_minor <= asked_minor
        assert evidence.partial == (approved_minor < asked_minor)


@given(EVENTS, TABLES)
def test_only_an_answer_to_an_authorization_is_final(event: Event, codes: dict[str, Code]) -> None:
    evidence = read(event, AUTHORIZATION, codes)
    if evidence.kind in {Kind.APPROVED, Kind.DECLINED, Kind.FAILED}:
        assert isinstance(event, NodeAnswer)
        assert event.reference == REFERENCE


@given(EVENTS)
def test_a_reversal_is_acknowledged_or_not_but_never_declined(event: Event) -> None:
    assert read(event, REVERSAL, CODES).kind not in {Kind.DECLINED, Kind.FAILED}


@given(EVENTS, MESSAGES)
def test_no_event_of_a_sending_says_that_the_node_was_out_of_reach(
    event: Event, asked: Message
) -> None:
    assert read(event, asked, CODES).outcome is not Outcome.CONNECT_FAILURE


def test_doubt_says_why_the_money_is_taken_back() -> None:
    assert read(Unanswered.EXPIRED, AUTHORIZATION, CODES).reason is ReversalReason.TIMED_OUT
    assert read(said("99"), AUTHORIZATION, CODES).reason is ReversalReason.TIMED_OUT
    unreadable = said("", disposition=Disposition.UNREADABLE)
    assert read(unreadable, AUTHORIZATION, CODES).reason is ReversalReason.UNREADABLE


def test_a_late_answer_happens_to_its_attempt_unless_it_proves_nothing() -> None:
    assert LATE_EVENTS == {
        Kind.APPROVED: AttemptEvent.APPROVE,
        Kind.DECLINED: AttemptEvent.DECLINE,
        Kind.FAILED: AttemptEvent.FAIL,
        Kind.NOTHING: AttemptEvent.RECALL,
    }
    for event in LATE_EVENTS.values():
        for state in set(AttemptState) - OPEN:
            assert (state, event) in TABLE
