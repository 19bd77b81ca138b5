"""Child processes: each says when it is ready, is ended by its own id, and outlives nobody.

A child is started through this module's own command line, which asks the kernel (Linux only) to
kill it when its parent is gone, however the parent went, and then becomes the program it is to be.
It lives in a session of its own, so that Ctrl-C at the terminal reaches the parent alone, and the
parent decides what is ended, and in which order.
"""

from __future__ import annotations

import json
import os
import runpy
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

READY_WITHIN_S = 15.0
_PR_SET_PDEATHSIG = 1
_READ_EVERY_S = 0.5


class NotReady(RuntimeError):
    """A child ended, or time did, before it said that it was ready. The text shows its errors."""


class Process:
    """A child that says one line of JSON with ``"ready": true`` when it can be used."""

    def __init__(
        self,
        *argv: str,
        log: Path,
        env: Mapping[str, str] | None = None,
        listens: bool = False,
    ) -> None:
        """Start ``python -m argv``; its standard error goes to ``log``.

        With ``listens`` it can be told things over its standard input. The kernel takes the end of
        the *thread* that calls this for the parent's, so call it from one that stays.
        """
        self.argv = argv
        self.log = log
        self._ready: dict[str, Any] | None = None
        with log.open("ab") as errors:
            self._popen = subprocess.Popen(  # noqa: S603 - our own programs
                [sys.executable, "-m", __name__, str(os.getpid()), *argv],
                bufsize=0,
                stdout=subprocess.PIPE,
                stderr=errors,
                stdin=subprocess.PIPE if listens else subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, **(env or {})},
            )
        self._started_at = time.monotonic()
        self.ready_after_s: float | None = None
        """How long it took to get ready; None while it is not."""

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._popen.pid

    @property
    def ready(self) -> dict[str, Any]:
        """Return its ready line, and wait for it the first time."""
        return self._ready if self._ready is not None else self.wait_ready()

    @property
    def exit_code(self) -> int | None:
        """Return how it ended (negative: the signal that ended it), or None while it runs."""
        return self._popen.poll()

    @property
    def output(self) -> IO[bytes]:
        """What it says after its ready line."""
        assert self._popen.stdout is not None
        return self._popen.stdout

    def wait_ready(self, within_s: float = READY_WITHIN_S) -> dict[str, Any]:
        """Wait for the ready line. Raises NotReady; ending the child is up to the caller."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            try:
                if not select.select([self.output], [], [], _READ_EVERY_S)[0]:
                    continue
                line = self.output.readline()
            except (OSError, ValueError):
                break  # It is being ended from another thread.
            if not line:
                break
            if line.startswith(b"{"):
                said: dict[str, Any] = json.loads(line)
                if said.get("ready"):
                    self._ready = said
                    self.ready_after_s = time.monotonic() - self._started_at
                    return said
        told = self.log.read_text(errors="replace")[-2000:]
        raise NotReady(f"{' '.join(self.argv)} did not get ready: {told}")

    def tell(self, what: Mapping[str, Any]) -> None:
        """Write a line of JSON to its standard input, if it is still there to read it."""
        assert self._popen.stdin is not None, "started without listens"
        try:
            self._popen.stdin.write(json.dumps(what).encode() + b"\n")
        except BrokenPipeError:
            return

    def kill(self) -> None:
        """End it with SIGKILL, and return when it is gone."""
        self._popen.kill()
        self._popen.wait()
        self._close()

    def wait(self, within_s: float) -> int | None:
        """Wait until it has ended by itself; return its exit code, or None if it has not."""
        try:
            return self._popen.wait(within_s)
        except subprocess.TimeoutExpired:
            return None

    def ask_to_end(self) -> None:
        """Send SIGTERM, and do not wait."""
        if self._popen.poll() is None:
            self._popen.terminate()

    def end(self, within_s: float = 10.0) -> int:
        """Ask it to end (SIGTERM), then make it; return its exit code."""
        self.ask_to_end()
        if self.wait(within_s) is None:
            self._popen.kill()
        code = self._popen.wait()
        self._close()
        return code

    def cpu_s(self) -> float:
        """Return the CPU seconds it has used, all threads, user and system."""
        text = Path(f"/proc/{self.pid}/stat").read_text()
        after_name = text[text.rindex(")") + 2 :].split()
        return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """Return its resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def _close(self) -> None:
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Process:
        """Return it when it is ready; end it if it does not get there."""
        try:
            self.wait_ready()
        except NotReady:
            self.end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self.end()


def _die_with(parent: int) -> None:
    """Have this process killed when its parent ends; end now if that has happened already."""
    if sys.platform == "linux":
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit("the parent is gone")


def main(argv: list[str]) -> None:
    """Become ``python -m MODULE ARGUMENTS…``, as a child of PARENT."""
    parent, module, *arguments = argv
    _die_with(int(parent))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
