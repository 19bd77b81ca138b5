"""Every code block of the documentation runs.

The blocks of one document run in order, in one shell, in a copy of the house: `sh` blocks as they
stand, `python` blocks as scripts between them, `toml` blocks are parsed. What a document starts in
the background lives until the document ends. Other languages are shown and not run.

A `sh` block of commands that build the house itself, or need another machine, says so and why:

    ```sh no-test reason="starts the whole check from within the check"
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.house.house import ROOT, SCRIPTS, House, calm_environment

RUN = {"sh", "python", "toml"}
SHOWN = {"text", "json", "jsonl", "proto", "promql", "sql", "ini", "yaml", "dockerfile", "mermaid"}
EXEMPT_COMMANDS = {
    "apt-get", "cd", "curl", "docker", "git", "journalctl", "kubectl", "make", "npm", "pip",
    "sudo", "systemctl",
}  # fmt: skip

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"\]\((?!mailto:)([^()\s]+)\)")
NO_TEST = re.compile(r'no-test reason="[^"]{10,}"')


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    place: str
    language: str
    attribute: str
    body: str


def documents() -> list[Path]:
    """List the documents: those at the root, and all below docs/."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def blocks(document: Path) -> list[Block]:
    """Read the fenced blocks of a document, in order."""
    text = document.read_text(encoding="utf-8")
    found = []
    for fence in FENCE.finditer(text):
        language, _, attribute = fence["info"].strip().partition(" ")
        line = text.count("\n", 0, fence.start()) + 1
        place = f"{document.relative_to(ROOT)}:{line}"
        found.append(Block(place, language, attribute, fence["body"]))
    return found


def of_document(path: Path) -> str:
    """Name a document in a test's identity."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", documents(), ids=of_document)
def test_every_block_names_its_language(document: Path) -> None:
    assert [block.place for block in blocks(document) if block.language not in RUN | SHOWN] == []


@pytest.mark.parametrize("document", documents(), ids=of_document)
def test_a_block_is_left_out_only_for_a_reason(document: Path) -> None:
    for block in blocks(document):
        if not block.attribute:
            continue
        assert block.language == "sh", f"{block.place}: only sh blocks may be left out"
        assert NO_TEST.fullmatch(block.attribute), f"{block.place}: {block.attribute}"
        commands = {words[0] for line in block.body.splitlines() if (words := shlex.split(line))}
        assert commands <= EXEMPT_COMMANDS, f"{block.place}: {commands - EXEMPT_COMMANDS} can run"


@pytest.mark.parametrize("document", documents(), ids=of_document)
def test_toml_blocks_parse(document: Path) -> None:
    for block in blocks(document):
        if block.language == "toml":
            tomllib.loads(block.body)


@pytest.mark.parametrize("document", documents(), ids=of_document)
def test_every_link_inside_the_house_leads_somewhere(document: Path) -> None:
    links = LINK.findall(FENCE.sub("", document.read_text(encoding="utf-8")))
    targets = {link.partition("#")[0] for link in links if "://" not in link}
    assert {target for target in targets if not (document.parent / target).exists()} == set()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("document", documents(), ids=of_document)
def test_sh_and_python_blocks_run(document: Path, tmp_path: Path) -> None:
    script = ["set -eu"]
    for number, block in enumerate(blocks(document)):
        if block.attribute or block.language not in {"sh", "python"}:
            continue
        script.append(f"echo '--- {block.place}'")
        if block.language == "sh":
            script.append(block.body)
        else:
            file = tmp_path / f"block_{number}.py"
            file.write_text(block.body, encoding="utf-8")
            script.append(f"{sys.executable} {file}")
    if len(script) == 1:
        return
    house = House(tmp_path / "payswitch")
    house.bring(*(path.name for path in ROOT.iterdir() if not path.name.startswith(".")))
    assert_runs("\n".join(script), house)


def assert_runs(script: str, house: House) -> None:
    """Run a shell script in a house, and end whatever it left running."""
    environment = calm_environment()
    environment["PATH"] = f"{SCRIPTS}{os.pathsep}{environment['PATH']}"
    output = house.root.parent / "output"
    with output.open("w") as sink:
        shell = subprocess.Popen(
            ["sh", "-c", script],
            cwd=house.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            returncode = shell.wait(timeout=150)
        finally:
            end_group(shell.pid)
    assert returncode == 0, output.read_text(encoding="utf-8")


def end_group(group: int) -> None:
    """End the processes of a group, if any is left."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
