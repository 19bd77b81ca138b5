"""What a payment costs: the switch's CPU, in units of a bare grpc.aio pass-through's.

Both run beside each other on this machine, in turns (A B A B), each with its own nodes behind it.
The switch writes its SQLite journal with default settings; the
pass-through writes nothing, decides nothing and knows nothing. CPU is from process accounting, all
threads. Run with ``python -m benchmarks.cpu_ratio``; the last line is JSON.
"""

from __future__ import annotations

import base64
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from benchmarks.load import FRAME
from clients.process import Process

PROCESSOR, KEY_ID = "acme", "k1"


def configuration(primary: str, backup: str) -> str:
    """Return a configuration with two nodes of one ledger and default settings."""
    key = base64.b64encode(bytes(32)).decode()
    return f"""
switch_id = "bench"
journal = "sqlite:journal.db"
insecure = true

[listen]
terminals = "127.0.0.1:0"
operators = "127.0.0.1:0"

[processors.{PROCESSOR}]
card_keys = [{{ key_id = "{KEY_ID}", public_key = "{key}", not_after = 2099-01-01T00:00:00Z }}]

[nodes.acme-1]
processor = "{PROCESSOR}"
ledger = "acme"
address = "{primary}"

[nodes.acme-2]
processor = "{PROCESSOR}"
ledger = "acme"
address = "{backup}"
tier = 1

[[routes]]
processors = ["{PROCESSOR}"]
"""


def load(mode: str, address: str, count: int, outstanding: int) -> dict[str, Any]:
    """Run the load in a process of its own and return what it saw."""
    command = [sys.executable, "-m", "benchmarks.load", mode, address, PROCESSOR, KEY_ID]
    done = subprocess.run(
        [*command, str(count), str(outstanding)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    seen: dict[str, Any] = json.loads(done.stdout)
    if seen["approved"] != seen["sent"]:
        raise RuntimeError(f"void, not every payment was approved: {seen}")
    return seen


def cost_us(process: Process, mode: str, address: str, count: int, outstanding: int) -> float:
    """Return microseconds of the process's CPU per payment."""
    before = process.cpu_s()
    seen = load(mode, address, count, outstanding)
    return (process.cpu_s() - before) / float(seen["sent"]) * 1e6


def _interval(values: list[float]) -> str:
    return f"{statistics.median(values):.3g} [{min(values):.3g}, {max(values):.3g}]"


@click.command()
@click.option("--rounds", default=5, show_default=True, help="How often each is measured.")
@click.option("--count", default=6400, show_default=True, help="Unary payments a round.")
@click.option("--framed-count", default=32000, show_default=True, help="Framed payments a round.")
@click.option("--frames", default=1, show_default=True, help="Frames of 64 outstanding.")
def main(rounds: int, count: int, framed_count: int, frames: int) -> None:
    """Measure CPU per authorization of the switch, framed and unary, beside the pass-through."""
    framed_count -= framed_count % FRAME
    with ExitStack() as running:
        here = Path(running.enter_context(tempfile.TemporaryDirectory()))

        def start(name: str, *argv: str) -> Process:
            return running.enter_context(Process(*argv, log=here / f"{name}.log"))

        bare = start("bare-node", "benchmarks.passthrough", "node")
        proxy = start("proxy", "benchmarks.passthrough", "proxy", bare.ready["address"])
        socket = here / "ledger.sock"
        simulator = ("clients.simulator",)
        start(
            "ledger", *simulator, "ledger", "--name", "acme",
            "--file", str(here / "acme.db"), "--socket", str(socket),
        )  # fmt: skip
        primary, backup = (
            start(
                name, *simulator, "node", "--name", name,
                "--ledger-socket", str(socket), "--no-open",
            )
            for name in ("acme-1", "acme-2")
        )  # fmt: skip
        addresses = primary.ready["address"], backup.ready["address"]
        (here / "switch.toml").write_text(configuration(*addresses))
        switch = start("switch", "switch", "serve", str(here / "switch.toml"))
        terminals = switch.ready["terminals"]

        load("unary", proxy.ready["address"], 640, 64)
        load("framed", terminals, 6400, frames)
        costs: dict[str, list[float]] = {"pass_through": [], "framed": [], "unary": []}
        for _ in range(rounds):
            costs["pass_through"].append(cost_us(proxy, "unary", proxy.ready["address"], count, 64))
            costs["framed"].append(cost_us(switch, "framed", terminals, framed_count, frames))
            costs["unary"].append(cost_us(switch, "unary", terminals, count, 64))
    framed = [a / b for a, b in zip(costs["framed"], costs["pass_through"], strict=True)]
    unary = [a / b for a, b in zip(costs["unary"], costs["pass_through"], strict=True)]
    click.echo(f"{platform.platform()}, Python {platform.python_version()}, {rounds} rounds")
    click.echo("CPU µs per payment, median [least, most]; the pass-through does no journal,")
    click.echo("no idempotency and no reversal:")
    for name, values in costs.items():
        click.echo(f"  {name:<13}{_interval(values)}")
    click.echo(f"  framed / pass-through  {_interval(framed)}")
    click.echo(f"  unary / pass-through   {_interval(unary)}")
    click.echo(
        json.dumps(
            {
                "frames_outstanding": frames,
                "framed_cpu_ratio": round(statistics.median(framed), 4),
                "unary_cpu_ratio": round(statistics.median(unary), 4),
                **{f"{k}_us": round(statistics.median(v), 1) for k, v in costs.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
