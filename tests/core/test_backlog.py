"""The backlog: what is owed is sent until it is acknowledged, and nothing is lost or crossed."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from switch.core.backlog import Backlog, BacklogSettings
from switch.core.message import OwedReversal
from tests.core.examples import Fixed, owed

SETTINGS = BacklogSettings(backoff_first_s=0.5, backoff_max_s=8.0, parallel_max=3, no_node_s=0.25)
BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)
"""By sends before, without jitter."""


@dataclass(eq=False)
class Debt:
    """One reversal, as the dumb twin keeps it: a line in a list."""

    owed: OwedReversal
    place: str = "behind"
    """Or: ready, under way, waiting; behind: another one of its reference comes first."""
    turn: int = 0
    until: float = 0.0


class Twin:
    """Does what the backlog does by looking through a list of everything, every time."""

    def __init__(self) -> None:
        self.debts: list[Debt] = []
        self.paused: dict[str, float] = {}
        self.turn = 0

    def make_ready(self, debt: Debt) -> None:
        self.turn += 1
        debt.place, debt.turn = "ready", self.turn

    def of(self, **wanted: object) -> list[Debt]:
        """Return the debts whose owed reversal has these values, oldest first."""
        return [
            debt
            for debt in self.debts
            if all(getattr(debt.owed, name) == value for name, value in wanted.items())
        ]

    def owe(self, new: OwedReversal) -> None:
        if self.of(reversal_reference=new.reversal_reference):
            return
        first = not self.of(reference=new.reference)
        self.debts.append(Debt(new))
        if first:
            self.make_ready(self.debts[-1])

    def free(self, ledger: str) -> int:
        return SETTINGS.parallel_max - sum(d.place == "under way" for d in self.of(ledger=ledger))

    def wake(self, now: float) -> None:
        waking = [d for d in self.debts if d.place == "waiting" and d.until <= now]
        for debt in sorted(waking, key=lambda d: (d.until, d.turn)):
            self.make_ready(debt)

    def due(self, now: float, ledger: str) -> list[Debt]:
        if self.paused.get(ledger, now) > now:
            return []
        ready = sorted((d for d in self.of(ledger=ledger) if d.place == "ready"), key=_turn)
        chosen = ready[: self.free(ledger)]
        for debt in chosen:
            debt.place = "under way"
        return chosen

    def next_due(self) -> float | None:
        """Return the first instant at which the passing of time alone makes something due."""
        instants = [
            d.until for d in self.debts if d.place == "waiting" and self.free(d.owed.ledger)
        ]
        instants += [
            until
            for ledger, until in self.paused.items()
            if self.free(ledger) and any(d.place == "ready" for d in self.of(ledger=ledger))
        ]
        return min(instants, default=None)


def _turn(debt: Debt) -> int:
    return debt.turn


LEDGERS = ["L", "M"]


class Story(RuleBasedStateMachine):
    """A forwarder's story, told to the backlog and to its twin."""

    @initialize(jitter=st.sampled_from([0.0, 0.5]))
    def begin(self, jitter: float) -> None:
        self.jitter = jitter
        self.backlog = Backlog(SETTINGS, Fixed(jitter))
        self.twin = Twin()
        self.now = 100.0
        self.number = 0
        self.under_way: list[Debt] = []
        self.owed_count = 0
        self.done_count = 0
        self.done: dict[bytes, list[int]] = {}

    @rule(ledger=st.sampled_from(LEDGERS), reference=st.integers(0, 3))
    def owe(self, ledger: str, reference: int) -> None:
        self.number += 1
        self.owed_count += 1
        new = owed(self.number, f"{ledger}-{reference}".encode(), ledger)
        self.backlog.owe(new)
        self.twin.owe(new)

    @precondition(lambda self: self.twin.debts)
    @rule(data=st.data())
    def owe_again(self, data: st.DataObject) -> None:
        """Told twice, it is owed once."""
        debt = data.draw(st.sampled_from(self.twin.debts))
        self.backlog.owe(debt.owed)

    @rule()
    def owe_parked(self) -> None:
        """Only a person sends a parked one."""
        self.number += 1
        parked = owed(self.number, b"L-0", "L")
        parked.parked = "malformed"
        self.backlog.owe(parked)

    @rule(quarters=st.integers(0, 12))
    def pass_time(self, quarters: int) -> None:
        self.now += quarters / 4

    @rule(without_node=st.sets(st.sampled_from(LEDGERS)), late=st.sampled_from([0.0, 0.25, 1.0]))
    def send(self, without_node: set[str], late: float) -> None:
        due = self.backlog.due(self.now)
        self.twin.wake(self.now)
        expected = {ledger: self.twin.due(self.now, ledger) for ledger in LEDGERS}
        for ledger in LEDGERS:
            assert [o for o in due if o.ledger == ledger] == [d.owed for d in expected[ledger]]
        assert len(due) == sum(map(len, expected.values()))
        refused = [o for o in due if o.ledger in without_node]
        for each in reversed(refused):
            self.backlog.no_node(each, self.now)
        for ledger, debts in expected.items():
            for debt in debts:
                if ledger in without_node:
                    debt.place = "ready"
                    self.twin.paused[ledger] = self.now + SETTINGS.no_node_s
                else:
                    debt.owed.sends += 1
                    self.under_way.append(debt)
        self.asks_in_time(self.now + late)

    def asks_in_time(self, asked_at: float) -> None:
        """The next look is not after the first instant at which something is due."""
        needed = self.twin.next_due()
        planned = self.backlog.next_at(asked_at)
        if needed is not None:
            assert planned is not None
            assert planned <= max(needed, asked_at)
        elif planned is not None:
            assert any(d.place == "waiting" for d in self.twin.debts)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        debt = self.heard(data)
        self.backlog.done(debt.owed)
        self.twin.debts.remove(debt)
        if rest := self.twin.of(reference=debt.owed.reference):
            self.twin.make_ready(rest[0])
        self.done_count += 1
        number = int.from_bytes(debt.owed.reversal_reference, "big")
        self.done.setdefault(debt.owed.reference, []).append(number)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        debt = self.heard(data)
        self.backlog.failed(debt.owed, self.now)
        sends = min(debt.owed.sends, len(BACKOFF_S))
        delay = BACKOFF_S[sends - 1] * (0.5 + self.jitter / 2)
        self.twin.turn += 1
        debt.place, debt.until, debt.turn = "waiting", self.now + delay, self.twin.turn

    def heard(self, data: st.DataObject) -> Debt:
        debt = data.draw(st.sampled_from(self.under_way))
        self.under_way.remove(debt)
        return debt

    @invariant()
    def nothing_is_lost(self) -> None:
        assert len(self.backlog) == len(self.twin.debts) == self.owed_count - self.done_count

    @invariant()
    def nothing_is_sent_twice_at_once(self) -> None:
        references = [debt.owed.reference for debt in self.under_way]
        assert len(references) == len(set(references))

    @invariant()
    def no_ledger_gets_more_at_once_than_the_bound(self) -> None:
        for ledger in LEDGERS:
            assert sum(d.owed.ledger == ledger for d in self.under_way) <= SETTINGS.parallel_max

    @invariant()
    def reversals_of_one_reference_go_in_order(self) -> None:
        for numbers in self.done.values():
            assert all(first < second for first, second in pairwise(numbers))

    def teardown(self) -> None:
        """Once everything answers, everything is sent: the backlog drains."""
        if not hasattr(self, "backlog"):
            return
        for debt in self.under_way:
            self.backlog.failed(debt.owed, self.now)
        while len(self.backlog):
            due = self.backlog.due(self.now)
            for each in due:
                self.backlog.done(each)
            if not due:
                planned = self.backlog.next_at(self.now)
                assert planned is not None
                assert planned > self.now
                self.now = planned


