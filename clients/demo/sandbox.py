"""A world of payments that stays: a switch with a simulated processor behind it, to play with."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from pathlib import Path

import click

from clients.demo.site import Site, SiteSettings
from clients.process import NotReady


@click.command()
@click.option(
    "--terminals", default="127.0.0.1:7100", show_default=True, help="Where the switch listens."
)
@click.option(
    "--operators", default="127.0.0.1:7101", show_default=True, help="Where operators ask."
)
@click.option(
    "--ledgers",
    type=click.Choice(["shared", "separate"]),
    default="shared",
    show_default=True,
    help="One ledger behind both nodes, or one for each.",
)
def sandbox(terminals: str, operators: str, ledgers: str) -> None:
    """Run a switch, two nodes and their ledger until Ctrl-C.

    The amount of a payment chooses how the simulated processor answers: see
    ``payswitch simulator outcomes``.
    """
    settings = SiteSettings(
        separate_ledgers=ledgers == "separate",
        terminals_address=terminals,
        operators_address=operators,
    )
    with tempfile.TemporaryDirectory(prefix="payswitch-") as folder:
        try:
            asyncio.run(_stay(Site(Path(folder), settings)))
        except NotReady as fault:
            raise click.ClickException(str(fault)) from fault


async def _stay(site: Site) -> None:
    enough = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, enough.set)
    try:
        await site.open()
        click.echo(f"terminals  {site.terminals_address}")
        click.echo(f"operators  {site.operators_address}")
        click.echo(f"processes  {', '.join(f'{n} {p.pid}' for n, p in site.running.items())}")
        click.echo(f"everything is in {site.folder}, and goes when you press Ctrl-C")
        await enough.wait()
        await site.close()
    finally:
        site.abandon()
