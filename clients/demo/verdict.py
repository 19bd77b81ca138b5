"""The audit, run as the process of its own that it is, over the files that a run has left."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any


async def audited(
    terminals: Iterable[Path], switch: Path, ledgers: Iterable[Path]
) -> dict[str, Any]:
    """Return what the audit says of three ledgers, or {"unreadable": why}."""
    audit = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "clients.audit", "--json"),
        *("--terminals", *map(str, terminals)),
        *("--switch", str(switch)),
        *("--ledger", *map(str, ledgers)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await audit.communicate()
    try:
        verdict: dict[str, Any] = json.loads(said)
    except ValueError:
        return {"unreadable": complained.decode(errors="replace").strip() or "the audit is silent"}
    return verdict
