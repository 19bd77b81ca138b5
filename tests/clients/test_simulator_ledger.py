"""The simulator's ledger: its promises, its books, and a dumb twin beside it."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.simulator.ledger import Asker, Ledger, LedgerInvalid, Now
from clients.simulator.message import Answer, Authorize, Inquire, Item, Origin, Reverse
from payswitch.processor.v1 import processor_pb2 as pb

NODE = Asker("acme-1", 1)
PROCESSED = pb.DISPOSITION_PROCESSED
NOT_PROCESSED = pb.DISPOSITION_NOT_PROCESSED
IN_PROGRESS = pb.DISPOSITION_IN_PROGRESS
ALREADY_REVERSED = pb.DISPOSITION_ALREADY_REVERSED
MALFORMED = pb.DISPOSITION_MALFORMED


class Desk:
    """A ledger, a clock to wind by hand, and items made in one line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = Now(1000.0, 1_700_000_000_000)
        self.ledger = Ledger(path, "acme", self.now)
        self.numbers = itertools.count(1)

    def reopen(self) -> None:
        """Open the file anew without having closed it, as after a kill."""
        self.ledger = Ledger(self.path, "acme", self.now)

    def pass_time(self, seconds: float) -> list[tuple[Asker | None, Answer]]:
        self.now = Now(self.now.monotonic_s + seconds, self.now.utc_ms + round(seconds * 1000))
        with self.ledger.turn():
            return list(self.ledger.fall_due(self.now))

    def take(self, *items: Item) -> list[Answer | None]:
        with self.ledger.turn():
            return [self.ledger.take(item, NODE, self.now) for item in items]

    def ask(self, item: Item) -> Answer:
        (answer,) = self.take(item)
        assert answer is not None
        return answer

    def origin(self) -> Origin:
        return Origin("switch-1", 7, 3, 12, next(self.numbers))

    def authorize(self, reference: bytes, amount_minor: int = 1000, **fields: Any) -> Authorize:
        asked: dict[str, Any] = {
            "repeat": False,
            "start_by_ns": 0,
            "terminal_id": "terminal-1",
            "request_id": f"{reference.hex():0>36}",
            "kind": 1,
            "currency": "EUR",
            "issuer_code": "00",
            "issuer_minor": amount_minor,
        }
        number = next(self.numbers)
        return Authorize(
            number, reference, self.origin(), amount_minor=amount_minor, **{**asked, **fields}
        )

    def reverse(
        self, reference: bytes, name: bytes, part_minor: int | None = None, currency: str = "EUR"
    ) -> Reverse:
        return Reverse(
            next(self.numbers),
            reference,
            self.origin(),
            False,
            0,
            name,
            part_minor is None,
            1000 if part_minor is None else part_minor,
            currency,
            4021,
        )

    def inquire(self, reference: bytes) -> Inquire:
        return Inquire(next(self.numbers), reference, self.origin(), 0)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Read the file as an auditor does."""
        reader = apsw.Connection(
            f"file:{self.path}?mode=ro", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        )
        try:
            return list(reader.execute(query))
        finally:
            reader.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "books")
    yield desk
    desk.ledger.close()


def name(text: str) -> bytes:
    return text.encode().rjust(16, b".")


A, B = name("a"), name("b")
R, S = name("r"), name("s")


def test_an_approval_is_an_entry_that_says_who_asked_for_what_and_who_brought_it(
    desk: Desk,
) -> None:
    answer = desk.ask(desk.authorize(A, 1250))
    assert (answer.disposition, answer.response_code) == (PROCESSED, "00")
    (row,) = desk.rows(
        "SELECT reference, state, terminal_id, request_id, amount_minor, currency, response_code,"
        " approved_minor, authorization_code, reversed_minor, node, epoch, session, frame_number,"
        ' claimed_at = decided_at FROM "authorization"'
    )
    assert row == (
        A,
        "live",
        "terminal-1",
        f"{A.hex():0>36}",
        1250,
        "EUR",
        "00",
        1250,
        answer.authorization_code,
        0,
        "acme-1",
        7,
        3,
        12,
        1,
    )


def test_a_claim_is_in_the_file_before_it_is_decided(desk: Desk) -> None:
    assert desk.take(desk.authorize(A, issuer_delay_s=2.0)) == [None]
    assert desk.rows('SELECT state, approved_minor, response_code FROM "authorization"') == [
        ("undecided", 0, None)
    ]


def test_a_decision_falls_due_for_the_connection_that_brought_the_claim(desk: Desk) -> None:
    claim = desk.authorize(A, issuer_delay_s=2.0)
    desk.take(claim)
    assert desk.ledger.next_due_s() == pytest.approx(1002.0)
    assert desk.pass_time(1.9) == []
    ((asker, answer),) = desk.pass_time(0.1)
    assert asker == NODE
    assert (answer.number, answer.disposition) == (claim.number, PROCESSED)
    assert desk.ledger.next_due_s() is None


def test_decisions_fall_due_in_the_order_of_their_time(desk: Desk) -> None:
    slow, quick = desk.authorize(A, issuer_delay_s=2.0), desk.authorize(B, issuer_delay_s=1.0)
    desk.take(slow, quick)
    assert [answer.number for _, answer in desk.pass_time(5)] == [quick.number, slow.number]


def test_a_ledger_that_was_killed_decides_what_it_had_claimed_at_the_time_it_had_fixed(
    desk: Desk,
) -> None:
    desk.take(desk.authorize(A, issuer_delay_s=2.0, issuer_code="51", issuer_minor=0))
    desk.reopen()
    assert desk.pass_time(1.9) == []
    ((asker, answer),) = desk.pass_time(0.2)
    assert asker is None
    assert answer.response_code == "51"
    assert desk.ask(desk.authorize(A)).response_code == "51"


def test_a_ledger_that_was_killed_for_long_decides_at_once(desk: Desk) -> None:
    desk.take(desk.authorize(A, issuer_delay_s=2.0))
    desk.now = Now(5.0, desk.now.utc_ms + 3_600_000)
    desk.reopen()
    assert len(desk.pass_time(0)) == 1


def test_what_is_not_committed_is_not_there(desk: Desk) -> None:
    class Stopped(Exception):
        pass

    def stop_in_the_middle() -> None:
        with desk.ledger.turn():
            desk.ledger.take(desk.authorize(A), NODE, desk.now)
            raise Stopped

    with pytest.raises(Stopped):
        stop_in_the_middle()
    desk.reopen()
    assert desk.ask(desk.inquire(A)).disposition == NOT_PROCESSED


def test_one_reference_for_two_payments_is_malformed(desk: Desk) -> None:
    desk.ask(desk.authorize(A))
    for other in (
        {"amount_minor": 1001},
        {"request_id": "x" * 36},
        {"terminal_id": "terminal-2"},
        {"currency": "USD"},
        {"kind": 2},
    ):
        assert desk.ask(desk.authorize(A, **other)).disposition == MALFORMED


def test_an_item_whose_time_has_run_out_is_not_even_a_delivery(desk: Desk) -> None:
    late = desk.authorize(A, start_by_ns=int(desk.now.monotonic_s * 1e9))
    assert desk.ask(late).disposition == NOT_PROCESSED
    assert desk.rows("SELECT * FROM delivery") == []


def test_every_delivery_is_written_down_with_what_was_said(desk: Desk) -> None:
    desk.take(desk.authorize(A, issuer_delay_s=1.0), desk.authorize(A, repeat=True))
    desk.pass_time(1)
    desk.take(desk.authorize(A, repeat=True), desk.reverse(A, R), desk.inquire(B))
    assert desk.rows("SELECT kind, reference, repeat, disposition FROM delivery") == [
        ("authorization", A, 0, "CLAIMED"),
        ("authorization", A, 1, "IN_PROGRESS"),
        ("authorization", A, 1, "PROCESSED"),
        ("reversal", A, 0, "PROCESSED"),
        ("inquiry", B, 0, "NOT_PROCESSED"),
    ]


def test_a_reversal_before_the_decision_leaves_a_void_entry_that_never_took_money(
    desk: Desk,
) -> None:
    desk.take(desk.authorize(A, issuer_delay_s=1.0), desk.reverse(A, R))
    ((_, answer),) = desk.pass_time(1)
    assert answer.disposition == NOT_PROCESSED
    assert desk.rows('SELECT state, approved_minor, decided_at FROM "authorization"') == [
        ("void", 0, None)
    ]


def test_a_reversal_in_advance_is_remembered_without_an_entry(desk: Desk) -> None:
    assert desk.ask(desk.reverse(A, R)).disposition == PROCESSED
    desk.reopen()
    assert desk.ask(desk.authorize(A)).disposition == NOT_PROCESSED
    assert desk.ask(desk.inquire(A)).disposition == ALREADY_REVERSED
    assert desk.rows('SELECT * FROM "authorization"') == []
    assert desk.ask(desk.reverse(A, S)).disposition == ALREADY_REVERSED


def test_a_reversal_is_answered_as_before_even_when_the_ground_has_shifted(desk: Desk) -> None:
    first = desk.reverse(A, R)
    assert desk.ask(first).disposition == PROCESSED
    desk.ask(desk.reverse(A, S))
    desk.reopen()
    assert desk.ask(desk.reverse(A, R)).disposition == PROCESSED
    assert desk.ask(desk.reverse(A, S)).disposition == ALREADY_REVERSED


def test_parts_are_given_back_until_nothing_stands(desk: Desk) -> None:
    desk.ask(desk.authorize(A, 1000))
    assert desk.ask(desk.reverse(A, R, 400)).disposition == PROCESSED
    assert desk.ask(desk.reverse(A, S, 601)).disposition == MALFORMED
    assert desk.ask(desk.reverse(A, S, 600, currency="USD")).disposition == MALFORMED
    assert desk.ask(desk.reverse(A, S, 600)).disposition == PROCESSED
    assert desk.rows('SELECT state, reversed_minor FROM "authorization"') == [("reversed", 1000)]
    assert desk.rows("SELECT reversed_minor FROM reversal ORDER BY reversal_reference") == [
        (400,),
        (600,),
    ]


def test_a_full_reversal_gives_back_money_that_the_answer_hid(desk: Desk) -> None:
    hidden = desk.ask(desk.authorize(A, 1000, issuer_code="96"))
    assert (hidden.response_code, hidden.approved_minor) == ("96", 0)
    assert hidden.authorization_code == ""
    assert desk.rows('SELECT state, approved_minor FROM "authorization"') == [("live", 1000)]
    desk.ask(desk.reverse(A, R))
    assert desk.rows("SELECT reversed_minor FROM reversal") == [(1000,)]


def test_a_refusal_claims_nothing_and_a_known_reference_is_never_refused(desk: Desk) -> None:
    refused = desk.ask(desk.authorize(A, refusal=pb.DISPOSITION_KEY_UNKNOWN))
    assert refused.disposition == pb.DISPOSITION_KEY_UNKNOWN
    assert desk.rows('SELECT * FROM "authorization"') == []
    desk.ask(desk.authorize(A))
    known = desk.ask(desk.authorize(A, refusal=pb.DISPOSITION_KEY_UNKNOWN))
    assert known.disposition == PROCESSED


def test_a_refusal_for_once_lets_the_second_delivery_pass(desk: Desk) -> None:
    once = {"refusal": NOT_PROCESSED, "refusal_once": True}
    assert desk.ask(desk.authorize(A, **once)).disposition == NOT_PROCESSED
    assert desk.ask(desk.authorize(A, **once)).disposition == PROCESSED
    assert desk.ask(desk.authorize(B, **once)).disposition == NOT_PROCESSED


def test_the_newest_link_of_each_switch_to_each_node_is_remembered(desk: Desk) -> None:
    with desk.ledger.turn():
        for node, switch_id, link in (
            ("acme-1", "one", (1, 9)),
            ("acme-1", "one", (2, 1)),
            ("acme-1", "two", (1, 4)),
            ("acme-1", "two", (1, 3)),
            ("acme-2", "one", (5, 5)),
        ):
            desk.ledger.open_session(node, switch_id, link, desk.now)
    desk.reopen()
    assert desk.ledger.newest_sessions("acme-1") == {"one": (2, 1), "two": (1, 4)}
    assert desk.ledger.newest_sessions("acme-2") == {"one": (5, 5)}
    assert desk.ledger.newest_sessions("acme-3") == {}


def test_a_file_of_another_ledger_is_refused(desk: Desk) -> None:
    with pytest.raises(LedgerInvalid, match="not"):
        Ledger(desk.path, "globex", desk.now)


def test_the_wal_is_copied_into_the_file_and_starts_anew(desk: Desk) -> None:
    for number in range(50):
        desk.take(desk.authorize(name(str(number))))
    before = desk.ledger.wal_pages
    desk.ledger.copy_back()
    desk.ledger.copy_rest()
    desk.take(desk.authorize(A))
    assert desk.ledger.wal_pages < before
    assert len(desk.rows('SELECT 1 FROM "authorization"')) == 51


# -- the twin

REFERENCES = [name(f"reference {n}") for n in range(3)]
NAMES = [name(f"reversal {n}") for n in range(4)]
DELAYS_S = [0.0, 1.0, 3.0]

OPERATIONS = st.one_of(
    st.tuples(
        st.just("authorize"),
        st.sampled_from(REFERENCES),
        st.sampled_from(["00", "10", "51", "96"]),
        st.sampled_from(DELAYS_S),
    ),
    st.tuples(
        st.just("reverse"),
        st.sampled_from(REFERENCES),
        st.sampled_from(NAMES),
        st.sampled_from([None, 1, 300, 700]),
    ),
    st.tuples(st.just("inquire"), st.sampled_from(REFERENCES)),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 1.0, 3.0])),
    st.tuples(st.just("kill")),
)


@dataclass
class Story:
    """What the twin knows of a reference: all that ever happened to it, in order."""

    code: str = ""
    due_s: float = 0.0
    approved_minor: int = 0
    given_back: list[int] = field(default_factory=list)
    reversed_at_s: float | None = None

    def is_decided(self, now_s: float) -> bool:
        return bool(self.code) and not self.is_void() and self.due_s <= now_s

    def is_void(self) -> bool:
        return self.reversed_at_s is not None and (not self.code or self.reversed_at_s < self.due_s)

    def stands_minor(self) -> int:
        return self.approved_minor - sum(self.given_back)


class Twin:
    """The promises again, as plainly as they can be said."""

    def __init__(self) -> None:
        self.stories: dict[bytes, Story] = {}
        self.acknowledged: dict[bytes, tuple[bytes, int | None, int]] = {}

    def authorize(self, reference: bytes, code: str, delay_s: float, now_s: float) -> int | None:
        story = self.stories.setdefault(reference, Story())
        if story.is_void():
            return NOT_PROCESSED
        if not story.code:
            story.code, story.due_s = code, now_s + delay_s
            story.approved_minor = 0 if code == "51" else 1000
            return PROCESSED if delay_s == 0 else None
        if not story.is_decided(now_s):
            return IN_PROGRESS
        return PROCESSED if self._stands_or_declined(story) else ALREADY_REVERSED

    def inquire(self, reference: bytes, now_s: float) -> int:
        story = self.stories.get(reference, Story())
        if story.is_void():
            return ALREADY_REVERSED
        if not story.code:
            return NOT_PROCESSED
        if not story.is_decided(now_s):
            return IN_PROGRESS
        return PROCESSED if self._stands_or_declined(story) else ALREADY_REVERSED

    def reverse(self, reference: bytes, named: bytes, part_minor: int | None, now_s: float) -> int:
        if named in self.acknowledged:
            known_reference, known_part, said = self.acknowledged[named]
            return said if (known_reference, known_part) == (reference, part_minor) else MALFORMED
        said = self._reverse(self.stories.setdefault(reference, Story()), part_minor, now_s)
        if said != MALFORMED:
            self.acknowledged[named] = (reference, part_minor, said)
        return said

    def _reverse(self, story: Story, part_minor: int | None, now_s: float) -> int:
        if story.is_void():
            return ALREADY_REVERSED
        if not story.is_decided(now_s):
            story.reversed_at_s = now_s
            return PROCESSED
        if not story.approved_minor:
            return PROCESSED
        if not story.stands_minor():
            return ALREADY_REVERSED
        given = story.stands_minor() if part_minor is None else part_minor
        if given > story.stands_minor():
            return MALFORMED
        story.given_back.append(given)
        return PROCESSED

    def _stands_or_declined(self, story: Story) -> bool:
        return not story.approved_minor or story.stands_minor() > 0


@given(st.lists(OPERATIONS, max_size=25))
def test_the_ledger_answers_as_its_dumb_twin_does(operations: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        desk, twin = Desk(Path(folder) / "books"), Twin()
        for kind, *arguments in operations:
            now_s = desk.now.monotonic_s
            if kind == "wait":
                desk.pass_time(arguments[0])
            elif kind == "kill":
                desk.reopen()
            elif kind == "authorize":
                reference, code, delay_s = arguments
                taken = 0 if code == "51" else 1000
                (answer,) = desk.take(
                    desk.authorize(
                        reference, issuer_code=code, issuer_minor=taken, issuer_delay_s=delay_s
                    )
                )
                said = None if answer is None else answer.disposition
                assert said == twin.authorize(reference, code, delay_s, now_s)
                if answer is not None and answer.response_code:
                    assert answer.response_code == twin.stories[reference].code
            elif kind == "reverse":
                reference, named, part_minor = arguments
                said = desk.ask(desk.reverse(reference, named, part_minor)).disposition
                assert said == twin.reverse(reference, named, part_minor, now_s)
            else:
                said = desk.ask(desk.inquire(arguments[0])).disposition
                assert said == twin.inquire(arguments[0], now_s)
        _compare_books(desk, twin)
        desk.ledger.close()


def _compare_books(desk: Desk, twin: Twin) -> None:
    """Hold what the file says stands, and what it says was given back, against the twin."""
    now_s = desk.now.monotonic_s
    stands = desk.rows('SELECT reference, approved_minor - reversed_minor FROM "authorization"')
    assert dict(stands) == {
        reference: story.stands_minor() if story.is_decided(now_s) else 0
        for reference, story in twin.stories.items()
        if story.code
    }
    reversed_ = {reference for reference, _, _ in twin.acknowledged.values()}
    given = desk.rows("SELECT reference, sum(reversed_minor) FROM reversal GROUP BY reference")
    assert dict(given) == {
        reference: sum(story.given_back)
        for reference, story in twin.stories.items()
        if reference in reversed_
    }
