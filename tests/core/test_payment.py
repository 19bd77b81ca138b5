"""A payment while it runs: its attempts, and the nodes that are at it."""

import pytest

from switch.core.message import Authorization, Disposition, ReversalReason
from switch.core.payment import Attempt, Wish
from switch.core.processor import Processor
from switch.core.sending import Sending
from switch.core.transaction import OPEN, TABLE, AttemptEvent, AttemptState, Step
from tests.core.examples import REFERENCE, attempt, payment, permit, request, said, unheard, wish


def sending(number: int, node: str = "P-1") -> Sending:
    """Return an authorization handed to a node."""
    asked = request()
    message = Authorization(REFERENCE, asked, asked.envelopes["P"], False, "000001", "0" * 12)
    return Sending(number, message, permit(f"{node}/L"), 1.0, unheard, unheard)


def test_the_newest_attempt_is_the_payments() -> None:
    paid = payment()
    first = attempt(payment=paid)
    assert paid.attempt is first
    second = attempt(payment=paid, ordinal=1)
    assert paid.attempt is second


def test_a_ledger_is_reached_when_something_was_handed_over_for_it() -> None:
    paid = payment()
    assert paid.ledgers_reached() == 0
    attempt(payment=paid, reached=True)
    attempt(payment=paid, reached=False)
    attempt(payment=paid, reached=True)
    assert paid.ledgers_reached() == 2


@pytest.mark.parametrize("state", AttemptState)
def test_an_attempt_moves_by_the_life_cycle_and_by_nothing_else(state: AttemptState) -> None:
    for event in AttemptEvent:
        moved = attempt(state)
        if (state, event) in TABLE:
            assert moved.advance(event) == TABLE[state, event]
            assert moved.state is TABLE[state, event].state
        else:
            with pytest.raises(AssertionError):
                moved.advance(event)
            assert moved.state is state


@pytest.mark.parametrize("state", AttemptState)
def test_an_attempt_runs_while_its_outcome_is_to_be_found(state: AttemptState) -> None:
    assert attempt(state).running == (state in OPEN)


@pytest.mark.parametrize("state", AttemptState)
def test_an_attempt_is_in_doubt_until_it_is_settled_or_provably_unsent(state: AttemptState) -> None:
    left = state in {AttemptState.SENT, AttemptState.REPEATING}
    assert attempt(state, doubted=True).in_doubt == left
    assert not attempt(state, doubted=False).in_doubt


def test_another_approval_differs_in_its_amount_or_its_authorization_code() -> None:
    approved = attempt(AttemptState.APPROVED)
    assert not approved.differs(said())
    approved.final = said()
    assert not approved.differs(said(sending_number=2, processing_s=1.0))
    assert approved.differs(said(approved_amount_minor=1249))
    assert approved.differs(said(authorization_code="B1"))
    assert not approved.differs(said("", disposition=Disposition.ALREADY_REVERSED))
    approved.state = AttemptState.OWED
    assert not approved.differs(said(authorization_code="B1"))


def test_a_new_attempt_is_intended_and_nobody_is_at_it() -> None:
    paid = payment()
    assert (paid.last_ordinal, paid.plan, paid.spent_nodes, paid.voids) == (-1, (), frozenset(), ())
    new = Attempt(paid, 0, REFERENCE, "000000000001", Processor("P"), "L")
    assert (new.doubt_durable, new.reason) == (False, ReversalReason.TIMED_OUT)
    assert new.advance(AttemptEvent.HAND_OVER) == Step(AttemptState.SENT)
    assert (new.reached, new.doubted, new.asked) == (False, False, set())
    assert not new.awaited()
    assert new.occupied() == set()


def test_a_sending_is_awaited_until_it_is_closed_and_holds_its_node_until_it_has_landed() -> None:
    tried = attempt()
    first = sending(1, "P-1")
    tried.sent(first)
    assert tried.awaited() is True
    assert tried.occupied() == {"P-1"}
    first.open = False
    assert not tried.awaited()
    assert tried.occupied() == {"P-1"}
    first.landed = True
    assert tried.occupied() == set()


def test_what_has_landed_is_forgotten_but_not_who_was_asked() -> None:
    tried = attempt()
    sendings = [sending(number, f"P-{number}") for number in (1, 2, 3)]
    tried.sent(sendings[0])
    tried.sent(sendings[1])
    sendings[0].landed = True
    tried.sent(sendings[2])
    assert tried.sendings == sendings[1:]
    assert tried.occupied() == {"P-2", "P-3"}
    assert tried.asked == {"P-1", "P-2", "P-3"}


def test_two_payments_are_two_even_when_they_ask_for_the_same() -> None:
    one, other = payment(), payment()
    assert one != other
    assert attempt(payment=one) != attempt(payment=other)
    assert Wish(wish(), unheard) != Wish(wish(), unheard)


def test_only_another_approval_differs_from_an_approval() -> None:
    made = attempt(AttemptState.APPROVED)
    assert not made.differs(said())
    made.final = said()
    assert not made.differs(said())
    assert made.differs(said(authorization_code="ZZZZZZ"))
    assert made.differs(said("10", approved_amount_minor=500, authorization_code="A12345"))
    assert not made.differs(said(disposition=Disposition.IN_PROGRESS, authorization_code=""))
    made.state = AttemptState.OWED
    assert not made.differs(said(authorization_code="ZZZZZZ"))
