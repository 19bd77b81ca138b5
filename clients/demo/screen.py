"""The board, drawn: a live table for a terminal of 80 columns, or lines for everything else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

from clients.demo.board import Board

if TYPE_CHECKING:
    from rich.console import Group

LOG_LINES_MAX = 12
REFRESHES_PER_S = 4
_LINE_EVERY_S = 2.0
_WIDTH = 80


class Screen(Protocol):
    """Where a show is watched."""

    def draw(self, board: Board) -> None:
        """Show the board as it is now; called a few times a second."""
        ...


class Lines:
    """Plain text: a line for whatever happens, and every two seconds one for how things stand."""

    def __init__(self, to: TextIO) -> None:
        """Write to ``to``."""
        self._to = to
        self._told = 0
        self._next_s = 0.0

    def draw(self, board: Board) -> None:
        """Write what is new."""
        told = board.chronicle.sentences
        for at_s, text in told[self._told :]:
            self._write(at_s, text)
        self._told = len(told)
        at_s = board.chronicle.at_s
        if at_s is not None and at_s >= self._next_s:
            self._next_s = at_s + _LINE_EVERY_S
            self._write(at_s, f"  {_in_a_line(board)}")

    def _write(self, at_s: float | None, text: str) -> None:
        self._to.write(f"{_second(at_s)} {text}\n")
        self._to.flush()


class Table:
    """A live table."""

    def __init__(self) -> None:
        """Draw on standard output."""
        from rich.console import Console
        from rich.live import Live

        console = Console(width=_WIDTH)
        self.live = Live(console=console, auto_refresh=False, redirect_stderr=False)

    def draw(self, board: Board) -> None:
        """Replace what was drawn before."""
        self.live.update(_drawn(board), refresh=True)


@contextmanager
def screen(*, as_lines: bool, to: TextIO) -> Iterator[Screen]:
    """Open a screen; the last state stays to be seen."""
    if as_lines or not sys.stdout.isatty():
        yield Lines(to)
        return
    table = Table()
    with table.live:
        yield table


def _second(at_s: float | None) -> str:
    return "       " if at_s is None else f"{at_s:5.1f} s"


def _in_a_line(board: Board) -> str:
    figures = _of_terminals(board) | _of_switch(board)
    nodes = ", ".join(f"{n.name} {n.link}/{n.breaker} {n.rate:.0f}/s" for n in board.nodes)
    if not board.switch_answers:
        nodes = "the switch does not answer"
    return "; ".join([*(f"{name} {count:,}" for name, count in figures.items()), nodes])


def _of_terminals(board: Board) -> dict[str, int]:
    progress = board.progress
    return {
        "sent": progress.sent,
        "approved": progress.approved,
        "declined": progress.declined,
        "refused": progress.refused,
        "waiting": progress.sent - progress.answered - progress.refused - progress.unanswered,
        "unanswered": progress.unanswered,
    }


def _of_switch(board: Board) -> dict[str, int]:
    counters = board.counters
    return {
        "failed over": counters.failed_over,
        "repeated": counters.repeated,
        "in doubt": counters.in_doubt,
        "owed": counters.owed,
        "acknowledged": counters.acknowledged,
    }


def _drawn(board: Board) -> Group:
    from rich.console import Group
    from rich.table import Table as Grid
    from rich.text import Text

    nodes = Grid(expand=True, box=None, padding=(0, 1, 0, 0), header_style="bold")
    for name in ("node", "tier", "link", "breaker"):
        nodes.add_column(name)
    for name in ("in flight", "per s", "p50 ms", "p99 ms"):
        nodes.add_column(name, justify="right")
    for node in board.nodes:
        style = "" if node.usable else "red"
        if not board.switch_answers:
            style = "dim"
        nodes.add_row(
            *(node.name, str(node.tier), node.link, node.breaker),
            *(f"{node.in_flight} / {node.limit}", f"{node.rate:.0f}"),
            *(f"{node.p50_ms:.1f}", f"{node.p99_ms:.1f}"),
            style=style,
        )
    payments = Grid(expand=True, box=None, padding=(0, 1, 0, 0), show_header=False)
    rows = [_of_terminals(board), _of_switch(board)]
    for _ in range(max(map(len, rows))):
        payments.add_column(justify="right")
    for row in rows:
        payments.add_row(*row, style="bold")
        payments.add_row(*(f"{count:,}" for count in row.values()))
    log = Text()
    for at_s, text in board.chronicle.sentences[-LOG_LINES_MAX:]:
        log.append(f"{_second(at_s)} ", style="dim")
        log.append(f"{text}\n")
    return Group(
        Text(f"payswitch: {board.headline()}", style="bold"),
        Text(board.terms(), style="dim"),
        Text(""),
        nodes,
        Text(""),
        payments,
        Text(""),
        log,
        Text(f"{_second(board.chronicle.at_s)} {board.upcoming()}", style="bold yellow"),
    )
