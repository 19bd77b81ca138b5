"""Every dependency is pinned, and every one we chose has a reason."""

import re
import tomllib

from tests.house.house import ROOT

PINNED = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[\w.]+)")


def canonical(name: str) -> str:
    """Return a distribution's name as the packaging standards compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def chosen() -> set[str]:
    """Return the names of the distributions that we ask for ourselves."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = project["dependencies"] + project["optional-dependencies"]["dev"]
    return {canonical(re.split(r"[^\w.-]", requirement)[0]) for requirement in requirements}


def constraints() -> list[str]:
    """Return the lines of the constraints file that are not comments."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_constraints_are_exact_versions_and_nothing_else() -> None:
    assert [line for line in constraints() if not PINNED.fullmatch(line)] == []


def test_every_chosen_dependency_is_pinned() -> None:
    pinned = {canonical(line.partition("==")[0]) for line in constraints()}
    assert chosen() - pinned == set()


def test_every_chosen_dependency_has_a_reason() -> None:
    reasons = (ROOT / "docs/decisions/0002-dependencies.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([\w-]+)` \| \S", reasons, re.MULTILINE)) == chosen()
