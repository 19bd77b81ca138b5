"""The command line: ``payswitch simulator``. Each command loads only what it runs."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import click

from clients.simulator.latency import EXAMPLES, LatencyInvalid, latency_of

SOCKET_PATH_BYTES_MAX = 107
"""What a unix socket's address holds on Linux."""

FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(name="simulator")
def simulator() -> None:
    """A card processor to test against."""


@simulator.command()
@click.option("--name", required=True, help="The ledger, as the switch's configuration says it.")
@click.option("--file", type=FILE, required=True, help="The books (SQLite); made if missing.")
@click.option("--socket", type=FILE, required=True, help="The unix socket to serve nodes on.")
@click.option(
    "--synchronous",
    type=click.Choice(["normal", "full"]),
    default="normal",
    show_default=True,
    help="normal: what was answered outlives a kill; full: a power cut as well.",
)
def ledger(name: str, file: Path, socket: Path, synchronous: str) -> None:
    """Own a ledger's books and serve its nodes."""
    from clients.simulator import host

    if len(os.fsencode(socket)) > SOCKET_PATH_BYTES_MAX:
        raise click.UsageError(f"a unix socket's path has at most {SOCKET_PATH_BYTES_MAX} bytes")
    sys.exit(host.run(name, file, socket, synchronous))


@simulator.command()
@click.option("--name", required=True, help="The node; the books say who brought what.")
@click.option("--ledger-socket", type=FILE, required=True, help="Where its ledger's host serves.")
@click.option(
    "--address",
    default="127.0.0.1:0",
    show_default=True,
    help="Where to listen; port 0 takes a free one, named in the line that says ready.",
)
@click.option(
    "--key",
    "keys",
    type=FILE,
    multiple=True,
    help="A key file made by `payswitch simulator keys`; may be given again.",
)
@click.option("--no-open", is_flag=True, help="Leave envelopes closed; every key is known.")
@click.option("--latency", default="none", show_default=True, help=f"The issuer's: {EXAMPLES}.")
@click.option("--seed", default=0, show_default=True, help="Of what is drawn.")
@click.option("--no-repeat", is_flag=True, help="Say in HelloBack that repeats are not kept.")
@click.option("--sign-on", is_flag=True, help="Take items only after SignOn.")
def node(
    name: str,
    ledger_socket: Path,
    address: str,
    keys: tuple[Path, ...],
    no_open: bool,
    latency: str,
    seed: int,
    no_repeat: bool,
    sign_on: bool,
) -> None:
    """Speak NodeService before a ledger. Plain text: for loopback only."""
    from clients.simulator import node as process
    from clients.simulator.card import Key, KeyFileInvalid, KeyRing
    from clients.simulator.front_end import Profile

    if no_open == bool(keys):
        raise click.UsageError("give either --key, to open envelopes with, or --no-open")
    try:
        drawn = latency_of(latency, Random(seed))
        ring = None if no_open else KeyRing([Key.read(path) for path in keys])
    except (LatencyInvalid, KeyFileInvalid) as failure:
        raise click.UsageError(str(failure)) from failure
    profile = Profile(name, ring, accepts_repeat=not no_repeat, wants_sign_on=sign_on)
    sys.exit(process.run(profile, ledger_socket, address, drawn))


@simulator.command()
@click.option("--processor", required=True, help="The processor, as the switch names it.")
@click.option("--key-id", required=True, help="The key's id; it stands in each envelope.")
@click.option("--days", default=365, show_default=True, help="How long to seal to it.")
@click.argument("file", type=FILE)
def keys(processor: str, key_id: str, days: int, file: Path) -> None:
    """Make a key pair and write it to FILE."""
    from clients.simulator.card import Key

    try:
        Key.make(processor, key_id, datetime.now(UTC) + timedelta(days=days)).write(file)
    except FileExistsError as failure:
        raise click.UsageError(f"{file} exists; a key is never overwritten") from failure


@simulator.command()
def outcomes() -> None:
    """Print which amount ends how."""
    from clients.simulator.outcome import table

    click.echo(table(), nl=False)


def main(argv: list[str]) -> None:
    """Run one of the commands and exit."""
    simulator.main(argv, prog_name="payswitch simulator")


def ledger_main(argv: list[str]) -> None:
    """Run ``payswitch simulator ledger``."""
    main(["ledger", *argv])


def node_main(argv: list[str]) -> None:
    """Run ``payswitch simulator node``."""
    main(["node", *argv])
