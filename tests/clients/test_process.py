"""Child processes: ready, ended, killed, and never left behind."""

import asyncio
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from clients.process import NotReady, Process


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "child.log"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that a child can be: it says what it is told, and does as it is told."""
    (tmp_path / "the_child.py").write_text(
        textwrap.dedent("""
            import json, signal, sys, time

            if "broken" in sys.argv:
                sys.exit("the child is broken")
            if "deaf" in sys.argv:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            else:
                signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
            print("not json, and to be passed over")
            print(json.dumps({"ready": True, "arguments": sys.argv[1:]}), flush=True)
            for line in sys.stdin:
                print(line.upper(), end="", flush=True)
            time.sleep(60)
        """)
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "the_child"


def lives(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status[status.rindex(")") + 2] != "Z"


def test_a_child_is_the_program_with_its_arguments_and_says_when_it_is_ready(
    program: str, log: Path
) -> None:
    with Process(program, "one", "two", log=log) as child:
        assert child.ready["arguments"] == ["one", "two"]
        assert child.exit_code is None
    assert child.exit_code == 3


def test_a_child_that_ends_before_it_is_ready_shows_why(program: str, log: Path) -> None:
    with pytest.raises(NotReady, match="the child is broken"), Process(program, "broken", log=log):
        pass


def test_a_child_that_listens_is_told_lines_of_json(program: str, log: Path) -> None:
    with Process(program, log=log, listens=True) as child:
        child.tell({"hello": 1})
        assert child.output.readline() == b'{"HELLO": 1}\n'


def test_telling_a_child_that_is_gone_does_no_harm(program: str, log: Path) -> None:
    with Process(program, log=log, listens=True) as child:
        signal_and_wait(child)
        child.tell({"hello": 1})


def signal_and_wait(child: Process) -> None:
    child.ask_to_end()
    assert child.wait(5.0) == 3


def test_a_killed_child_is_gone_at_once(program: str, log: Path) -> None:
    child = Process(program, log=log)
    child.wait_ready()
    child.kill()
    assert child.exit_code == -signal.SIGKILL


def test_a_child_that_does_not_hear_is_made_to_end(program: str, log: Path) -> None:
    child = Process(program, "deaf", log=log, listens=True)
    child.wait_ready()
    assert child.end(within_s=0.1) == -signal.SIGKILL


def test_a_child_does_not_get_the_ctrl_c_of_its_parents_terminal(program: str, log: Path) -> None:
    with Process(program, log=log) as child:
        group = int(Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()[2])
        assert group == child.pid


async def test_whoever_waits_in_a_thread_is_told_when_another_ends_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Path
) -> None:
    (tmp_path / "silent.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    child = Process("silent", log=log)
    waiting = asyncio.create_task(asyncio.to_thread(child.wait_ready))
    await asyncio.sleep(0.05)
    child.kill()
    with pytest.raises(NotReady):
        await waiting


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_child_ends_with_its_parent_however_that_ended(program: str, log: Path) -> None:
    parent = textwrap.dedent(f"""
        import os, signal, sys
        from pathlib import Path
        from clients.process import Process

        child = Process({program!r}, "deaf", log=Path({str(log)!r}), listens=True)
        child.wait_ready()
        print(child.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    ended = subprocess.run(
        [sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    until = time.monotonic() + 5.0
    while lives(int(ended.stdout)):
        assert time.monotonic() < until
        time.sleep(0.02)
