"""Generated code runs where integrators run: protobuf 6.31 and grpcio 1.78 are new enough.

A generated module refuses a runtime older than the compiler that made it; so the stamps in the
committed files are promises to whoever imports them.
"""

import importlib
import re
from pathlib import Path

import pytest

from tests.house.house import GENERATED

OLDEST_PROTOBUF = (6, 31, 1)
OLDEST_GRPCIO = (1, 78, 2)

MESSAGES = sorted(GENERATED.rglob("*_pb2.py"))
SERVICES = sorted(GENERATED.rglob("*_pb2_grpc.py"))


def version(text: str, path: Path) -> tuple[int, ...]:
    """Read the version that stands in a file after `text`."""
    found = re.search(re.escape(text) + r"'?([\d.]+)", path.read_text(encoding="utf-8"))
    assert found, f"no version in {path.name}"
    return tuple(map(int, found[1].split(".")))


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.stem)
def test_messages_import_under_the_oldest_protobuf(path: Path) -> None:
    assert version("Protobuf Python Version: ", path) <= OLDEST_PROTOBUF


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_services_import_under_the_oldest_grpcio(path: Path) -> None:
    assert version("GRPC_GENERATED_VERSION = ", path) <= OLDEST_GRPCIO


@pytest.mark.parametrize("path", [*MESSAGES, *SERVICES], ids=lambda path: path.stem)
def test_every_generated_module_imports(path: Path) -> None:
    module = path.relative_to(GENERATED.parent).with_suffix("")
    importlib.import_module(".".join(module.parts))
    assert path.with_suffix(".pyi").exists()
