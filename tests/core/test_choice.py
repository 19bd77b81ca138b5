"""The choices: where a payment goes, and the way out of doubt."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.core.budget import BudgetSettings, FailoverBudget
from switch.core.choice import (
    ChoiceSettings,
    GiveUp,
    Later,
    Place,
    Repeat,
    place,
    way_out,
)
from switch.core.message import Inquiry
from switch.core.payment import Attempt, Payment
from switch.core.processor import Processor
from switch.core.routing import Intent, Permit, Refusal, RoutingTable
from switch.core.sending import Sending
from switch.core.transaction import AttemptState
from tests.core.examples import REFERENCE, attempt, payment, routing, unheard

NOW = 1.0
SETTINGS = ChoiceSettings()
P, Q, R = Processor("P"), Processor("Q"), Processor("R")
PLACES = ("P-1/L", "P-2/L", "P-3/L2", "Q-1/M", "Q-2/M", "R-1/N")
"""Node, and behind the stroke its ledger: P has two ledgers, and two of its nodes share one."""


def fresh_budget(tokens: float = 5.0) -> FailoverBudget:
    """Return a budget with so many tokens, and no refill."""
    return FailoverBudget(BudgetSettings(tokens, 0.0), NOW)


def left_in(budget: FailoverBudget) -> int:
    """Count the tokens by spending them."""
    count = 0
    while budget.available(NOW):
        budget.spend(NOW)
        count += 1
    return count


def fill(table: RoutingTable, name: str) -> None:
    """Take all of a node's slots for authorizations."""
    settings = table.nodes[name].settings
    others = table.nodes.keys() - {name}
    while isinstance(
        table.admit(settings.processor, NOW, ledger=settings.ledger, exclude=others), Permit
    ):
        pass


def placed(found: Place | Refusal | None) -> tuple[str, bool]:
    """Return the node that was found and whether a new reference is due."""
    assert isinstance(found, Place)
    settings = found.permit.node.settings
    assert settings.processor == found.processor.name
    return settings.name, found.fresh


def in_flight(table: RoutingTable) -> int:
    """Count the slots that are taken."""
    return sum(node.in_flight for node in table.nodes.values())


# --- where a payment goes ------------------------------------------------------------------------


def test_a_new_payment_goes_to_the_first_processor_of_its_route() -> None:
    table, budget = routing("P-1/L", "Q-1/M"), fresh_budget()
    assert placed(place(payment(NOW, plan=(Q, P)), table, budget, SETTINGS, NOW)) == ("Q-1", True)
    assert placed(place(payment(NOW, plan=(P, Q)), table, budget, SETTINGS, NOW)) == ("P-1", True)
    assert left_in(budget) == 5


def test_a_new_payment_is_steered_around_a_dead_processor_for_nothing() -> None:
    table, budget = routing("P-1/L", "Q-1/M"), fresh_budget(0.0)
    table.nodes["P-1"].link_lost(NOW)
    assert placed(place(payment(NOW, plan=(P, Q)), table, budget, SETTINGS, NOW)) == ("Q-1", True)


def test_a_payment_goes_to_no_processor_that_cannot_open_its_card() -> None:
    table = routing("P-1/L", "Q-1/M")
    table.nodes["P-1"].link_lost(NOW)
    found = place(payment(NOW, plan=(P,)), table, fresh_budget(), SETTINGS, NOW)
    assert found is Refusal.NOT_READY


def test_what_came_back_unsent_goes_to_another_node_of_its_ledger_under_its_reference() -> None:
    table, paid = routing("P-1/L", "P-2/L", "Q-1/M"), payment(NOW, plan=(Q, P))
    attempt(payment=paid)
    paid.spent_nodes |= {"P-1"}
    assert placed(place(paid, table, fresh_budget(0.0), SETTINGS, NOW)) == ("P-2", False)


def test_only_where_its_ledger_has_no_node_it_takes_a_new_reference_elsewhere() -> None:
    table, paid = routing("P-1/L", "P-2/L", "Q-1/M"), payment(NOW, plan=(P, Q))
    attempt(payment=paid)
    paid.spent_nodes |= {"P-1", "P-2"}
    assert placed(place(paid, table, fresh_budget(0.0), SETTINGS, NOW)) == ("Q-1", True)


def test_another_ledger_of_the_same_processor_is_another_ledger() -> None:
    table, paid = routing("P-1/L", "P-2/L", "P-3/L2"), payment(NOW, plan=(P,))
    attempt(AttemptState.FAILED, payment=paid, reached=True)
    assert placed(place(paid, table, fresh_budget(), SETTINGS, NOW)) == ("P-3", True)


