"""What the switch counts and says about itself: counters, and facts as log lines.

Counting costs an addition. Log lines are for the control plane (breakers, links, operators, faults
of ours): there is none per payment.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from typing import Any

import structlog


@dataclass(slots=True)
class Counters:
    """Totals since the start of the process."""

    accepted: int = 0
    """Requests taken in, twins and replays included."""
    approved: int = 0
    """Payments concluded as approved."""
    declined: int = 0
    """Payments concluded as declined, 91 included."""
    refused: int = 0
    """Requests answered with a refusal."""
    replayed: int = 0
    """Requests answered with an outcome that was known before, twins included."""
    failed_over: int = 0
    """Payments that were placed at a second node or ledger because the first did not have them."""
    repeated: int = 0
    """Repeats sent under the same reference."""
    in_doubt: int = 0
    """References that were ever in doubt."""
    owed: int = 0
    """Reversals that became owed."""
    acknowledged: int = 0
    """Reversals that a ledger acknowledged."""
    late_answers: int = 0
    """Answers that came when nobody waited for them any more."""
    strangers: int = 0
    """Answers under a reference the switch does not know."""
    contradictions: int = 0
    """Answers by which a ledger broke its promise."""

    def as_dict(self) -> dict[str, int]:
        """Return the totals by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def configure_logging() -> None:
    """Write log lines as JSON to standard error."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def log() -> Any:
    """Return the logger."""
    return structlog.get_logger()
