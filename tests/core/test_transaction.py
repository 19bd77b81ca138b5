"""The life of an attempt: what each event does in each state, and what never happens."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switch.core.transaction import (
    FINAL,
    OPEN,
    TABLE,
    AttemptEvent,
    AttemptState,
    Step,
    advance,
    diagram,
)

STATES = list(AttemptState)
EVENTS = list(AttemptEvent)
ANSWERS = [AttemptEvent.RECALL, AttemptEvent.APPROVE, AttemptEvent.DECLINE, AttemptEvent.FAIL]
"""What a node's answer can be."""

SPECIFICATION = """
state      HAND_OVER RECALL    APPROVE  DECLINE  FAIL      REPEAT    GIVE_UP CLOSE    VOID     ACKNOWLEDGE
INTENDED   SENT      .         .        .        .         .         OWED    NOT_SENT NOT_SENT .
SENT       .         INTENDED  APPROVED DECLINED FAILED    REPEATING OWED    .        OWED     .
REPEATING  REPEATING REPEATING APPROVED DECLINED REPEATING REPEATING OWED    .        OWED     .
APPROVED   .         late      late     !        late      .         .       .        OWED     .
DECLINED   .         late      OWED!    late     late      .         .       .        .        .
FAILED     .         late      OWED!    late     late      .         .       .        .        .
NOT_SENT   .         late      OWED!    late     late      .         .       .        .        .
OWED       .         late      late     late     late      .         .       .        OWED     REVERSED
REVERSED   .         late      late     late     late      .         .       .        REVERSED REVERSED
"""  # noqa: E501 - a table is read as a table
"""Where each event leads. A dot: it cannot happen; late: the answer changes nothing, and is noted;
!: a late answer that contradicts what the ledger said before, and where that leads, if anywhere."""


def specified() -> dict[tuple[str, str], Step]:
    """Read the table above."""
    head, *rows = (line.split() for line in SPECIFICATION.strip().splitlines())
    steps = {}
    for state, *cells in rows:
        for event, cell in zip(head[1:], cells, strict=True):
            if cell == ".":
                continue
            target = AttemptState[cell.strip("!").replace("late", "") or state]
            late, contradicts = cell == "late" or "!" in cell, "!" in cell
            steps[state, event] = Step(target, late, contradicts)
    return steps


SPECIFIED = specified()
PAIRS = st.tuples(st.sampled_from(STATES), st.sampled_from(EVENTS))
WALKS = st.lists(st.sampled_from(EVENTS), max_size=12)


def walked(events: list[AttemptEvent], state: AttemptState = AttemptState.INTENDED) -> list[Step]:
    """Walk from a state, passing over what cannot happen."""
    steps = []
    for event in events:
        if (state, event) in TABLE:
            steps.append(advance(state, event))
            state = steps[-1].state
    return steps


def reachable(state: AttemptState) -> set[AttemptState]:
    """Return all states that some events lead to from one."""
    found, new = {state}, {state}
    while new:
        new = {step.state for (origin, _), step in TABLE.items() if origin in new} - found
        found |= new
    return found


@settings(max_examples=1000)  # there are 90: the search ends when it has drawn them all
@given(PAIRS)
def test_an_event_does_what_the_specification_says_or_cannot_happen(
    pair: tuple[AttemptState, AttemptEvent],
) -> None:
    state, event = pair
    step = SPECIFIED.get((state.name, event.name))
    if step is None:
        with pytest.raises(AssertionError, match=f"{event.name} cannot happen in {state.name}"):
            advance(state, event)
    else:
        assert advance(state, event) == step


def test_the_table_has_every_pair_of_the_specification_and_no_other() -> None:
    assert {(state.name, event.name): step for (state, event), step in TABLE.items()} == SPECIFIED


def test_the_specification_speaks_of_every_state_and_every_event() -> None:
    head, *rows = (line.split() for line in SPECIFICATION.strip().splitlines())
    assert head[1:] == [event.name for event in EVENTS]
    assert [row[0] for row in rows] == [state.name for state in STATES]


def test_an_attempt_may_end_as_not_sent_only_while_nothing_has_left() -> None:
    into = {state for (state, _), step in TABLE.items() if step.state is AttemptState.NOT_SENT}
    assert into == {AttemptState.INTENDED, AttemptState.NOT_SENT}


@given(WALKS)
def test_what_was_in_doubt_is_settled_only_by_a_final_answer_or_a_reversal(
    events: list[AttemptEvent],
) -> None:
    for step in walked(events, AttemptState.REPEATING):
        assert step.state not in {
            AttemptState.INTENDED,
            AttemptState.SENT,
            AttemptState.FAILED,
            AttemptState.NOT_SENT,
        }