def test_the_backlog_agrees_with_its_dumb_twin() -> None:
    run_state_machine_as_test(Story, settings=settings(max_examples=200, stateful_step_count=60))


def backlog(*owing: OwedReversal, jitter: float = 0.0, **changes: Any) -> Backlog:
    """Return a backlog that owes some reversals."""
    made = Backlog(BacklogSettings(**changes), Fixed(jitter))
    for each in owing:
        made.owe(each)
    return made


def references(count: int, ledger: str = "L") -> list[OwedReversal]:
    """Return reversals of different references."""
    return [owed(number, number.to_bytes(16, "big"), ledger) for number in range(1, count + 1)]


def test_reversals_of_one_reference_go_one_after_the_other() -> None:
    first, second = owed(1), owed(2)
    owing = backlog(first, second)
    assert owing.due(0.0) == [first]
    assert owing.due(100.0) == []
    owing.done(first)
    assert owing.due(100.0) == [second]


def test_a_reversal_that_fails_holds_back_its_own_reference_only() -> None:
    first, second = owed(1), owed(2)
    (other,) = references(1)
    owing = backlog(first, second, other)
    assert owing.due(0.0) == [first, other]
    owing.failed(first, 0.0)
    assert owing.due(0.0) == []
    assert owing.due(60.0) == [first]


def test_as_many_go_side_by_side_as_the_bound_says_for_each_ledger() -> None:
    here, there = references(5), references(5, "M")
    for number, each in enumerate(there, start=100):
        each.reference = each.reversal_reference = number.to_bytes(16, "big")
    owing = backlog(*here, *there, parallel_max=2)
    assert owing.due(0.0) == [*here[:2], *there[:2]]
    owing.done(here[0])
    assert owing.due(0.0) == [here[2]]


