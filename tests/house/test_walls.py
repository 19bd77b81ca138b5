"""Each wall of `make check` is seen to stand unbroken, and to fall when one rule is broken.

The tests run the very targets that `make check` runs, in a copy of the rooms they guard.
"""

import pytest

from tests.house.house import House

ROOMS = ("switch", "clients", "benchmarks")


def assert_stands(house: House, wall: str, *arguments: str) -> None:
    """Run one wall and assert that it holds."""
    result = house.make(f"check-{wall}", *arguments)
    assert result.returncode == 0, result.stdout


def assert_falls(house: House, wall: str, *arguments: str, naming: str) -> None:
    """Run one wall and assert that it fails and says why."""
    result = house.make(f"check-{wall}", *arguments)
    assert result.returncode != 0, result.stdout
    assert naming in result.stdout, result.stdout


def test_the_format_wall_refuses_a_crooked_line(house: House) -> None:
    house.bring("switch/core/__init__.py")
    assert_stands(house, "format")
    house.write("switch/core/planted.py", '"""Planted."""\n\nanswer  =  42\n')
    assert_falls(house, "format", naming="switch/core/planted.py")


def test_the_words_wall_stands_unbroken(house: House) -> None:
    house.bring("switch/core/__init__.py")
    assert_stands(house, "words")


IN_ASYNC = "import asyncio\n\n\nasync def wait() -> None:\n    "
CAUGHT = "try:\n    ONE = 1\nexcept Exception:\n    ONE = 2"


@pytest.mark.parametrize(
    ("code", "naming"),
    [
        ("import time\n\nNOW = time.time()", "`time.time` is banned"),
        ("from time import monotonic\n\nNOW = monotonic()", "`time.monotonic` is banned"),
        ("import time\n\ntime.sleep(1)", "`time.sleep` is banned"),
        ("import datetime as dt\n\nNOW = dt.datetime.now(dt.UTC)", "`datetime.datetime.now` is b"),
        ("import random\n\nONE = random.random()", "`random.random` is banned"),
        ("import os\n\nHOME = os.environ", "`os.environ` is banned"),
        (f"{IN_ASYNC}await asyncio.sleep(1)", "`asyncio.sleep` is banned"),
        (f"{IN_ASYNC}await asyncio.create_task(wait())", "`asyncio.create_task` is banned"),
        ('print("hello")', "T201"),
        (CAUGHT, "BLE001"),
        ("def undescribed() -> None:\n    pass", "D103"),
    ],
)
def test_the_words_wall_refuses(house: House, code: str, naming: str) -> None:
    house.write("switch/planted.py", f'"""Planted."""\n\n{code}\n')
    assert_falls(house, "words", naming=naming)


def test_the_types_wall_refuses_a_function_without_types(house: House) -> None:
    house.bring("switch/__init__.py", "switch/core/__init__.py")
    assert_stands(house, "types", "CODE=switch/core")
    house.write("switch/core/planted.py", '"""Planted."""\n\n\ndef same(x):\n    return x\n')
    assert_falls(house, "types", "CODE=switch/core", naming="[no-untyped-def]")


def test_the_imports_wall_stands_unbroken(house: House) -> None:
    house.bring(*ROOMS)
    assert_stands(house, "imports")


