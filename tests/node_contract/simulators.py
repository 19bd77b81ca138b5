"""Simulator processes for tests: ledger hosts and nodes, started, killed and stopped for real."""

from __future__ import annotations

import json
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from clients.simulator.card import Key
from tests.node_contract.peer import Target

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 15.0


class Process:
    """One process that says when it is ready."""

    def __init__(self, *arguments: str) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "clients.simulator", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready: dict[str, Any] = json.loads(self._first_line())

    @property
    def address(self) -> str:
        """Where it serves."""
        return str(self.ready["address"])

    def is_running(self) -> bool:
        """Tell whether it has not ended."""
        return self._popen.poll() is None

    def kill(self) -> int:
        """End it as a fault would."""
        return self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        return self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Let it hang."""
        self._popen.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._popen.send_signal(signal.SIGCONT)

    def ask_to_stop(self) -> None:
        """Ask it to end, without waiting."""
        self._popen.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Wait for its end; return its exit code."""
        code = self._popen.wait(READY_WITHIN_S)
        if self._popen.stdout is not None:
            self._popen.stdout.close()
        return code

    def _end(self, number: signal.Signals) -> int:
        if self.is_running():
            self._popen.send_signal(number)
        return self.wait()

    def _first_line(self) -> str:
        assert self._popen.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._popen.stdout, selectors.EVENT_READ)
            selector.select(READY_WITHIN_S)
        line = self._popen.stdout.readline() if self._popen.poll() is None else ""
        if not line:
            self.kill()
            raise AssertionError(f"not ready: {self._popen.args!r}")
        return line


class Simulators:
    """One ledger with as many nodes as a test wants, in a folder of their own."""

    def __init__(self, key: Key, *, ledger: str = "acme") -> None:
        # Not pytest's own folder: a unix socket's path has to be short.
        self.folder = Path(tempfile.mkdtemp(prefix="sim-"))
        self.books = self.folder / "books"
        self.ledger = ledger
        self.key = key
        self._key_file = self.folder / "key.json"
        self._running: list[Process] = []
        key.write(self._key_file)

    def start_host(self, *arguments: str) -> Process:
        """Start the ledger's host."""
        return self._start(
            "ledger",
            *("--name", self.ledger),
            *("--file", str(self.books)),
            *("--socket", str(self.folder / "socket")),
            *arguments,
        )

    def start_node(self, name: str, *arguments: str) -> Process:
        """Start a node that opens envelopes."""
        return self.start_blind_node(name, "--key", str(self._key_file), *arguments, opens=True)

    def start_blind_node(self, name: str, *arguments: str, opens: bool = False) -> Process:
        """Start a node that opens nothing."""
        return self._start(
            "node",
            *("--name", name),
            *("--ledger-socket", str(self.folder / "socket")),
            *(() if opens else ("--no-open",)),
            *arguments,
        )

    def target(self, *nodes: Process) -> Target:
        """Return the suite's target for these nodes."""
        addresses = tuple(node.address for node in nodes)
        return Target(addresses, self.key.key_id, self.key.public_key)

    def close(self) -> None:
        """End what runs and remove the folder."""
        for process in reversed(self._running):
            process.kill()
        shutil.rmtree(self.folder)

    def _start(self, *arguments: str) -> Process:
        process = Process(*arguments)
        self._running.append(process)
        return process