def test_a_technical_answer_costs_a_token_to_go_elsewhere() -> None:
    table, budget = routing("P-1/L", "P-2/L", "Q-1/M"), fresh_budget(2.0)
    for left in (1, 0):
        paid = payment(NOW, plan=(P, Q))
        attempt(AttemptState.FAILED, payment=paid, reached=True)
        assert placed(place(paid, table, budget, SETTINGS, NOW)) == ("Q-1", True)
        assert budget.available(NOW) == bool(left)
    paid = payment(NOW, plan=(P, Q))
    attempt(AttemptState.FAILED, payment=paid, reached=True)
    assert place(paid, table, budget, SETTINGS, NOW) is Refusal.NOT_READY


def test_a_token_is_kept_where_nothing_was_found_for_it() -> None:
    table, budget = routing("P-1/L", "Q-1/M"), fresh_budget(1.0)
    table.nodes["Q-1"].link_lost(NOW)
    paid = payment(NOW, plan=(P, Q))
    attempt(AttemptState.FAILED, payment=paid, reached=True)
    assert place(paid, table, budget, SETTINGS, NOW) is Refusal.NOT_READY
    assert left_in(budget) == 1


def test_at_most_two_ledgers_are_reached_for_one_payment() -> None:
    table, paid = routing("P-1/L", "Q-1/M", "R-1/N"), payment(NOW, plan=(P, Q, R))
    attempt(AttemptState.FAILED, payment=paid, reached=True)
    attempt(AttemptState.FAILED, payment=paid, ordinal=1, ledger="M", processor=Q, reached=True)
    assert place(paid, table, fresh_budget(), SETTINGS, NOW) is Refusal.NOT_READY
    assert in_flight(table) == 0


def test_a_ledger_of_which_nothing_was_reached_does_not_count() -> None:
    table, paid = routing("P-1/L", "Q-1/M", "R-1/N"), payment(NOW, plan=(P, Q, R))
    attempt(AttemptState.FAILED, payment=paid, reached=True)
    attempt(payment=paid, ordinal=1, ledger="M", processor=Q)
    paid.spent_nodes |= {"Q-1"}
    assert placed(place(paid, table, fresh_budget(), SETTINGS, NOW)) == ("R-1", True)


EXACT = ChoiceSettings(dispatch_floor_s=0.0625)
"""A floor that is exact in binary, so that its edge can be hit."""
LEFT = pytest.mark.parametrize(
    ("left_s", "tried"), [(0.0625, True), (0.0624, False), (0.0, False), (-2.0, False)]
)


@LEFT
def test_less_time_than_the_floor_is_not_worth_a_sending(left_s: float, *, tried: bool) -> None:
    table, paid = routing("P-1/L"), payment(NOW, plan=(P,))
    paid.decide_by = NOW + left_s
    found = place(paid, table, fresh_budget(), EXACT, NOW)
    assert (found is not None) == tried
    assert in_flight(table) == tried


@LEFT
def test_less_time_than_the_floor_is_not_worth_a_repeat(left_s: float, *, tried: bool) -> None:
    table, doubtful = routing("P-1/L", "P-2/L"), in_doubt("P-1")
    doubtful.payment.decide_by = NOW + left_s
    found = way_out(doubtful, table, set(), EXACT, NOW)
    assert isinstance(found, Repeat) == tried
    assert isinstance(found, GiveUp) != tried
    assert in_flight(table) == tried


@pytest.mark.parametrize(
    ("full", "dead", "refusal"),
    [
        ({"P-1", "Q-1"}, set(), Refusal.FULL),
        ({"P-1"}, {"Q-1"}, Refusal.FULL),
        ({"Q-1"}, {"P-1"}, Refusal.FULL),
        (set(), {"P-1", "Q-1"}, Refusal.NOT_READY),
    ],
)
def test_a_refusal_says_full_if_waiting_could_help(
    full: set[str], dead: set[str], refusal: Refusal
) -> None:
    table = routing("P-1/L", "Q-1/M", limit=2)
    for name in full:
        fill(table, name)
    for name in dead:
        table.nodes[name].link_lost(NOW)
    assert place(payment(NOW, plan=(P, Q)), table, fresh_budget(), SETTINGS, NOW) is refusal


