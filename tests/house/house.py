"""The house: its files, and copies of it that a test may break."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(sys.executable).parent
VENV = SCRIPTS.parent

GENERATED = ROOT / "protos" / "payswitch"
NOT_OURS = {"__pycache__", "build", "dist"}
"""Folders made by tools, beside those whose name begins with a dot."""


def house_files(*suffixes: str) -> list[Path]:
    """List the files we keep, generated code excepted; all of them, or those with `suffixes`."""
    found = []
    for folder, subfolders, names in os.walk(ROOT):
        subfolders[:] = [name for name in subfolders if is_ours(name)]
        for path in (Path(folder, name) for name in names):
            generated = path.is_relative_to(GENERATED) and path.suffix != ".proto"
            if not generated and (not suffixes or path.suffix in suffixes):
                found.append(path)
    return sorted(found)


def is_ours(folder: str) -> bool:
    """Tell whether a folder of this name is kept, rather than made by a tool."""
    return folder == ".ci" or not (folder.startswith(".") or folder in NOT_OURS)


@dataclass(frozen=True)
class House:
    """A copy of the house, or of some of its rooms."""

    root: Path

    def bring(self, *names: str) -> None:
        """Copy files and folders of the real house here."""
        for name in names:
            source, target = ROOT / name, self.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns(*NOT_OURS))
            else:
                shutil.copy2(source, target)

    def write(self, path: str, text: str) -> None:
        """Write a file, with the folders above it."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def replace(self, path: str, old: str, new: str) -> None:
        """Replace a text that stands in a file once."""
        text = (self.root / path).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{path} has {old!r} {text.count(old)} times"
        self.write(path, text.replace(old, new))

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run make here, with the tools of the environment that runs the tests."""
        return self.run("make", "--assume-old=setup", f"VENV={VENV}", *arguments)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command here; both of its outputs come back as one."""
        return subprocess.run(
            command,
            cwd=self.root,
            env=calm_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


def calm_environment() -> dict[str, str]:
    """Return our environment without what make and pytest tell their own children."""
    alien = ("COV_", "MAKE", "MFLAGS", "PYTEST")
    calm = {name: value for name, value in os.environ.items() if not name.startswith(alien)}
    return calm | {"NO_COLOR": "1", "COLUMNS": "200"}
