"""The switch as a process: how it starts, refuses to, and ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.app.test_config import GOOD, written

PORTS = '\n[listen]\nterminals = "127.0.0.1:0"\noperators = "127.0.0.1:0"\n'


_HELP = """
import sys
from switch.__main__ import main
try:
    main(["--help"])
except SystemExit:
    pass
print([name for name in ("grpc", "apsw", "rich", "structlog") if name in sys.modules])
"""


def serve(configuration: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "switch", "serve", str(configuration)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "switch", *arguments], capture_output=True, text=True, check=False
    )


def test_it_says_where_it_listens_and_ends_politely_when_told_to(tmp_path: Path) -> None:
    with serve(written(tmp_path, GOOD + PORTS)) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready["ready"]
        assert ready["epoch"] == 1
        assert not ready["terminals"].endswith(":0")
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0


def test_each_start_begins_a_new_epoch(tmp_path: Path) -> None:
    configuration = written(tmp_path, GOOD + PORTS)
    epochs = []
    for _ in range(2):
        with serve(configuration) as process:
            assert process.stdout is not None
            epochs.append(json.loads(process.stdout.readline())["epoch"])
            process.kill()
    assert epochs == [1, 2]


def test_a_second_switch_on_one_journal_is_refused_in_one_sentence(tmp_path: Path) -> None:
    configuration = written(tmp_path, GOOD + PORTS)
    with serve(configuration) as process:
        assert process.stdout is not None
        process.stdout.readline()
        second = run("serve", str(configuration))
        process.send_signal(signal.SIGTERM)
        process.wait(15)
    assert second.returncode == 1
    assert "Traceback" not in second.stderr
    assert second.stderr.startswith("Error: ")


def test_a_bad_configuration_is_refused_without_a_trace(tmp_path: Path) -> None:
    refused = run("serve", str(written(tmp_path, GOOD.replace("tier = 1", "teir = 1"))))
    assert refused.returncode == 1
    assert 'did you mean "tier"?' in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "journal.db").exists()


def test_a_configuration_can_be_checked_without_running_it(tmp_path: Path) -> None:
    good = run("config", "check", str(written(tmp_path, GOOD)))
    assert good.returncode == 0
    assert "nothing wrong" in good.stdout
    bad = run("config", "check", str(written(tmp_path, "switch_id = 1")))
    assert bad.returncode == 1


def test_a_taken_port_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with serve(written(tmp_path, GOOD + PORTS)) as process:
        assert process.stdout is not None
        taken = json.loads(process.stdout.readline())["terminals"]
        (tmp_path / "other").mkdir()
        other = written(
            tmp_path / "other",
            GOOD + f'\n[listen]\nterminals = "{taken}"\noperators = "127.0.0.1:0"\n',
        )
        refused = run("serve", str(other))
        process.kill()
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith("Error: ")
    assert taken in refused.stderr


def test_help_names_every_command_without_importing_any() -> None:
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            _HELP,
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.strip().endswith("[]")
    assert "serve" in said
