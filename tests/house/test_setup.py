"""`make setup` says in one line what is missing, before it begins."""

import sys
from pathlib import Path

import pytest

from tests.house.house import House

OLD = """\
#!/bin/sh
[ "$1" = -V ] && echo 'Python 3.9.18'
case "$2" in *version_info*) exit 1 ;; esac
"""

WITHOUT_VENV = f"""\
#!/bin/sh
case "$2" in *ensurepip*) exit 1 ;; esac
exec {sys.executable} "$@"
"""


@pytest.mark.parametrize(
    ("python", "answer"),
    [
        (None, "there is no"),
        (OLD, "Python 3.9.18: install a newer one"),
        (WITHOUT_VENV, "apt-get install python3-venv"),
    ],
    ids=["no Python", "an old Python", "no venv"],
)
def test_setup_refuses(house: House, tmp_path: Path, python: str | None, answer: str) -> None:
    interpreter = tmp_path / "python"
    if python is not None:
        interpreter.write_text(python, encoding="utf-8")
        interpreter.chmod(0o755)
    result = house.run("make", "setup", f"PYTHON={interpreter}")
    line, failure = result.stdout.splitlines()
    assert answer in line
    assert failure.startswith("make: ***")
    assert result.returncode != 0


def test_a_complete_environment_is_left_alone(house: House) -> None:
    house.write(".venv/complete", "")
    result = house.run("make", "setup", "PYTHON=false")
    assert result.returncode == 0
    assert "setup:" not in result.stdout
