"""The demonstration's parts that need no process."""

import io
import json
import socket
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest

from clients.demo.board import Board
from clients.demo.chronicle import Chronicle
from clients.demo.latency import added_latency_ms, percentile
from clients.demo.operators import Counters, NodeView
from clients.demo.ports import LOOPBACK, free_ports
from clients.demo.result import MUST_BE_ZERO, TALLIES, Result
from clients.demo.screen import screen
from clients.demo.script import Act, Script
from clients.demo.terminals import MODES, belongs, schedule

AGREEING = dict.fromkeys(TALLIES, 0) | {"sent": 10, "answered": 10, "approved": 10}


def result(ledgers: str = "shared", /, **audit: int) -> Result:
    judged = Result(rate=1.0, ledgers=ledgers, seed=1)
    judged.take({**AGREEING, **audit})
    judged.close()
    return judged


# --- the script


def test_the_script_is_scaled_as_a_whole() -> None:
    whole = list(Script().cues())
    half = list(Script(seconds=15.0).cues())
    assert [cue.at_s for cue in whole] == [5, 8, 14, 16, 21, 28]
    assert [cue.at_s for cue in half] == [cue.at_s / 2 for cue in whole]
    assert [cue.act for cue in half] == [cue.act for cue in whole]


def test_the_switch_can_be_spared() -> None:
    acts = [cue.act for cue in Script(kill_switch=False).cues()]
    assert Act.KILL_SWITCH not in acts
    assert acts.count(Act.KILL_PRIMARY) == acts.count(Act.RESTART_PRIMARY) == 2


def test_a_node_comes_back_sooner_in_a_shorter_script_but_never_later_than_two_seconds() -> None:
    assert Script(seconds=6.0).hold_down_s == pytest.approx(0.4)
    assert Script(seconds=3600.0).hold_down_s == 2.0


# --- the load


def test_sales_come_at_the_rate_and_at_the_same_instants_for_the_same_seed() -> None:
    sales = list(islice(schedule(seed=7, rate=400.0), 4000))
    assert sales[-1][0] == pytest.approx(10.0, rel=0.1)
    assert [at for at, _ in sales] == sorted(at for at, _ in sales)
    assert sales[:50] == list(islice(schedule(seed=7, rate=400.0), 50))
    assert sales[:50] != list(islice(schedule(seed=8, rate=400.0), 50))


def test_every_terminal_speaks_in_one_mode_and_each_mode_has_a_fair_part_of_the_sales() -> None:
    sales = [sale for _, sale in islice(schedule(seed=1, rate=400.0), 4000)]
    by_mode = {mode: [sale for sale in sales if belongs(sale, mode)] for mode in MODES}
    assert sum(map(len, by_mode.values())) == len(sales)
    assert min(map(len, by_mode.values())) > len(sales) / 4
    unary, framed = ({sale.terminal_id for sale in each} for each in by_mode.values())
    assert not unary & framed


def test_free_ports_are_free_and_out_of_the_way_of_outgoing_connections() -> None:
    ports = free_ports(4, Random(1))
    assert len(set(ports)) == 4
    assert max(ports) < 32_768
    with socket.socket() as taken:
        taken.bind((LOOPBACK, ports[0]))
        taken.listen()
        assert ports[0] not in free_ports(4, Random(1))


# --- latency


def test_a_percentile_is_the_smallest_value_that_so_many_reach() -> None:
    assert percentile([5.0], 0.5) == 5.0
    assert [percentile(range(1, 101), share) for share in (0.5, 0.99, 1.0)] == [50, 99, 100]


def line(event: str, request_id: str, call: str, **fields: Any) -> str:
    who = {"terminal_id": "T", "request_id": request_id, "call": call}
    return json.dumps({"event": event, **who, **fields})


def answered(request_id: str, call: str, latency_ms: float, node_ms: float | None) -> str:
    figures = {"latency_ms": latency_ms, "processing_duration_ms": node_ms}
    return line("answered", request_id, call, **figures)


def test_added_latency_is_what_is_left_without_the_node_by_each_payments_first_call(
    tmp_path: Path,
) -> None:
    journal = tmp_path / "terminals.jsonl"
    journal.write_text(
        "\n".join(
            [
                line("intended", "a", "1"),
                line("intended", "a", "2"),
                line("sent", "a", "1"),
                answered("a", "2", 500.0, None),
                answered("a", "1", 12.0, 10.0),
                line("intended", "b", "3"),
                answered("b", "3", 40.0, None),
                line("intended", "c", "4"),
                line("refused", "c", "4"),
            ]
        )
    )
    added = added_latency_ms([journal])
    assert added is not None
    assert (added["p50"], added["max"]) == (2.0, 40.0)


def test_without_an_answer_there_is_no_latency(tmp_path: Path) -> None:
    journal = tmp_path / "terminals.jsonl"
    journal.touch()
    assert added_latency_ms([journal]) is None


# --- the verdict


def test_a_run_passes_when_the_ledgers_agree() -> None:
    assert result().passed
    assert result(reversals_owed=3, reversals_acknowledged=3, in_doubt=3).passed


@pytest.mark.parametrize("name", MUST_BE_ZERO)
def test_a_run_fails_by_a_single_payment(name: str) -> None:
    failed = result(**{name: 1})
    assert not failed.passed
    assert failed.problems == [f"{name} is 1"]


def test_a_run_fails_by_a_reversal_that_is_not_acknowledged() -> None:
    failed = result(reversals_owed=3, reversals_acknowledged=2)
    assert failed.problems == ["1 reversals are owed and not acknowledged"]


def test_with_separate_ledgers_as_many_terminals_fail_as_payments_were_in_doubt() -> None:
    assert result("separate", terminal_failures=2, in_doubt=2).passed
    assert not result("separate", terminal_failures=3, in_doubt=2).passed
    assert not result("shared", terminal_failures=2, in_doubt=2).passed


def test_a_run_that_cannot_be_audited_fails_and_says_what_it_does_not_know() -> None:
    unread = Result(rate=1.0, ledgers="shared", seed=1)
    unread.take({"passed": False, "unreadable": "journal.db: there is no such file"})
    unread.close()
    assert not unread.passed
    assert unread.problems == ["not audited: journal.db: there is no such file"]
    assert json.loads(unread.as_json())["sent"] is None
    assert ("sent", "unknown") in unread.rows()


# --- the screen


def test_lines_tell_each_event_once_and_how_things_stand() -> None:
    board = Board(Script(), Chronicle())
    node = NodeView("primary", 0, "down", "open", False, 0, 128, 9, 12.0, 1.0, 2.0)
    to = io.StringIO()
    with screen(as_lines=True, to=to) as lines:
        board.chronicle.say("the switch runs")
        lines.draw(board)
        board.switch_answers, board.nodes = True, [node]
        board.chronicle.began_at = 0.0
        lines.draw(board)
        lines.draw(board)
    told = to.getvalue()
    assert told.count("the switch runs") == 1
    assert told.count("primary down/open 12/s") == 1


def test_counters_go_on_where_a_killed_switch_had_stopped_and_states_do_not() -> None:
    before = Counters(failed_over=1, repeated=2, in_doubt=3, owed=4, acknowledged=5, running=6)
    now = replace(before, owed=0, running=1).after(before)
    assert now == Counters(2, 4, 6, 0, 10, 1)