def test_what_came_back_unsent_is_refused_as_full_where_only_its_own_ledger_is_full() -> None:
    table, paid = routing("P-1/L", "Q-1/M", limit=2), payment(NOW, plan=(P, Q))
    attempt(payment=paid)
    fill(table, "P-1")
    table.nodes["Q-1"].link_lost(NOW)
    assert place(paid, table, fresh_budget(), SETTINGS, NOW) is Refusal.FULL


# --- the same, against a twin ------------------------------------------------------------------


CONDITIONS = st.sampled_from(["ready", "down", "full", "disabled", "drained"])


@dataclass
class World:
    """A table of nodes in some condition, and what became of a payment so far."""

    conditions: list[str]
    table: RoutingTable = field(init=False)

    def __post_init__(self) -> None:
        self.table = routing(*PLACES, limit=2)
        for node, condition in zip(self.table.nodes.values(), self.conditions, strict=True):
            if condition == "down":
                node.link_lost(NOW)
            elif condition == "full":
                fill(self.table, node.settings.name)
            elif condition in {"disabled", "drained"}:
                intent = Intent.DISABLED if condition == "disabled" else Intent.DRAINED
                self.table.set_intent(node.settings.name, intent, NOW)

    def names(self, condition: str) -> set[str]:
        """Return the nodes in a condition."""
        pairs = zip(self.table.nodes, self.conditions, strict=True)
        return {name for name, each in pairs if each == condition}

    def before(self, *ledgers: str) -> set[str]:
        """Return the nodes before some ledgers."""
        return {n.settings.name for n in self.table.nodes.values() if n.settings.ledger in ledgers}


WORLDS = st.lists(CONDITIONS, min_size=6, max_size=6).map(World)
LEDGERS = {"L": P, "L2": P, "M": Q, "N": R}
PASTS = st.lists(
    st.tuples(
        st.sampled_from(sorted(LEDGERS)),
        st.sampled_from([AttemptState.INTENDED, AttemptState.FAILED]),
        st.booleans(),
    ),
    max_size=3,
    unique_by=lambda past: past[0],
)
NODES = st.sets(st.sampled_from([place.partition("/")[0] for place in PLACES]), max_size=4)


def with_past(past: list[tuple[str, AttemptState, bool]], spent: set[str]) -> Payment:
    """Return a payment with attempts behind it; only the newest may still be intended."""
    paid = payment(NOW, plan=(P, Q, R), spent_nodes=spent)
    for ordinal, (ledger, state, reached) in enumerate(past):
        newest = ordinal == len(past) - 1
        attempt(
            state if newest else AttemptState.NOT_SENT,
            payment=paid,
            ordinal=ordinal,
            ledger=ledger,
            processor=LEDGERS[ledger],
            reached=reached or state is AttemptState.FAILED,
        )
    return paid


@given(WORLDS, PASTS, NODES, st.booleans())
def test_the_place_is_one_that_the_rules_allow_or_there_is_none(
    world: World,
    past: list[tuple[str, AttemptState, bool]],
    spent: set[str],
    rich: bool,
) -> None:
    paid, budget = with_past(past, spent), fresh_budget(1.0 if rich else 0.0)
    taken = in_flight(world.table)
    found = place(paid, world.table, budget, SETTINGS, NOW)
    free = world.names("ready") - spent
    newest = paid.attempts[-1] if paid.attempts else None
    stays = free & world.before(newest.ledger) if newest and newest.state == 1 else set()
    failed = newest is not None and newest.state is AttemptState.FAILED
    moves = free - world.before(*(a.ledger for a in paid.attempts))
    if sum(a.reached for a in paid.attempts) >= 2 or (failed and not rich):
        moves = set()
    if not stays and not moves:
        assert isinstance(found, Refusal)
        assert in_flight(world.table) == taken
        assert left_in(budget) == rich
        return
    name, fresh = placed(found)
    assert in_flight(world.table) == taken + 1
    assert fresh == (not stays)
    assert name in (stays or moves)
    if fresh:
        first = min(moves)  # the names are in the order of the route
        assert name[0] == first[0]
    assert left_in(budget) == (rich and not (failed and fresh))


# --- the way out of doubt --------------------------------------------------------------------


def asked(doubtful: Attempt, *names: str, landed: bool = False) -> None:
    """Let nodes have been sent the reference; they hold it unless it has landed."""
    for number, name in enumerate(names):
        permit = routing(f"{name}/L").admit(name.partition("-")[0], 0.0)
        assert isinstance(permit, Permit)
        sending = Sending(number, Inquiry(REFERENCE), permit, NOW, unheard, unheard)
        doubtful.sent(sending)
        sending.open = False
        sending.landed = landed


