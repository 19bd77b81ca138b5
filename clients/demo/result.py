"""Every figure of a run; docs/reference/demo.md defines each in a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any

TALLIES = (
    "sent",
    "answered",
    "approved",
    "declined",
    "refused",
    "unanswered",
    "terminal_failures",
    "failed_over",
    "repeated",
    "in_doubt",
    "restart_reversals",
    "reversals_owed",
    "reversals_acknowledged",
    "double_charges",
    "lost",
    "mismatches",
)
"""What the audit counts."""
MUST_BE_ZERO = ("double_charges", "lost", "mismatches", "unanswered", "terminal_failures")


@dataclass(slots=True, kw_only=True)
class Result:
    """What came of a demonstration; None is what could not be found out."""

    sent: int | None = None
    answered: int | None = None
    approved: int | None = None
    declined: int | None = None
    refused: int | None = None
    unanswered: int | None = None
    terminal_failures: int | None = None
    failed_over: int | None = None
    repeated: int | None = None
    in_doubt: int | None = None
    restart_reversals: int | None = None
    reversals_owed: int | None = None
    reversals_acknowledged: int | None = None
    double_charges: int | None = None
    lost: int | None = None
    mismatches: int | None = None
    seconds: float | None = None
    added_latency_ms: dict[str, float] | None = None
    generator_lag_ms: dict[str, float] | None = None
    rate: float
    ledgers: str
    seed: int
    timeline: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    passed: bool = False

    def take(self, audit: dict[str, Any]) -> None:
        """Take the audit's counts, and judge them."""
        for name in TALLIES:
            setattr(self, name, audit.get(name))
        self.problems += self._objections(audit)

    def close(self) -> None:
        """Say whether it passed: nothing more is known."""
        self.passed = not self.problems

    def as_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))

    def rows(self) -> Iterator[tuple[str, str]]:
        """List the figures for people."""
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, dict):
                yield each.name, "  ".join(f"{name} {_short(n)}" for name, n in value.items())
            elif value is None:
                yield each.name, "unknown"
            elif isinstance(value, int | float) and not isinstance(value, bool):
                yield each.name, f"{value:,}"
            elif isinstance(value, str):
                yield each.name, value

    def _objections(self, audit: dict[str, Any]) -> Iterator[str]:
        if "unreadable" in audit:
            yield f"not audited: {audit['unreadable']}"
            return
        for name in MUST_BE_ZERO:
            count, most = audit[name], 0
            if name == "terminal_failures" and self.ledgers == "separate":
                # Nobody can stand in for a node with a ledger of its own: what was in doubt there
                # is answered 91 and reversed, and no terminal is told anything untrue.
                most = audit["in_doubt"]
            if count > most:
                yield f"{name} is {count}"
        left = audit["reversals_owed"] - audit["reversals_acknowledged"]
        if left:
            yield f"{left} reversals are owed and not acknowledged"


def _short(figure: float) -> str:
    return f"{figure:.1f}" if figure < 100 else f"{figure:.0f}"
