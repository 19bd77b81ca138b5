"""The clients' part of the command line: ``payswitch sample …`` and ``payswitch audit ledgers``.

Every import that costs time stands inside the command that needs it.
"""

from __future__ import annotations

import os
import sys

import click

EXIT_REFUSED, EXIT_UNREACHABLE = 4, 5
DEFAULT_ADDRESS = "127.0.0.1:7100"


@click.group()
def sample() -> None:
    """Make synthetic payments: a day of sales, or one sealed request."""


@sample.command()
@click.option("--count", default=10, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same day.")
@click.option("--card-numbers", is_flag=True, help="Print the (synthetic) card numbers too.")
def traffic(count: int, seed: int, card_numbers: bool) -> None:
    """Print a synthetic day of sales, one JSON object a line."""
    import json

    from clients.traffic import day

    for sale in day(seed, count):
        click.echo(json.dumps(sale.as_json(card_numbers=card_numbers)))


@sample.command()
@click.option("--address", default=DEFAULT_ADDRESS, show_default=True, help="The switch.")
@click.option("--amount", "amount_minor", default=1250, show_default=True, help="In minor units.")
@click.option("--currency", default="EUR", show_default=True)
@click.option("--card", default="4111111111111111", show_default=True, help="A test card number.")
@click.option("--expiry", default="3512", show_default=True, help="YYMM")
@click.option("--terminal", "terminal_id", default="SAMPLE-1", show_default=True)
@click.option("--merchant", "merchant_id", default="SAMPLE", show_default=True)
@click.option("--request-id", default=None, help="A UUIDv7; a new one if left out.")
@click.option("--wait", "wait_s", default=3.0, show_default=True, help="For the switch, seconds.")
@click.option("--insecure", is_flag=True, help="Plain text to another machine.")
def request(
    address: str,
    amount_minor: int,
    currency: str,
    card: str,
    expiry: str,
    terminal_id: str,
    merchant_id: str,
    request_id: str | None,
    wait_s: float,
    insecure: bool,
) -> None:
    """Print one AuthorizeRequest as JSON, its card sealed to the keys of the switch at ADDRESS.

    A stock gRPC client can send it: pipe it to
    buf curl -d @- --protocol grpc --http2-prior-knowledge
    http://127.0.0.1:7100/payswitch.terminal.v1.TerminalService/Authorize
    """
    import asyncio

    from google.protobuf import json_format

    from clients.terminal import Card, Connection, Patience, Refused, Terminal

    async def make() -> str:
        # Somebody waits at a prompt: a second or two, not the patience of a sale.
        patience = Patience(timeout_s=min(wait_s, 2.0), total_s=wait_s)
        async with Connection(address, patience=patience, insecure=insecure) as connection:
            terminal = Terminal(
                connection,
                terminal_id,
                merchant_id=merchant_id,
                merchant_category_code="5999",
                country="FR",
            )
            sealed = await terminal.sealed_request(
                Card(card, expiry), amount_minor, currency, request_id=request_id
            )
        # The switch's own maximum is best here: whoever sends it has no time-out of ours.
        sealed.ClearField("timeout")
        return json_format.MessageToJson(sealed)

    try:
        click.echo(asyncio.run(make()))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except Refused as refused:
        unreachable = refused.reason == refused.status
        click.echo(f"the switch at {address}: {refused}", err=True)
        if unreachable:
            click.echo("is it running? start one with: payswitch sandbox", err=True)
        sys.exit(EXIT_UNREACHABLE if unreachable else EXIT_REFUSED)


@click.group()
def audit() -> None:
    """Judge what was written down."""


@audit.command(
    name="ledgers",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def audit_ledgers(arguments: tuple[str, ...]) -> None:
    """Compare the ledgers of terminals, switch and processors, to the cent."""
    # It judges us, so it shares nothing with us: not even this process.
    os.execv(sys.executable, [sys.executable, "-m", "clients.audit", *arguments])  # noqa: S606 - our own module
