"""The pages that repeat what the code says are what the code says now."""

import re

import pytest

from docs.generate import DOCS, PAGES
from switch.core.transaction import TABLE, diagram
from switch.errors import REASONS
from tests.house.house import House


def read(path: str) -> str:
    """Read a committed page."""
    return (DOCS / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PAGES)
def test_a_generated_page_is_fresh(path: str) -> None:
    assert read(path) == PAGES[path](), f"docs/{path} is stale: run `make docs`"


def test_the_diagram_of_the_life_cycle_is_the_one_of_the_table() -> None:
    (drawn,) = re.findall(
        r"^```mermaid\n(.*?)^```$", read("life-cycle.md"), re.DOTALL | re.MULTILINE
    )
    assert drawn == diagram()


def test_every_transition_stands_in_the_page_of_the_life_cycle() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \|", read("life-cycle.md"), re.MULTILINE)
    written = {(state, event): then for state, event, then in rows}
    assert written == {(s.name, e.name): step.state.name for (s, e), step in TABLE.items()}
    assert len(rows) == len(TABLE)


def test_every_reason_is_documented() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", read("reference/errors.md"), re.MULTILINE)
    assert rows == [(name, reason.status) for name, reason in REASONS.items()]


def test_make_docs_writes_what_is_stale_and_leaves_the_rest(house: House) -> None:
    house.bring("docs", "switch")
    house.replace("docs/life-cycle.md", "# The life of an attempt", "# The lief of an attempt")
    (house.root / "docs/reference/errors.md").unlink()
    result = house.make("docs")
    assert result.returncode == 0, result.stdout
    assert "wrote docs/life-cycle.md" in result.stdout
    assert "wrote docs/reference/errors.md" in result.stdout
    assert "response-codes" not in result.stdout
    for path in PAGES:
        assert (house.root / "docs" / path).read_text(encoding="utf-8") == PAGES[path]()
