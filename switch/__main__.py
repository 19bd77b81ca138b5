"""The command line: one table of names, and the only place that knows every room.

Nothing is imported before it is asked for, so that ``payswitch --help`` answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

import click


class _Entry(NamedTuple):
    """Where a command lives, and its line in the help."""

    place: str
    """module:attribute, a click command."""
    help: str


COMMANDS: dict[str, _Entry] = {
    "serve": _Entry("switch.app:serve", "Run the switch."),
    "demo": _Entry("clients.demo:demo", "Kill nodes under load and audit the money."),
    "sandbox": _Entry(
        "clients.demo.sandbox:sandbox", "Run a switch and a simulated processor to play with."
    ),
    "config": _Entry("switch.app:config", "Check or show a configuration."),
    "sample": _Entry("clients.commands:sample", "Make synthetic requests and traffic."),
    "audit": _Entry("clients.commands:audit", "Compare the ledgers of a run, to the cent."),
    "simulator": _Entry("clients.simulator.commands:simulator", "Run a simulated processor."),
    "version": _Entry("switch.app:version", "Show the version."),
}


class _Lazy(click.Group):
    """A group whose commands are imported when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, attribute = entry.place.split(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command), f"{entry.place} is no command"
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help from the table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """A payment switch: no card charged twice, no approval lost."""


if __name__ == "__main__":
    main()
