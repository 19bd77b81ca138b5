"""Fixtures of the house rules."""

from pathlib import Path

import pytest

from tests.house.house import House


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Return an empty house with the rules of the real one."""
    house = House(tmp_path / "house")
    house.bring("Makefile", "pyproject.toml", "constraints.txt")
    return house