def in_doubt(*names: str, landed: bool = False, processor: Processor = P) -> Attempt:
    """Return an attempt in doubt that nodes were sent."""
    doubtful = attempt(
        AttemptState.SENT, payment=payment(NOW, plan=(P,)), processor=processor, doubted=True
    )
    asked(doubtful, *names, landed=landed)
    return doubtful


def chosen(doubtful: Attempt, table: RoutingTable, *distrusted: str) -> Repeat | Later | GiveUp:
    """Choose the way out."""
    return way_out(doubtful, table, set(distrusted), SETTINGS, NOW)


def test_another_node_of_the_ledger_is_asked_at_once() -> None:
    table = routing("P-1/L", "P-2/L", "Q-1/M")
    found = chosen(in_doubt("P-1"), table)
    assert isinstance(found, Repeat)
    assert found.permit.node.settings.name == "P-2"
    assert in_flight(table) == 1


def test_a_node_that_has_answered_may_be_asked_again() -> None:
    found = chosen(in_doubt("P-1", landed=True), routing("P-1/L"))
    assert isinstance(found, Repeat)
    assert found.permit.node.settings.name == "P-1"


def test_doubt_never_leads_to_another_ledger() -> None:
    table = routing("P-1/L", "P-3/L2", "Q-1/M")
    assert chosen(in_doubt("P-1"), table) == GiveUp()
    assert in_flight(table) == 0


def test_without_the_processors_promise_the_reversal_is_owed() -> None:
    table = routing("P-1/L", "P-2/L")
    doubtful = in_doubt("P-1", processor=Processor("P", accepts_repeat=False))
    assert chosen(doubtful, table) == GiveUp()
    assert in_flight(table) == 0


def test_a_ledger_that_broke_its_promise_gets_no_repeats() -> None:
    table = routing("P-1/L", "P-2/L")
    assert chosen(in_doubt("P-1"), table, "L") == GiveUp()
    assert isinstance(chosen(in_doubt("P-1"), table, "M"), Repeat)


@pytest.mark.parametrize("trouble", ["down", "full"])
def test_a_node_that_cannot_take_it_now_is_waited_for(trouble: str) -> None:
    table = routing("P-1/L", "P-2/L", limit=2)
    if trouble == "full":
        fill(table, "P-2")
    else:
        table.nodes["P-2"].link_lost(NOW)
    assert chosen(in_doubt("P-1"), table) == Later(NOW + 0.05)


def test_a_node_that_was_ordered_away_is_not_waited_for() -> None:
    for intent in (Intent.DISABLED, Intent.DRAINED):
        table = routing("P-1/L", "P-2/L")
        table.set_intent("P-2", intent, NOW)
        assert chosen(in_doubt("P-1"), table) == GiveUp()


def test_waiting_ends_with_the_terminals_time() -> None:
    table = routing("P-1/L", "P-2/L")
    table.nodes["P-2"].link_lost(NOW)
    doubtful = in_doubt("P-1")
    doubtful.payment.decide_by = NOW + 0.05
    assert chosen(doubtful, table) == Later(NOW + 0.05)
    doubtful.payment.decide_by = NOW + 0.0499
    assert chosen(doubtful, table) == GiveUp()


@given(
    WORLDS,
    st.sets(st.sampled_from(["P-1", "P-2"])),
    st.sets(st.sampled_from(["P-1", "P-2"])),
    st.booleans(),
)
def test_the_way_out_is_the_one_that_the_rules_name(
    world: World,
    holding: set[str],
    answered: set[str],
    trusted: bool,
) -> None:
    doubtful = in_doubt()
    asked(doubtful, *answered, landed=True)
    asked(doubtful, *holding)
    taken = in_flight(world.table)
    found = chosen(doubtful, world.table, *([] if trusted else ["L"]))
    nodes = world.before("L")
    free = nodes & world.names("ready") - holding
    full = nodes & world.names("full") - holding
    ordered_away = world.names("disabled") | world.names("drained")
    never_asked = nodes - ordered_away - holding - answered
    if not trusted:
        assert found == GiveUp()
    elif free:
        assert isinstance(found, Repeat)
        assert found.permit.node.settings.name in free
    elif full or never_asked:
        assert found == Later(NOW + 0.05)
    else:
        assert found == GiveUp()
    assert in_flight(world.table) == taken + isinstance(found, Repeat)
