"""A whole world of payments on this machine: ledger hosts, nodes and a switch, as processes.

Everything stands in one folder: the configuration, the card key, the books, the journal, and what
each process said on its standard error. Processes are started and ended by name; nothing else is
ever signalled.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from clients.demo.ports import LOOPBACK, free_ports
from clients.process import Process
from clients.simulator.card import Key

PRIMARY, BACKUP, SWITCH = "primary", "backup", "switch"
NODES = (PRIMARY, BACKUP)
_PROCESSOR, _KEY_ID = "acme", "acme-demo"
_END_WITHIN_S = 15.0
_HURRY_WITHIN_S = 1.0


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """What kind of world."""

    separate_ledgers: bool = False
    """Each node has a ledger of its own, so that they cannot stand in for each other."""
    hold_down_s: float = 2.0
    """For the hold-down of a node that comes back, the ramp after it, and between two returns."""
    latency: str = "lognormal:p50=8ms,p99=40ms"
    """How long the simulated issuer thinks."""
    seed: int = 1
    terminals_address: str = ""
    """Empty: a port that is free."""
    operators_address: str = ""


class Site:
    """The processes of one world."""

    def __init__(self, folder: Path, settings: SiteSettings) -> None:
        """Choose the ports and write the configuration and the card key; nothing is started."""
        self.folder = folder
        self.settings = settings
        self.running: dict[str, Process] = {}
        self.configuration = folder / "switch.toml"
        self.journal = folder / "journal.db"
        self.ledgers = (
            {name: f"acme-{name}" for name in NODES}
            if settings.separate_ledgers
            else dict.fromkeys(NODES, "acme-books")
        )
        """By node."""
        numbers = free_ports(4, Random())
        addresses = [f"{LOOPBACK}:{number}" for number in numbers]
        self.terminals_address = settings.terminals_address or addresses[0]
        self.operators_address = settings.operators_address or addresses[1]
        self._node_addresses = dict(zip(NODES, addresses[2:], strict=True))
        self._key = folder / "card-key.json"
        self._make_key()
        self.configuration.write_text(self._configuration(), encoding="utf-8")

    @property
    def books(self) -> list[Path]:
        """The ledgers' files."""
        return [self._books_of(ledger) for ledger in sorted(set(self.ledgers.values()))]

    @property
    def hosts(self) -> list[str]:
        """The names of the ledger hosts' processes."""
        return sorted(set(self.ledgers.values()))

    async def open(self) -> dict[str, Any]:
        """Start everything; return what the switch said when it was ready."""
        await asyncio.gather(*(self.start(name) for name in self.hosts))
        await asyncio.gather(*(self.start(name) for name in NODES))
        return (await self.start(SWITCH)).ready

    async def start(self, name: str) -> Process:
        """Start one process and wait until it is ready. Raises NotReady."""
        return await self.run(name, *self._command(name))

    async def run(self, name: str, *argv: str, listens: bool = False) -> Process:
        """Start a further program in this world and wait until it is ready. Raises NotReady."""
        assert name not in self.running, f"{name} runs already"
        process = Process(*argv, log=self.folder / f"{name}.log", listens=listens)
        self.running[name] = process
        await asyncio.to_thread(process.wait_ready)
        return process

    def kill(self, name: str) -> Process:
        """End one process with SIGKILL; return it when it is gone."""
        process = self.running.pop(name)
        process.kill()
        return process

    async def stop(self, name: str) -> int:
        """End one process politely; return its exit code."""
        process = self.running.pop(name)
        return await asyncio.to_thread(process.end, _END_WITHIN_S)

    async def close(self) -> dict[str, int]:
        """End all politely, those that ask before those that answer; return the exit codes."""
        codes: dict[str, int] = {}
        others = [name for name in self.running if name not in (SWITCH, *NODES, *self.hosts)]
        for names in (others, (SWITCH,), NODES, self.hosts):
            known = [name for name in names if name in self.running]
            ended = await asyncio.gather(*(self.stop(name) for name in known))
            codes |= dict(zip(known, ended, strict=True))
        return codes

    def abandon(self) -> list[int]:
        """End all that still run, at once if they do not hear; return their ids."""
        left, self.running = list(self.running.values()), {}
        for process in left:
            process.ask_to_end()
        for process in left:
            process.end(_HURRY_WITHIN_S)
        return [process.pid for process in left]

    def dead(self) -> list[str]:
        """Name the processes that have ended though nobody ended them."""
        return [name for name, process in self.running.items() if process.exit_code is not None]

    def _command(self, name: str) -> tuple[str, ...]:
        if name == SWITCH:
            return ("switch", "serve", str(self.configuration))
        if name in NODES:
            return (
                *("clients.simulator", "node", "--name", name),
                *("--ledger-socket", self._socket_of(self.ledgers[name])),
                *("--address", self._node_addresses[name], "--key", str(self._key)),
                *("--latency", self.settings.latency, "--seed", str(self.settings.seed)),
            )
        return (
            *("clients.simulator", "ledger", "--name", name),
            *("--file", str(self._books_of(name)), "--socket", self._socket_of(name)),
        )

    def _books_of(self, ledger: str) -> Path:
        return self.folder / f"{ledger}.db"

    def _socket_of(self, ledger: str) -> str:
        # As short as can be: a unix socket's path has 107 bytes.
        return os.fspath(self.folder / f"{ledger}.sock")

    def _make_key(self) -> None:
        Key.make(_PROCESSOR, _KEY_ID, datetime.now(UTC) + timedelta(days=1)).write(self._key)

    def _configuration(self) -> str:
        key = json.loads(self._key.read_text(encoding="utf-8"))
        nodes = "\n".join(
            f"""\
[nodes.{name}]
processor = "{_PROCESSOR}"
ledger = "{self.ledgers[name]}"
address = "{self._node_addresses[name]}"
tier = {tier}
"""
            for tier, name in enumerate(NODES)
        )
        return f"""\
# Written by payswitch demo or payswitch sandbox.
switch_id = "demo"
journal = "sqlite:{self.journal.name}"
insecure = true # plain text, which is allowed on loopback only

[listen]
terminals = "{self.terminals_address}"
operators = "{self.operators_address}"

# Short, so that a node comes back while somebody watches. The defaults are 30, 60 and 30 s.
[routing.hold_down]
hold_s = {self.settings.hold_down_s}
failback_every_s = {self.settings.hold_down_s}

[routing.limiter]
ramp_s = {self.settings.hold_down_s}

[processors.{_PROCESSOR}]

[[processors.{_PROCESSOR}.card_keys]]
key_id = "{_KEY_ID}"
public_key = "{key["public_key"]}"
not_after = {key["not_after"]}

{nodes}
[[routes]]
processors = ["{_PROCESSOR}"]
"""