def test_no_technical_or_missing_effect_of_a_repeat_settles_anything() -> None:
    for event in (AttemptEvent.RECALL, AttemptEvent.FAIL):
        assert advance(AttemptState.REPEATING, event) == Step(AttemptState.REPEATING)


def test_the_reversal_wins_over_every_answer() -> None:
    for event in ANSWERS:
        assert advance(AttemptState.OWED, event) == Step(AttemptState.OWED, late=True)
    leaves = {e for (s, e), step in TABLE.items() if s is AttemptState.OWED is not step.state}
    assert leaves == {AttemptEvent.ACKNOWLEDGE}


def test_what_is_reversed_stays_reversed() -> None:
    assert reachable(AttemptState.REVERSED) == {AttemptState.REVERSED}


@given(WALKS)
def test_a_repeat_and_a_reversal_are_never_open_together(events: list[AttemptEvent]) -> None:
    """Being owed closes the repeat in the same step, and no repeat is ever opened after it."""
    states = [AttemptState.INTENDED, *(step.state for step in walked(events))]
    if AttemptState.OWED in states:
        after = states[states.index(AttemptState.OWED) :]
        assert set(after) <= {AttemptState.OWED, AttemptState.REVERSED}


def test_a_final_state_keeps_its_outcome_whatever_is_answered_later() -> None:
    for state, event in product(FINAL, ANSWERS):
        step = advance(state, event)
        assert step.late
        if step.state is not state:
            assert (step.state, step.contradicts) == (AttemptState.OWED, True)


def test_an_approval_that_comes_late_is_owed_back_unless_it_was_answered_or_is_reversed() -> None:
    for state in set(STATES) - OPEN:
        step = advance(state, AttemptEvent.APPROVE)
        kept = state in {AttemptState.APPROVED, AttemptState.OWED, AttemptState.REVERSED}
        assert step.state is (state if kept else AttemptState.OWED)
        assert step.contradicts is not kept


def test_only_its_terminal_takes_back_an_approval_that_was_answered() -> None:
    leaves = {e for (s, e), step in TABLE.items() if s is AttemptState.APPROVED is not step.state}
    assert leaves == {AttemptEvent.VOID}


def test_an_answer_is_late_exactly_when_nobody_waits_for_it() -> None:
    for (state, event), step in TABLE.items():
        assert step.late == (event in ANSWERS and state not in OPEN)
        assert step.late or not step.contradicts


def test_every_state_takes_every_answer_once_something_has_left() -> None:
    for state, event in product(set(STATES) - {AttemptState.INTENDED}, ANSWERS):
        assert (state, event) in TABLE


def test_every_life_can_begin_and_every_life_can_end() -> None:
    assert reachable(AttemptState.INTENDED) == set(STATES)
    for state in STATES:
        assert reachable(state) & FINAL


def test_a_crash_leaves_an_open_state_and_recovery_makes_each_owed() -> None:
    assert {AttemptState.INTENDED, AttemptState.SENT, AttemptState.REPEATING} == OPEN
    for state in OPEN:
        assert advance(state, AttemptEvent.GIVE_UP) == Step(AttemptState.OWED)


def test_a_state_is_open_or_final_or_owed() -> None:
    assert not OPEN & FINAL
    assert OPEN | FINAL | {AttemptState.OWED} == set(STATES)


def test_the_numbers_of_the_states_are_stored_and_never_change() -> None:
    assert {state.name: state.value for state in STATES} == {
        "INTENDED": 1,
        "SENT": 2,
        "REPEATING": 3,
        "APPROVED": 4,
        "DECLINED": 5,
        "FAILED": 6,
        "NOT_SENT": 7,
        "OWED": 8,
        "REVERSED": 9,
    }


def test_the_diagram_draws_every_change_of_state_once() -> None:
    first, begin, *lines = diagram().splitlines()
    assert (first, begin) == ("stateDiagram-v2", "    [*] --> INTENDED")
    drawn = set()
    for line in lines:
        origin, _, rest = line.strip().partition(" --> ")
        if rest == "[*]":
            assert AttemptState[origin] in FINAL
            continue
        target, _, events = rest.partition(": ")
        for event in events.split(", "):
            assert (origin, event, target) not in drawn
            drawn.add((origin, event, target))
    assert drawn == {(s, e, t.state.name) for (s, e), t in SPECIFIED.items() if s != t.state.name}
    assert sum(line.endswith("[*]") for line in lines) == len(FINAL)