def test_the_oldest_go_first() -> None:
    owing = references(5)
    assert backlog(*owing).due(0.0) == owing


def test_where_no_node_is_found_the_order_stays_and_the_ledger_is_left_alone_a_while() -> None:
    owing = references(4)
    made = backlog(*owing, no_node_s=0.25)
    due = made.due(10.0)
    for each in reversed(due):
        made.no_node(each, 10.0)
    assert made.due(10.0) == []
    assert made.next_at(10.0) == 10.25
    assert made.due(10.2499) == []
    assert made.due(10.25) == owing
    assert [each.sends for each in owing] == [0, 0, 0, 0]


def test_a_ledger_without_a_node_does_not_hold_back_the_others() -> None:
    (dead,) = references(1)
    alive = owed(7, b"another", "M")
    made = backlog(dead, alive)
    assert made.due(0.0) == [dead, alive]
    made.no_node(dead, 0.0)
    made.failed(alive, 0.0)
    assert made.due(0.05) == []
    assert made.next_at(0.05) == 0.1
    assert made.due(0.25) == [dead, alive]


def test_a_pause_that_ran_out_while_the_journal_wrote_is_not_forgotten() -> None:
    (one,) = references(1)
    made = backlog(one)
    made.no_node(made.due(0.0)[0], 0.0)
    assert made.next_at(5.0) == 5.0
    assert made.due(5.0) == [one]


def test_a_ledger_at_its_bound_asks_for_no_alarm() -> None:
    """Who is under way will be heard of; an alarm would only ring in vain, again and again."""
    first, second = references(2)
    made = backlog(first, second, parallel_max=1)
    made.no_node(made.due(0.0)[0], 0.0)
    assert made.due(1.0) == [first]
    assert made.next_at(1.0) is None


@pytest.mark.parametrize(
    ("sends", "delay_s"), [(1, 0.5), (2, 1.0), (3, 2.0), (7, 32.0), (8, 60.0), (1_000_000, 60.0)]
)
def test_after_each_failure_a_reversal_waits_twice_as_long_up_to_a_minute(
    sends: int, delay_s: float
) -> None:
    for jitter, share in ((0.0, 0.5), (0.5, 0.75), (0.999, 0.9995)):
        one = owed(1)
        made = backlog(one, jitter=jitter)
        made.due(0.0)
        one.sends = sends
        made.failed(one, 0.0)
        assert made.next_at(0.0) == pytest.approx(delay_s * share)


def test_what_was_sent_before_a_crash_waits_like_what_was_sent_after_it() -> None:
    one = owed(1)
    one.sends = 3
    made = backlog(one)
    assert made.due(0.0) == [one]
    one.sends += 1
    made.failed(one, 0.0)
    assert made.next_at(0.0) == 2.0


def test_a_parked_reversal_is_not_sent_and_does_not_hold_back_its_reference() -> None:
    parked, next_one = owed(1), owed(2)
    parked.parked = "malformed"
    made = backlog(parked, next_one)
    assert len(made) == 1
    assert made.due(0.0) == [next_one]


def test_a_reversal_is_held_while_it_is_owed_and_its_turn() -> None:
    first, second = owed(1), owed(2)
    made = backlog(first, second)
    assert (made.holds(first), made.holds(second), made.holds(owed(1))) == (True, False, False)
    made.due(0.0)
    made.done(first)
    assert (made.holds(first), made.holds(second)) == (False, True)
    made.due(0.0)
    made.done(second)
    assert (made.holds(first), made.holds(second)) == (False, False)


def test_only_the_head_of_a_reference_can_be_done() -> None:
    first, second = owed(1), owed(2)
    made = backlog(first, second)
    made.due(0.0)
    with pytest.raises(AssertionError, match="in order"):
        made.done(second)


def test_with_nothing_owed_there_is_nothing_to_do_and_no_alarm() -> None:
    made = backlog()
    assert (made.due(0.0), made.next_at(0.0), len(made)) == ([], None, 0)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"backoff_first_s": 0.0}, "backoff_first_s"),
        ({"backoff_first_s": -1.0}, "backoff_first_s"),
        ({"backoff_first_s": 61.0}, "backoff_max_s"),
        ({"parallel_max": 0}, "parallel_max"),
        ({"no_node_s": 0.0}, "no_node_s"),
    ],
)
def test_a_rule_that_the_settings_break_is_named(changes: dict[str, Any], named: str) -> None:
    (problem,) = BacklogSettings(**changes).problems()
    assert named in problem


def test_the_settings_we_ship_and_the_least_ones_break_no_rule() -> None:
    assert BacklogSettings().problems() == []
    assert BacklogSettings(1.0, 1.0, 1, 1, 0.001).problems() == []


def test_every_broken_rule_is_named_at_once() -> None:
    assert len(BacklogSettings(0.0, 0.0, 0, 0, 0.0).problems()) == 3
