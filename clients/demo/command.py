"""The command line: ``payswitch demo``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pathlib import Path

    from clients.demo.result import Result

EXIT_PASSED, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130
LAG_WORTH_SAYING_MS = 50.0
_SOCKET_ROOM = 80
"""What a folder's path may have, so that a unix socket in it can be named."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON on stdout.")
@click.option("--rate", default=400.0, show_default=True, type=click.FloatRange(1, 5000))
@click.option(
    "--seconds",
    default=30.0,
    show_default=True,
    type=click.FloatRange(6, 3600),
    help="Stretches or shortens the script.",
)
@click.option("--seed", default=1, show_default=True, help="Of the sample traffic.")
@click.option(
    "--ledgers",
    type=click.Choice(["shared", "separate"]),
    default="shared",
    show_default=True,
    help="One ledger behind both nodes, or one for each.",
)
@click.option("--keep", is_flag=True, help="Keep the folder with everything that was written.")
@click.option("--no-kill-switch", is_flag=True, help="Kill the primary node only.")
def demo(
    as_json: bool,
    rate: float,
    seconds: float,
    seed: int,
    ledgers: str,
    keep: bool,
    no_kill_switch: bool,
) -> None:
    """Kill nodes and the switch under load, and audit the money.

    Starts a ledger host, two nodes, a switch and many terminals as processes of this machine; they
    end with the command. Exits 0 only if three ledgers agree to the cent.
    """
    import asyncio
    import shutil

    from clients.demo.run import Interrupted, run
    from clients.demo.script import Script

    script = Script(
        seconds=seconds,
        rate=rate,
        seed=seed,
        separate_ledgers=ledgers == "separate",
        kill_switch=not no_kill_switch,
    )
    folder = _fresh_folder()
    try:
        result = asyncio.run(run(script, folder, as_lines=as_json))
    except Interrupted as interrupted:
        click.echo(str(interrupted), err=True)
        code = EXIT_INTERRUPTED
    else:
        _report(result, as_json=as_json)
        code = EXIT_PASSED if result.passed else EXIT_FAILED
    if keep or code == EXIT_FAILED:
        click.echo(f"everything is in {folder}", err=True)
    else:
        shutil.rmtree(folder)
    sys.exit(code)


def _fresh_folder() -> Path:
    """Make a temporary folder, with a path that leaves room for a unix socket's name."""
    import os
    import tempfile
    from pathlib import Path

    folder = Path(tempfile.mkdtemp(prefix="payswitch-demo-"))
    if len(os.fsencode(folder)) > _SOCKET_ROOM:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="payswitch-demo-", dir="/tmp"))
    return folder


def _report(result: Result, *, as_json: bool) -> None:
    """Say what came of it: figures, problems, and the verdict last."""
    click.echo("", err=as_json)
    for name, figure in result.rows():
        click.echo(f"{name.replace('_', ' '):<24} {figure}", err=as_json)
    lag_ms = (result.generator_lag_ms or {}).get("max", 0.0)
    if lag_ms > LAG_WORTH_SAYING_MS:
        click.echo(
            f"\nThe terminals' own processes fell behind their schedule by up to {lag_ms:.0f} ms:"
            "\nthis machine is busy. Latencies count from the schedule, so they hold that too.",
            err=as_json,
        )
    for problem in result.problems:
        click.secho(f"PROBLEM: {problem}", fg="red", err=as_json)
    if result.passed:
        verdict = "PASSED: the ledgers of terminals, switch and processors agree to the cent"
        click.secho(f"\n{verdict}", fg="green", bold=True, err=as_json)
    else:
        click.secho("\nFAILED", fg="red", bold=True, err=as_json)
    if as_json:
        click.echo(result.as_json())
