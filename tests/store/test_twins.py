"""The journal in memory and the one in SQLite, given the same calls, tell the same story.

The calls are made up by Hypothesis, and many do not fit: whether a call is written, what it comes
back with, and everything that can be read afterwards must be the same in both.
"""

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from switch.core.message import PaymentKey, Record, ReversalParked
from switch.core.operations import IntentOrder
from switch.core.transaction import AttemptState
from switch.store.memory import MemoryDisk, MemoryJournal
from switch.store.sqlite import SqliteJournal
from tests.store.records import (
    START_MS,
    SWITCH,
    acknowledged,
    approved,
    claim,
    declined,
    given_up,
    in_advance,
    key,
    late,
    next_attempt,
    not_sent,
    owed,
    part,
    reference_of,
    repeat,
    request_id,
    reversal,
    sent,
)

MEMORY = Path("/dev/shm")
"""A folder without a disk: what is compared here does not depend on one, and syncs take long."""
NUMBERS = range(2)
WISHES = range(100, 103)
ORDINALS = range(3)

numbers = st.sampled_from(NUMBERS)
wishes = st.sampled_from(WISHES)
# Most payments have one attempt, and few have three.
ordinals = st.sampled_from([0, 0, 0, 1, 1, 2])
keys = st.builds(key, numbers)
debts = st.one_of(
    st.builds(owed, keys, ordinals),
    st.builds(part, keys, st.sampled_from([100, 300]), wishes, ordinals),
)
states = st.sampled_from([AttemptState.OWED, AttemptState.NOT_SENT, None])
conclusions = st.one_of(
    st.builds(approved, keys, ordinals, st.sampled_from([600, 1000])),
    st.builds(declined, keys, ordinals),
    st.builds(given_up, keys, ordinals),
    st.builds(not_sent, keys, ordinals),
    st.builds(not_sent, keys, ordinals),
)
lates = st.builds(late, keys, ordinals)
records = st.one_of(
    st.builds(claim, numbers, ordinals),
    st.builds(claim, numbers, ordinals, amount_minor=st.sampled_from([1000, 2000])),
    conclusions,
    conclusions,
    st.builds(
        next_attempt,
        keys,
        st.sampled_from([1, 2]),
        st.sampled_from([AttemptState.FAILED, AttemptState.NOT_SENT, AttemptState.REVERSED]),
    ),
    st.builds(repeat, keys, ordinals),
    lates,
    lates.map(lambda r: replace(r, contradicts=True, owed=owed(r.key, r.ordinal))),
    st.builds(in_advance, wishes, keys),
    st.builds(reversal, wishes, debts),
    st.builds(
        lambda claimed, state: replace(claimed, owed=None, attempt_state=state),
        st.builds(reversal, wishes, debts),
        states,
    ),
    st.builds(sent, debts),
    st.builds(acknowledged, debts),
    st.builds(
        lambda debt, why: ReversalParked(debt.reversal_reference, why, START_MS + 800),
        debts,
        st.sampled_from(["malformed", ""]),
    ),
)
HAPPENS: list[Callable[[PaymentKey, int], Record]] = [
    approved,
    declined,
    given_up,
    not_sent,
    not_sent,
    repeat,
    late,
    lambda name, ordinal: late(name, ordinal, owed=owed(name, ordinal)),
    lambda name, ordinal: next_attempt(name, ordinal + 1),
    lambda name, ordinal: acknowledged(owed(name, ordinal)),
]
calls = st.lists(records, min_size=1, max_size=3)


class Twins(RuleBasedStateMachine):
    """Two journals that are told the same."""

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self.disk = MemoryDisk()
        self.runner.run(self.open())

    async def open(self) -> None:
        self.memory = await MemoryJournal.open(self.disk, SWITCH, at_ms=START_MS)
        path = Path(self.folder.name) / "journal.db"
        self.sqlite = await SqliteJournal.open(path, SWITCH, at_ms=START_MS)
        assert self.memory.epoch == self.sqlite.epoch

    async def close(self) -> None:
        await self.memory.close()
        await self.sqlite.close()

    @rule(record=records)
    def commit_one(self, record: Record) -> None:
        self.runner.run(self.commit_at_once([[record]]))

    @rule(batch=st.lists(calls, min_size=1, max_size=3))
    def commit(self, batch: list[list[Record]]) -> None:
        self.runner.run(self.commit_at_once(batch))

    async def commit_at_once(self, batch: list[list[Record]]) -> None:
        told = []
        for journal in (self.memory, self.sqlite):
            results = await asyncio.gather(
                *(journal.commit(call) for call in batch), return_exceptions=True
            )
            told.append([without_text(result) for result in results])
        assert told[0] == told[1]

    @rule(number=numbers, story=st.lists(st.sampled_from(HAPPENS), max_size=4))
    def live(self, number: int, story: list[Callable[[PaymentKey, int], Record]]) -> None:
        """Claim a payment, once more if it was before, and let things happen to it that may fit."""
        ordinal = len(self.attempts_of(number))
        self.runner.run(self.commit_at_once([[claim(number, ordinal)], [claim(number, ordinal)]]))
        for happens in story:
            last = max(self.attempts_of(number), default=0)
            self.runner.run(self.commit_at_once([[happens(key(number), last)]]))

    def attempts_of(self, number: int) -> list[int]:
        payment = self.disk.content.payments.get(key(number))
        return [] if payment is None else list(payment.attempts)

    @rule(wish=wishes, number=numbers)
    def reverse(self, wish: int, number: int) -> None:
        debt = owed(key(number))
        self.runner.run(
            self.commit_at_once([[in_advance(wish, key(number))], [reversal(wish, debt)]])
        )

    @rule(node=st.sampled_from(["a", "b"]), version=st.sampled_from([None, 0, 1]))
    def order(self, node: str, version: int | None) -> None:
        expected = () if version is None else ((node, version),)
        order = IntentOrder((node,), 2, "anna", True, "why", START_MS, expected=expected)
        self.agree(lambda journal: journal.set_intent(order))

    @rule()
    def restart(self) -> None:
        self.runner.run(self.close())
        self.runner.run(self.open())
        self.agree(lambda journal: journal.recover(START_MS + 5000))

    @invariant()
    def they_tell_the_same(self) -> None:
        if hasattr(self, "runner"):
            self.agree(everything)

    def agree(self, ask: Any) -> None:
        """Ask both the same."""
        assert self.runner.run(ask(self.memory)) == self.runner.run(ask(self.sqlite))

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self.close())
            self.runner.close()
            self.folder.cleanup()


async def everything(journal: MemoryJournal | SqliteJournal) -> list[Any]:
    """Read all there is."""
    read: list[Any] = [
        journal.find([key(number) for number in (*NUMBERS, 9)]),
        journal.owed(),
        journal.counts(),
        journal.intents(),
        journal.audit(1, 100),
        *(journal.payments(request_id(number)) for number in NUMBERS),
        *(journal.find_reversal(key(wish)) for wish in WISHES),
        *(
            journal.find_reference(reference_of(key(number), ordinal))
            for number in NUMBERS
            for ordinal in ORDINALS
        ),
    ]
    return [await each for each in read]


def without_text(result: object) -> object:
    """Reduce an exception to its kind: two stores may find two words for one fault."""
    return type(result) if isinstance(result, BaseException) else result


TestTwins = Twins.TestCase
TestTwins.settings = settings(max_examples=40, stateful_step_count=20)
