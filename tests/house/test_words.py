"""An exception to a rule opens one word in one file, and says why.

Ruff's per-file exceptions switch the word ban off for a whole file. Here the ban is run without
them, and what it finds is held against the words each file was excepted for.
"""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.house.house import ROOT, SCRIPTS, house_files

MAY_SAY = {
    "switch/clock.py": {
        "time.monotonic",
        "time.time",
        "time.time_ns",
        "datetime.datetime.now",
        "asyncio.sleep",
    },
    "switch/app.py": {
        "asyncio.TaskGroup",
        "asyncio.create_task",
        "os.urandom",
        "random.SystemRandom",
        "secrets",
    },
    "switch/config.py": {"os.environ"},
}

# After the codes comes why: behind a dash, or in a second comment, as mypy wants it.
EXCEPTION = re.compile(r"# (?:noqa|type: ignore|pragma: no).*?(?: (?:-|#) (?P<why>\w.*))?$")


def test_an_excepted_file_says_only_the_words_it_was_excepted_for() -> None:
    ruff = subprocess.run(
        [
            SCRIPTS / "ruff",
            "check",
            "--select=TID251",
            "--config=lint.per-file-ignores={}",
            "--output-format=json",
            "switch",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    said = {
        (finding["filename"].removeprefix(f"{ROOT}/"), finding["message"].split("`")[1])
        for finding in json.loads(ruff.stdout)
    }
    assert {(file, word) for file, word in said if word not in MAY_SAY.get(file, ())} == set()


@pytest.mark.parametrize("path", house_files(".py"), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_exception_in_a_line_says_why(path: Path) -> None:
    unexplained = [
        f"{number}: {line.strip()}"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if (exception := EXCEPTION.search(line)) and not exception["why"]
    ]
    assert unexplained == []
