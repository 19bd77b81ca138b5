"""Routing: which node takes what, and what makes a node usable, a spare, or none."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.core.breaker import ROUNDS, BreakerSettings, BreakerState
from switch.core.health import HealthSettings
from switch.core.hold_down import HoldDownSettings
from switch.core.limiter import LimiterSettings
from switch.core.routing import (
    Fact,
    Intent,
    LinkState,
    Node,
    NodeSettings,
    Outcome,
    Permit,
    Refusal,
    RoutingSettings,
    RoutingTable,
)
from switch.core.stall import StallSettings
from tests.core.examples import Fixed
from tests.core.fleet import QUICK, Fleet, backup, primary

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
LIVE = sum(ROUNDS)


# --- which node takes it -----------------------------------------------------------------------


def test_lower_tiers_are_asked_first() -> None:
    fleet = Fleet(backup(), primary())
    assert fleet.pay(5) == ["p"] * 5


def test_a_full_node_means_the_free_slots_of_the_next_tier() -> None:
    fleet = Fleet()
    went = [fleet.admit().node.settings.name for _ in range(60)]
    assert went == ["p"] * 30 + ["b"] * 30
    assert fleet.refused() is Refusal.FULL


def test_in_a_tier_the_least_loaded_takes_it() -> None:
    fleet = Fleet(primary("x"), primary("y"))
    went = [fleet.admit().node.settings.name for _ in range(20)]
    assert went.count("x") == went.count("y") == 10


def test_in_a_tier_nodes_share_by_weight() -> None:
    fleet = Fleet(primary("x", weight=3.0), primary("y"))
    went = [fleet.admit().node.settings.name for _ in range(20)]
    assert went.count("x") == 15


def test_a_node_that_fails_at_once_attracts_no_traffic() -> None:
    fleet = Fleet(primary("fast"), primary("good"))
    went = []
    for _ in range(200):
        permit = fleet.admit()
        went.append(permit.node.settings.name)
        failed = permit.node.settings.name == "fast"
        fleet.finish(permit, Outcome.SOFT if failed else Outcome.SUCCESS)
        if fleet["fast"].breaker.state is not CLOSED:
            break
        fleet.now += 0.001
    assert went.count("fast") < 0.2 * len(went)


def test_a_processor_is_served_by_its_own_nodes() -> None:
    fleet = Fleet(primary(), primary("other", processor="bank", ledger="books"))
    assert set(fleet.pay(10)) == {"p"}


def test_a_ledger_is_served_by_its_own_nodes() -> None:
    fleet = Fleet(primary(), backup(ledger="second"))
    assert fleet.where(ledger="second") == "b"
    fleet.lose("b")
    assert fleet.refused(ledger="second") is Refusal.NOT_READY


def test_excluded_nodes_take_nothing() -> None:
    fleet = Fleet()
    assert fleet.where(exclude={"p"}) == "b"
    assert fleet.refused(exclude={"p", "b"}) is Refusal.NOT_READY


def test_the_decision_reserves_the_slot() -> None:
    fleet = Fleet()
    permit = fleet.admit()
    assert fleet["p"].in_flight == 1
    permit.release(fleet.now)
    assert fleet["p"].in_flight == 0


def test_names_are_unique() -> None:
    with pytest.raises(AssertionError):
        Fleet(primary(), primary())


# --- permits -----------------------------------------------------------------------------------


def test_a_permit_is_released_exactly_once() -> None:
    fleet = Fleet()
    permit = fleet.admit()
    permit.release(fleet.now)
    with pytest.raises(AssertionError):
        permit.release(fleet.now)


def test_a_permit_is_scored_at_most_once() -> None:
    fleet = Fleet()
    for _ in range(4):
        permit = fleet.admit()
        for _ in range(3):
            permit.score(Outcome.IN_DOUBT, fleet.now)
        permit.release(fleet.now)
        permit.score(Outcome.IN_DOUBT, fleet.now)
    assert fleet["p"].breaker.state is CLOSED


def test_a_permit_released_without_a_score_says_nothing() -> None:
    fleet = Fleet()
    for _ in range(10):
        permit = fleet.admit()
        permit.release(fleet.now)
        permit.score(Outcome.TECHNICAL, fleet.now)
    assert fleet["p"].breaker.state is CLOSED


def test_a_half_open_permit_released_without_a_score_goes_back() -> None:
    fleet = Fleet(primary())
    fleet.lose("p")
    fleet.revive("p")
    permit = fleet.admit()
    assert permit.probe
    assert fleet.refused() is Refusal.NOT_READY
    permit.release(fleet.now)
    assert fleet.admit().probe


def test_what_is_in_doubt_holds_its_slot_until_it_is_released() -> None:
    fleet = Fleet()
    permit = fleet.admit()
    permit.score(Outcome.IN_DOUBT, fleet.now)
    seen = fleet["p"].snapshot(fleet.now)
    assert (seen.in_flight, seen.in_doubt) == (1, 1)
    permit.release(fleet.now)
    seen = fleet["p"].snapshot(fleet.now)
    assert (seen.in_flight, seen.in_doubt) == (0, 0)


# --- may it still be handed over? --------------------------------------------------------------


def test_a_permit_may_be_used_while_nothing_has_changed() -> None:
    fleet = Fleet()
    assert fleet.table.recheck(fleet.admit(), fleet.now)


@pytest.mark.parametrize("intent", [Intent.DRAINED, Intent.DISABLED])
def test_a_toggle_recalls_what_is_not_handed_over(intent: Intent) -> None:
    fleet = Fleet()
    permit = fleet.admit()
    fleet.table.set_intent("p", intent, fleet.now)
    assert not fleet.table.recheck(permit, fleet.now)


def test_a_lost_link_recalls_what_is_not_handed_over_even_when_it_is_back() -> None:
    fleet = Fleet()
    permit = fleet.admit()
    fleet.lose("p")
    assert not fleet.table.recheck(permit, fleet.now)
    fleet["p"].link_ready(fleet.now)
    assert not fleet.table.recheck(permit, fleet.now)


def test_a_breaker_that_opened_recalls_what_is_not_handed_over() -> None:
    fleet = Fleet()
    waiting = fleet.admit()
    for _ in range(5):
        fleet.finish(fleet.admit(), Outcome.CONNECT_FAILURE)
    assert not fleet.table.recheck(waiting, fleet.now)


def test_a_live_permit_that_expired_is_recalled() -> None:
    fleet = Fleet(primary())
    fleet.lose("p")
    fleet.revive("p")
    permit = fleet.admit()
    assert fleet.table.recheck(permit, fleet.now + 4.9)
    assert not fleet.table.recheck(permit, fleet.now + 5.0)


# --- links -------------------------------------------------------------------------------------


def test_a_node_that_was_never_ready_is_not_usable_and_not_broken() -> None:
    fleet = Fleet(ready=False)
    assert fleet.refused() is Refusal.NOT_READY
    fleet.lose("p")
    assert fleet["p"].breaker.state is CLOSED
    assert fleet.table.due(fleet.now) is None
    assert fleet.facts() == []


def test_a_node_that_is_ready_for_the_first_time_is_used_at_once_and_in_full() -> None:
    fleet = Fleet(ready=False)
    fleet.wait(5.0)
    fleet["b"].link_ready(fleet.now)
    assert fleet.pay() == ["b"]
    fleet["p"].link_ready(fleet.now)
    assert fleet.pay() == ["p"]
    assert fleet["p"].limit_now(fleet.now) == 32


def test_a_node_first_ready_long_after_our_start_has_no_hold_down_but_a_ramp() -> None:
    fleet = Fleet(ready=False)
    fleet.wait(3600.0)
    fleet["p"].link_ready(fleet.now)
    assert fleet.pay() == ["p"]
    assert fleet["p"].limit_now(fleet.now) == 3


def test_a_ready_link_that_is_lost_opens_the_breaker_at_once() -> None:
    fleet = Fleet()
    fleet.lose("p")
    assert fleet["p"].breaker.why == "link lost"
    assert fleet.pay() == ["b"]
    assert fleet.facts() == ["p:breaker_opened"]


def test_a_link_that_drains_takes_nothing_new() -> None:
    fleet = Fleet()
    permit = fleet.admit()
    fleet["p"].link_draining(fleet.now)
    assert not fleet.table.recheck(permit, fleet.now)
    assert fleet.pay() == ["b"]
    assert fleet.reverse().node.settings.name == "b"


def test_a_link_that_ends_after_its_node_said_goodbye_is_no_failure() -> None:
    fleet = Fleet()
    fleet["p"].link_draining(fleet.now)
    fleet.lose("p")
    assert fleet["p"].breaker.state is CLOSED
    fleet.wait(1.0)
    fleet["p"].link_ready(fleet.now)
    assert fleet.pay() == ["p"]
    assert fleet["p"].limit_now(fleet.now) == 3


def test_only_a_ready_link_can_drain() -> None:
    fleet = Fleet(ready=False)
    fleet["p"].link_draining(fleet.now)
    assert fleet["p"].link is LinkState.DOWN


def test_a_half_open_breaker_begins_again_on_a_new_link() -> None:
    fleet = Fleet()
    fleet.lose("p")
    fleet.revive("p")
    fleet["p"].link_draining(fleet.now)
    fleet.lose("p")
    assert fleet["p"].breaker.state is OPEN


def test_time_passes_for_a_breaker_only_while_the_link_is_there() -> None:
    fleet = Fleet()
    fleet.lose("p")
    fleet.wait(60.0)
    assert fleet["p"].breaker.state is OPEN
    assert not fleet["p"].wants_echo(fleet.now)
    fleet["p"].link_ready(fleet.now)
    assert fleet["p"].breaker.state is HALF_OPEN
    assert fleet["p"].wants_echo(fleet.now)


# --- coming back -------------------------------------------------------------------------------


def test_live_permits_are_granted_within_the_hold_down_and_one_of_fifty_callers_gets_it() -> None:
    fleet = Fleet(primary(limit=64), backup(limit=64))
    fleet.lose("p")
    fleet.revive("p")
    permits = [fleet.admit() for _ in range(50)]
    assert [p.node.settings.name for p in permits].count("p") == 1
    assert permits[0].probe


def test_live_permits_come_in_rounds_and_close_the_breaker() -> None:
    fleet = Fleet()
    fleet.lose("p")
    fleet.revive("p")
    assert fleet.pay(LIVE + 3) == ["p"] * LIVE + ["b"] * 3
    assert fleet["p"].breaker.state is CLOSED
    assert fleet.facts() == ["p:breaker_opened", "p:breaker_half_opened", "p:breaker_closed"]


def test_a_failed_live_permit_opens_the_breaker_again() -> None:
    fleet = Fleet()
    fleet.lose("p")
    fleet.revive("p")
    fleet.finish(fleet.admit(), Outcome.IN_DOUBT)
    assert fleet["p"].breaker.state is OPEN
    assert fleet.pay() == ["b"]


def test_a_backup_recovers_while_the_primary_carries() -> None:
    fleet = Fleet()
    fleet.lose("b")
    fleet.revive("b")
    assert fleet.pay(LIVE + 3) == ["b"] * LIVE + ["p"] * 3


def test_a_payment_that_has_seen_trouble_is_no_live_permit_while_others_can_take_it() -> None:
    fleet = Fleet(primary(), backup(), backup("c"))
    fleet.lose("p")
    fleet.revive("p")
    assert fleet.where(ledger="main") == "b"
    assert fleet.where(exclude={"b"}) == "c"
    assert fleet.where(exclude={"b", "c"}) == "p"


def test_a_full_node_gets_no_live_permit() -> None:
    fleet = Fleet(primary(limit=2), backup())
    stuck = fleet.admit()
    stuck.score(Outcome.IN_DOUBT, fleet.now)
    fleet.lose("p")
    fleet.revive("p")
    assert fleet.pay() == ["b"]
    stuck.release(fleet.now)
    assert fleet.pay() == ["p"]


def test_a_node_in_hold_down_is_used_only_when_no_other_node_can_take_it() -> None:
    fleet = Fleet(primary(), backup(limit=2))
    fleet.lose("p")
    fleet.revive("p")
    fleet.pay(LIVE)
    assert fleet["p"].hold_down.running
    permit = fleet.admit()
    assert permit.node.settings.name == "b"
    assert fleet.where() == "p"
    fleet.finish(permit)
    assert fleet.where() == "b"
    fleet.lose("b")
    assert fleet.where() == "p"


def test_the_hold_down_ends_after_continuous_health_and_the_ramp_begins() -> None:
    fleet = Fleet()
    fleet.lose("p")
    fleet.revive("p")
    fleet.pay(LIVE)
    fleet.facts()
    fleet.wait(0.99)
    assert fleet.pay() == ["b"]
    assert fleet.table.due(fleet.now) == pytest.approx(fleet.now + 0.01)
    fleet.wait(0.01)
    assert fleet.pay() == ["p"]
    assert fleet["p"].limit_now(fleet.now) == 3
    assert fleet.facts() == ["p:hold_down_ended"]
    fleet.wait(1.0)
    assert fleet["p"].limit_now(fleet.now) == 17
    fleet.wait(1.0)
    assert fleet["p"].limit_now(fleet.now) == 32


def test_no_hold_down_ends_while_the_breaker_is_not_closed() -> None:
    fleet = Fleet()
    fleet.lose("p")
    fleet.revive("p")
    fleet.wait(100.0)
    assert fleet["p"].hold_down.running
    fleet.pay(LIVE)
    fleet.wait(0.0)
    assert not fleet["p"].hold_down.running


def test_no_hold_down_ends_while_the_link_is_away() -> None:
    fleet = Fleet()
    fleet.lose("p")
    fleet.revive("p")
    fleet.pay(LIVE)
    fleet["p"].link_draining(fleet.now)
    fleet.wait(100.0)
    assert fleet["p"].hold_down.running


def test_a_link_that_went_away_starts_the_hold_down_anew() -> None:
    fleet = Fleet()
    fleet.lose("p")
    fleet.revive("p")
    fleet.pay(LIVE)
    fleet["p"].link_draining(fleet.now)
    fleet.lose("p")
    fleet.wait(1.0)
    fleet["p"].link_ready(fleet.now)
    fleet.wait(1.9)
    assert fleet["p"].hold_down.running
    fleet.wait(0.1)
    assert not fleet["p"].hold_down.running


def test_a_failed_check_starts_the_hold_down_anew() -> None:
    fleet = Fleet()
    fleet.lose("p")
    fleet.revive("p")
    fleet.pay(LIVE)
    fleet.wait(0.5)
    fleet["p"].health_checked(False, fleet.now)
    fleet.wait(1.0)
    assert fleet.pay() == ["b"]
    fleet["p"].health_checked(True, fleet.now)
    fleet.wait(1.9)
    assert fleet.pay() == ["b"]
    fleet.wait(0.1)
    assert fleet.pay() == ["p"]


def test_a_breaker_that_opens_again_starts_the_hold_down_anew() -> None:
    fleet = Fleet()
    fleet.lose("p")
    fleet.revive("p")
    fleet.wait(0.5)
    fleet.finish(fleet.admit(), Outcome.IN_DOUBT)
    fleet.wait(2.0)
    for _ in range(2):
        fleet["p"].echo_answered(fleet.now)
    fleet.pay(LIVE)
    fleet.wait(1.9)
    assert fleet["p"].hold_down.running
    fleet.wait(0.1)
    assert not fleet["p"].hold_down.running


def test_one_node_of_a_processor_fails_back_in_a_minute() -> None:
    fleet = Fleet(primary("x"), primary("y"), backup())
    for name in ("x", "y"):
        fleet.lose(name)
        fleet.revive(name)
        fleet.pay(LIVE)
    fleet.wait(3.0)
    assert [fleet[name].hold_down.running for name in ("x", "y")] == [False, True]
    fleet.wait(56.0)
    assert fleet["y"].hold_down.running
    fleet.wait(4.0)
    assert not fleet["y"].hold_down.running


def test_a_node_need_not_wait_for_its_minute_if_no_other_is_usable() -> None:
    fleet = Fleet()
    for name in ("p", "b"):
        fleet.lose(name)
        fleet.revive(name)
        fleet.pay(LIVE)
    fleet.wait(3.0)
    assert not fleet["p"].hold_down.running
    fleet.lose("p")
    fleet.wait(3.0)
    assert not fleet["b"].hold_down.running


def test_a_node_that_carried_everything_through_its_hold_down_is_not_ramped_again() -> None:
    fleet = Fleet(primary())
    fleet.lose("p")
    fleet.revive("p")
    fleet.pay(LIVE)
    fleet.wait(1.5)
    assert not fleet["p"].hold_down.running
    assert fleet["p"].limit_now(fleet.now) == 24


def test_a_node_that_fell_too_often_is_told_of() -> None:
    fleet = Fleet(settings=replace(QUICK, hold_down=HoldDownSettings(2.0, failback_every_s=0.0)))
    for _ in range(5):
        fleet.lose("p")
        fleet.revive("p")
        fleet.pay(LIVE)
        fleet.wait(3.0)
    assert fleet.facts().count("p:node_flapping") == 1
    assert fleet["p"].hold_down.running
    fleet.wait(3.9)
    assert fleet["p"].hold_down.running, "it waits four times as long"
    fleet.wait(0.1)
    assert not fleet["p"].hold_down.running


# --- health ------------------------------------------------------------------------------------


def test_a_health_fall_opens_the_breaker() -> None:
    fleet = Fleet()
    for _ in range(2):
        fleet["p"].health_checked(False, fleet.now)
    assert fleet.pay() == ["p"]
    fleet["p"].health_checked(False, fleet.now)
    assert fleet["p"].breaker.why == "health"
    assert fleet.pay() == ["b"]


def test_health_never_closes_a_breaker() -> None:
    fleet = Fleet()
    for _ in range(3):
        fleet["p"].health_checked(False, fleet.now)
    for _ in range(100):
        fleet.wait(1.0)
        fleet["p"].health_checked(True, fleet.now)
    assert fleet["p"].breaker.state is HALF_OPEN
    assert fleet["p"].hold_down.running


def test_a_node_that_answers_payments_is_alive_whatever_its_health_says() -> None:
    fleet = Fleet()
    for _ in range(10):
        fleet["p"].answered(0.01, fleet.now)
        fleet.wait(0.5)
        fleet["p"].health_checked(False, fleet.now)
    assert fleet["p"].breaker.state is CLOSED
    fleet.wait(0.6)
    for _ in range(3):
        fleet["p"].health_checked(False, fleet.now)
    assert fleet["p"].breaker.state is OPEN


def test_a_node_that_says_it_is_ill_is_tried_only_when_no_other_can_take_it() -> None:
    fleet = Fleet()
    for _ in range(3):
        fleet["p"].health_checked(False, fleet.now)
    fleet.wait(1.0)
    for _ in range(2):
        fleet["p"].echo_answered(fleet.now)
    assert fleet["p"].usable(fleet.now)
    assert fleet.pay() == ["b"]
    fleet.lose("b")
    assert fleet.pay(LIVE) == ["p"] * LIVE
    fleet.wait(100.0)
    assert fleet["p"].hold_down.running, "no continuous health"
    for _ in range(2):
        fleet["p"].health_checked(True, fleet.now)
    fleet.wait(2.0)
    assert not fleet["p"].hold_down.running


def test_failed_checks_from_before_a_link_do_not_count_on_it() -> None:
    fleet = Fleet()
    for _ in range(2):
        fleet["p"].health_checked(False, fleet.now)
    fleet["p"].link_draining(fleet.now)
    fleet.lose("p")
    fleet["p"].link_ready(fleet.now)
    fleet["p"].health_checked(False, fleet.now)
    assert fleet["p"].breaker.state is CLOSED


def test_one_good_check_and_any_number_of_echoes_are_no_health_yet() -> None:
    fleet = Fleet(primary())
    for _ in range(3):
        fleet["p"].health_checked(False, fleet.now)
    fleet.wait(1.0)
    fleet["p"].health_checked(True, fleet.now)
    for _ in range(2):
        fleet["p"].echo_answered(fleet.now)
    fleet.pay(LIVE)
    fleet.wait(100.0)
    assert fleet["p"].hold_down.running


def test_the_health_of_a_node_without_a_link_says_nothing() -> None:
    fleet = Fleet(ready=False)
    for _ in range(10):
        fleet["p"].health_checked(False, fleet.now)
    fleet["p"].link_ready(fleet.now)
    assert fleet.pay() == ["p"]


# --- silence -----------------------------------------------------------------------------------


def hand_over(fleet: Fleet, count: int) -> list[Permit]:
    """Hand sendings over that nobody will answer."""
    permits = [fleet.admit() for _ in range(count)]
    for permit in permits:
        permit.node.handed_over(fleet.now)
    return permits


def test_silence_is_found_when_it_was_promised_and_opens_the_breaker() -> None:
    fleet = Fleet()
    fleet["p"].answered(0.01, fleet.now)
    hand_over(fleet, 8)
    fleet.wait(0.24)
    assert fleet["p"].breaker.state is CLOSED
    fleet.wait(0.01)
    assert fleet["p"].breaker.why == "stalled"
    assert fleet.last_facts() == [
        Fact("p", "stalled", "8 wait", 1000.25),
        Fact("p", "breaker_opened", "stalled", 1000.25),
    ]
    assert fleet.pay() == ["b"]


def test_a_node_that_is_handed_more_while_it_is_silent_is_seen_in_time() -> None:
    fleet = Fleet()
    fleet["p"].answered(0.01, fleet.now)
    hand_over(fleet, 7)
    fleet.wait(0.6)
    hand_over(fleet, 1)
    fleet.wait(0.026)
    assert fleet["p"].breaker.state is OPEN


def test_the_silence_of_the_last_usable_node_is_borne() -> None:
    fleet = Fleet()
    fleet.table.nodes["b"].link_lost(fleet.now)
    fleet["p"].answered(0.01, fleet.now)
    hand_over(fleet, 8)
    fleet.wait(0.25)
    assert fleet["p"].breaker.state is CLOSED
    assert fleet.last_facts()[-1] == Fact(
        "p", "silent", "8 wait, and no other node is usable", 1000.25
    )
    assert fleet.pay() == ["p"]


def test_what_is_settled_is_not_waited_for() -> None:
    fleet = Fleet()
    permits = hand_over(fleet, 8)
    permits[0].score(Outcome.LOCAL, fleet.now)
    fleet.wait(5.0)
    assert fleet["p"].breaker.state is CLOSED


def test_silence_behind_an_open_breaker_is_told_too() -> None:
    fleet = Fleet()
    fleet["p"].answered(0.01, fleet.now)
    permits = hand_over(fleet, 16)
    for permit in permits[:5]:
        permit.score(Outcome.IN_DOUBT, fleet.now)
    fleet.wait(0.25)
    assert "p:stalled" in fleet.facts()
    assert fleet["p"].breaker.why == "failed in a row"


def test_the_answer_to_a_sending_from_before_the_stall_closes_nothing() -> None:
    fleet = Fleet()
    permits = hand_over(fleet, 20)
    fleet.wait(1.0)
    for permit in permits:
        permit.score(Outcome.SUCCESS, fleet.now)
    assert fleet["p"].breaker.state is OPEN


def test_a_node_that_stalled_and_recovered_is_used_while_its_old_sendings_hold_slots() -> None:
    fleet = Fleet(primary())
    for permit in hand_over(fleet, 20):
        permit.score(Outcome.IN_DOUBT, fleet.now)
    fleet.wait(1.0)
    for _ in range(2):
        fleet["p"].echo_answered(fleet.now)
    assert fleet.pay(LIVE + 5) == ["p"] * (LIVE + 5)
    assert fleet["p"].in_flight == 20


# --- reversals -----------------------------------------------------------------------------------


def test_a_reversal_may_use_the_reserve() -> None:
    fleet = Fleet(primary())
    for _ in range(30):
        fleet.admit()
    assert fleet.refused() is Refusal.FULL
    fleet.reverse()
    fleet.reverse()
    assert fleet.table.admit_reversal("main", fleet.now) is Refusal.FULL
    assert fleet["p"].in_flight == 32


def test_a_reversal_passes_on_drained_nodes_and_never_on_disabled_ones() -> None:
    fleet = Fleet(primary())
    fleet.table.set_intent("p", Intent.DRAINED, fleet.now)
    assert fleet.refused() is Refusal.NOT_READY
    permit = fleet.reverse()
    assert fleet.table.recheck(permit, fleet.now)
    fleet.table.set_intent("p", Intent.DISABLED, fleet.now)
    assert not fleet.table.recheck(permit, fleet.now)
    assert fleet.table.admit_reversal("main", fleet.now) is Refusal.NOT_READY


def test_a_reversal_may_be_the_first_at_a_half_open_node() -> None:
    fleet = Fleet(primary())
    fleet.lose("p")
    fleet.revive("p")
    for _ in range(LIVE):
        permit = fleet.reverse()
        assert permit.probe
        fleet.finish(permit)
    assert fleet["p"].hold_down.running
    assert fleet.reverse().node.settings.name == "p"


def test_a_reversal_prefers_a_node_that_leads() -> None:
    fleet = Fleet()
    fleet.lose("p")
    fleet.revive("p")
    assert fleet.reverse().node.settings.name == "b"


def test_a_reversal_can_leave_nodes_out() -> None:
    fleet = Fleet()
    granted = fleet.table.admit_reversal("main", fleet.now, {"p"})
    assert isinstance(granted, Permit)
    assert granted.node.settings.name == "b"


# --- orders --------------------------------------------------------------------------------------


def test_enabling_skips_the_hold_down_and_keeps_the_ramp() -> None:
    fleet = Fleet()
    fleet.lose("p")
    fleet.revive("p")
    fleet.pay(LIVE)
    fleet.wait(0.5)
    fleet.table.set_intent("p", Intent.ENABLED, fleet.now)
    assert fleet.pay() == ["p"]
    assert fleet["p"].limit_now(fleet.now) == 3
    assert fleet.facts()[-1] == "p:hold_down_ended"


def test_a_node_that_is_enabled_again_begins_with_the_ramp() -> None:
    fleet = Fleet()
    fleet.table.set_intent("p", Intent.DISABLED, fleet.now)
    assert fleet.pay() == ["b"]
    fleet.table.set_intent("p", Intent.ENABLED, fleet.now)
    assert fleet.pay() == ["p"]
    assert fleet["p"].limit_now(fleet.now) == 3


def test_enabling_an_enabled_node_changes_nothing() -> None:
    fleet = Fleet()
    fleet.table.set_intent("p", Intent.ENABLED, fleet.now)
    assert fleet["p"].limit_now(fleet.now) == 32
    assert fleet.facts() == []


# --- what else is asked ------------------------------------------------------------------------


def test_a_ledger_has_another_node_whether_it_is_up_or_not() -> None:
    fleet = Fleet()
    fleet.lose("b")
    assert fleet.table.has_other_node("main", {"p"})
    assert not fleet.table.has_other_node("main", {"p", "b"})
    fleet.table.set_intent("b", Intent.DRAINED, fleet.now)
    assert not fleet.table.has_other_node("main", {"p"})


def test_the_nodes_before_some_ledgers_are_known_by_name() -> None:
    fleet = Fleet(primary(), backup(), backup("c", ledger="second"))
    assert fleet.table.nodes_before({"main"}) == {"p", "b"}
    assert fleet.table.nodes_before({"main", "second"}) == {"p", "b", "c"}
    assert fleet.table.nodes_before(()) == set()


def test_all_nodes_falling_together_makes_us_suspect_ourselves() -> None:
    fleet = Fleet()
    fleet.lose("p")
    fleet.wait(1.9)
    fleet.lose("b")
    assert fleet.facts()[-1] == ":suspect_ourselves"


def test_that_is_told_once() -> None:
    fleet = Fleet()
    fleet.lose("p")
    fleet.lose("b")
    fleet.revive("p")
    fleet.finish(fleet.admit(), Outcome.IN_DOUBT)
    assert fleet.facts().count(":suspect_ourselves") == 1


def test_nodes_that_fall_one_after_the_other_are_to_blame_themselves() -> None:
    fleet = Fleet()
    fleet.lose("p")
    fleet.wait(2.1)
    fleet.lose("b")
    assert ":suspect_ourselves" not in fleet.facts()


def test_a_node_that_was_never_ready_does_not_fall_with_the_others() -> None:
    fleet = Fleet(primary(), backup(), backup("never"), ready=False)
    for name in ("p", "b"):
        fleet[name].link_ready(fleet.now)
    fleet.lose("p")
    fleet.lose("b")
    assert ":suspect_ourselves" in fleet.facts()


def test_one_node_alone_is_not_all_of_them() -> None:
    fleet = Fleet(primary())
    fleet.lose("p")
    assert fleet.facts() == ["p:breaker_opened"]


def test_facts_are_taken_once() -> None:
    fleet = Fleet()
    fleet.lose("p")
    assert fleet.facts()
    assert fleet.facts() == []


def test_operators_see_what_was_ordered_what_is_seen_and_what_applies() -> None:
    fleet = Fleet()
    for _ in range(100):
        fleet["p"].answered(0.02, fleet.now)
        fleet.wait(0.01)
    seen = fleet["p"].snapshot(fleet.now)
    assert (seen.name, seen.intent, seen.link) == ("p", Intent.ENABLED, LinkState.READY)
    assert (seen.breaker, seen.why, seen.since) == (CLOSED, "", 1000.0)
    assert (seen.usable, seen.hold_down, seen.limit, seen.answered) == (True, False, 32, 100)
    assert seen.rate_per_s == pytest.approx(100, rel=0.05)
    assert seen.p50_s == seen.p99_s == pytest.approx(0.02, rel=0.07)
    fleet.lose("p")
    seen = fleet["p"].snapshot(fleet.now)
    assert (seen.breaker, seen.why, seen.since) == (OPEN, "link lost", fleet.now)
    assert (seen.usable, seen.hold_down) == (False, True)


# --- whatever happens --------------------------------------------------------------------------


def half_open_permits_out(out: list[Permit], node: Node) -> int:
    """Count the live permits that are out and may still be used."""
    generation = node.breaker.generation
    return sum(1 for p in out if p.node is node and p.probe and p.generation == generation)


EVENTS = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.01, 0.3, 1.0, 5.0])),
    st.tuples(st.just("admit"), st.sampled_from([1, 3, 50])),
    st.tuples(st.just("reverse"), st.sampled_from([1, 50])),
    st.tuples(st.just("end"), st.tuples(st.integers(0, 99), st.sampled_from(list(Outcome)))),
    st.tuples(st.just("doubt"), st.integers(0, 99)),
    st.tuples(st.just("ready"), st.sampled_from("pb")),
    st.tuples(st.just("lost"), st.sampled_from("pb")),
    st.tuples(st.just("echo"), st.sampled_from("pb")),
    st.tuples(st.just("check"), st.tuples(st.sampled_from("pb"), st.booleans())),
    st.tuples(st.just("order"), st.tuples(st.sampled_from("pb"), st.sampled_from(list(Intent)))),
)


@given(st.lists(EVENTS, max_size=60))
def test_whatever_happens_no_limit_is_passed_and_no_grant_is_wrong(
    events: list[tuple[str, object]],
) -> None:
    fleet = Fleet(primary(limit=8), backup(limit=4))
    out: list[Permit] = []
    for what, how in events:
        match what, how:
            case "wait", float(seconds):
                fleet.wait(seconds)
            case "admit" | "reverse", int(count):
                for _ in range(count):
                    reversal = what == "reverse"
                    granted = (
                        fleet.table.admit_reversal("main", fleet.now)
                        if reversal
                        else fleet.table.admit("acme", fleet.now)
                    )
                    if isinstance(granted, Refusal):
                        continue
                    node = granted.node
                    assert node.link is LinkState.READY
                    assert node.breaker.state is not OPEN
                    assert node.intent is Intent.ENABLED or (
                        reversal and node.intent is Intent.DRAINED
                    )
                    assert fleet.table.recheck(granted, fleet.now)
                    granted.node.handed_over(fleet.now)
                    out.append(granted)
            case "end", (int(which), Outcome() as outcome) if out:
                fleet.finish(out.pop(which % len(out)), outcome)
            case "doubt", int(which) if out:
                out[which % len(out)].score(Outcome.IN_DOUBT, fleet.now)
            case "ready", str(name) if fleet[name].link is LinkState.DOWN:
                fleet[name].link_ready(fleet.now)
            case "lost", str(name):
                fleet.lose(name)
            case "echo", str(name) if fleet[name].link is LinkState.READY:
                fleet[name].echo_answered(fleet.now)
            case "check", (str(name), bool(ok)):
                fleet[name].health_checked(ok, fleet.now)
            case "order", (str(name), Intent() as intent):
                fleet.table.set_intent(name, intent, fleet.now)
            case _:
                pass
        for node in fleet.table.nodes.values():
            held = sum(1 for p in out if p.node is node)
            assert node.in_flight == held <= node.settings.limit
            if node.breaker.state is HALF_OPEN:
                assert half_open_permits_out(out, node) <= ROUNDS[-1]
    for permit in out:
        permit.release(fleet.now)
    assert all(n.in_flight == n.limiter.in_doubt == 0 for n in fleet.table.nodes.values())


@given(st.lists(EVENTS, max_size=30))
def test_whatever_happened_a_healthy_node_carries_again(events: list[tuple[str, object]]) -> None:
    fleet = Fleet(primary(limit=8))
    for what, how in events:
        match what, how:
            case "wait", float(seconds):
                fleet.wait(seconds)
            case "admit", int():
                granted = fleet.table.admit("acme", fleet.now)
                if isinstance(granted, Permit):
                    granted.node.handed_over(fleet.now)
                    fleet.finish(granted, Outcome.IN_DOUBT)
            case "lost", str():
                fleet.lose("p")
            case "ready", str():
                fleet["p"].link_ready(fleet.now)
            case "check", (str(), bool(ok)):
                fleet["p"].health_checked(ok, fleet.now)
            case _:
                pass
    if fleet["p"].link is not LinkState.READY:
        fleet["p"].link_ready(fleet.now)
    for _ in range(60):
        fleet.wait(1.0)
        fleet["p"].health_checked(True, fleet.now)
        if fleet["p"].wants_echo(fleet.now):
            fleet["p"].echo_answered(fleet.now)
            fleet["p"].echo_answered(fleet.now)
        if fleet["p"].usable(fleet.now):
            fleet.pay(LIVE)
    assert fleet["p"].leads()
    assert fleet["p"].limit_now(fleet.now) == 8


# --- settings ------------------------------------------------------------------------------------


def test_the_defaults_have_no_problems() -> None:
    assert RoutingSettings().problems() == QUICK.problems() == []


def test_the_problems_of_all_parts_are_told_with_the_name_of_the_part() -> None:
    settings = RoutingSettings(
        breaker=BreakerSettings(echoes=0),
        limiter=LimiterSettings(failure_s=0.0),
        health=HealthSettings(rise=0),
        hold_down=HoldDownSettings(flaps=0),
        stall=StallSettings(waiting_min=0),
    )
    assert [problem.partition(" ")[0] for problem in settings.problems()] == [
        "breaker.echoes",
        "limiter.failure_s",
        "health.rise",
        "hold_down.flaps",
        "stall.waiting_min",
    ]


def test_a_table_of_its_own_is_made_of_settings_alone() -> None:
    node = NodeSettings("n", "acme", "main", "-")
    table = RoutingTable([replace(node, name="m", tier=1), node], RoutingSettings(), Fixed(), 0.0)
    assert list(table.nodes) == ["n", "m"]
    assert [each.settings.name for each in table.ledgers["main"]] == ["n", "m"]
