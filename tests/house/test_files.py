"""What no file of the house may hold, and what each must."""

import ast
import re
from pathlib import Path

import pytest

from tests.house.house import GENERATED, ROOT, house_files

# Home folders and build workspaces: the places that exist on one machine only.
ONE_MACHINE = re.compile(r"(?<![\w.~-])/(?:home|Users|root|work|workspace|builds)(?![\w.-])")
# Spelled in halves, so that this file may be searched too.
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|NotImplemented" + r"Error)\b")


def searched(pattern: re.Pattern[str]) -> list[str]:
    """List where a pattern stands in the text files of the house."""
    found = []
    for path in house_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # an image
        for number, line in enumerate(text.splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    return found


def test_no_file_names_a_place_on_one_machine() -> None:
    assert searched(ONE_MACHINE) == []


def test_nothing_is_left_unfinished() -> None:
    assert searched(UNFINISHED) == []


@pytest.mark.parametrize(
    "path",
    [*house_files(".py"), *GENERATED.rglob("__init__.py")],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_every_module_begins_with_a_sentence_of_purpose(path: Path) -> None:
    head = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert head, "no docstring"
    assert head.splitlines()[0].endswith((".", "?", ":")), head.splitlines()[0]