@pytest.mark.parametrize(
    ("path", "statement", "contract"),
    [
        ("switch/core/planted.py", "import switch.clock", "Rooms look downward only"),
        ("switch/core/planted.py", "import switch.flow", "Rooms look downward only"),
        ("switch/rpc/planted.py", "import switch.store", "Rooms look downward only"),
        ("switch/store/planted.py", "import switch.testing", "Rooms look downward only"),
        ("switch/attic.py", "import math", "Rooms look downward only"),
        ("switch/store/planted.py", "from switch import flow", "The store fits the flow's ports"),
        ("switch/core/planted.py", "import asyncio", "The core knows no clock"),
        ("switch/core/planted.py", "from time import monotonic", "The core knows no clock"),
        ("switch/core/planted.py", "import opentelemetry.trace", "The core knows no clock"),
        ("switch/store/planted.py", "import grpc", "Only the rpc room says grpc"),
        ("switch/store/planted.py", "import grpc.aio", "Only the rpc room says grpc"),
        (
            "switch/store/planted.py",
            "from google.protobuf import message",
            "Only the rpc room says grpc",
        ),
        (
            "switch/store/planted.py",
            "from payswitch.money.v1 import money_pb2",
            "Only the rpc room says grpc",
        ),
        ("switch/rpc/planted.py", "import apsw", "Only the store says SQL"),
        ("clients/planted.py", "import asyncpg", "Only the store says SQL"),
        ("clients/planted.py", "from switch.core import money", "Clients know the switch"),
        ("switch/rpc/planted.py", "import clients", "The switch knows none"),
        ("clients/audit.py", "import clients.planted", "The audit shares no code"),
        ("clients/audit.py", "import switch.core.money", "The audit shares no code"),
        ("switch/core/planted.py", "import switch.core.planted_too", "No import cycles"),
    ],
)
def test_the_imports_wall_refuses(house: House, path: str, statement: str, contract: str) -> None:
    house.bring(*ROOMS)
    house.write("clients/planted.py", '"""Planted."""\n')
    house.write("switch/core/planted_too.py", '"""Planted."""\n\nimport switch.core.planted\n')
    house.write("switch/core/planted.py", '"""Planted."""\n')
    house.write(path, f'"""Planted."""\n\n{statement}\n')
    result = house.make("check-imports")
    broken = [line for line in result.stdout.splitlines() if " BROKEN" in line]
    assert result.returncode != 0, result.stdout
    assert any(line.startswith(contract) for line in broken), result.stdout


def test_the_generated_wall_refuses_an_edited_and_a_left_over_module(house: House) -> None:
    house.bring("protos")
    assert_stands(house, "generated")
    house.write("protos/payswitch/money/v1/planted_pb2.py", "")
    assert_falls(house, "generated", naming="not fresh: protos/payswitch/money/v1/planted_pb2.py")
    (house.root / "protos/payswitch/money/v1/planted_pb2.py").unlink()
    house.write("protos/payswitch/money/v1/money_pb2.pyi", "")
    assert_falls(house, "generated", naming="not fresh: protos/payswitch/money/v1/money_pb2.pyi")


@pytest.mark.parametrize(
    ("old", "new", "naming"),
    [
        ("currency = 2;", "currency = 2;\n  string mark = 3;", "non-empty comment"),
        ("message Money {", "message   Money {", "-message   Money {"),
        ("currency = 2;", "currency = 3;", 'Previously present field "2"'),
    ],
    ids=["lint", "format", "breaking"],
)
def test_the_protos_wall_refuses(house: House, old: str, new: str, naming: str) -> None:
    house.bring("protos")
    assert_stands(house, "protos")
    house.replace("protos/payswitch/money/v1/money.proto", old, new)
    assert_falls(house, "protos", naming=naming)


BRANCHING = """\
\"\"\"Planted.\"\"\"


def magnitude(x):
    if x < 0:
        x = -x
    return x
"""

TEST_OF_ONE_BRANCH = """\
\"\"\"Planted.\"\"\"

from switch.core import planted


def test_magnitude():
    assert planted.magnitude(-1) == 1
"""


def test_the_core_wall_refuses_a_branch_no_test_takes(house: House) -> None:
    house.bring("switch/__init__.py", "switch/core/__init__.py", "tests/conftest.py")
    house.write("switch/core/planted.py", BRANCHING)
    house.write("tests/core/test_planted.py", TEST_OF_ONE_BRANCH)
    assert_falls(house, "core", naming="less than fail-under=100")
    house.write("tests/core/test_planted.py", f"{TEST_OF_ONE_BRANCH}    planted.magnitude(1)\n")
    assert_stands(house, "core")


def test_the_tests_wall_refuses_a_failing_test(house: House) -> None:
    house.write("tests/test_planted.py", '"""Planted."""\n\n\ndef test_it():\n    assert True\n')
    assert_stands(house, "tests")
    house.write("tests/test_planted.py", '"""Planted."""\n\n\ndef test_it():\n    assert 0\n')
    assert_falls(house, "tests", naming="1 failed")
