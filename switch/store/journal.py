"""What every journal has in common beside its rows: its states, and why one cannot be opened."""

from __future__ import annotations

from enum import Enum

from switch.core.message import Claimed, StoredPayment

Result = Claimed | StoredPayment | None
"""What becomes of one record."""

CLAIMED = Claimed()

UNFIT = (AssertionError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What is raised by a record that cannot be written: a fault of ours, told as an assertion."""


class JournalState(Enum):
    """Whether a journal takes records. It goes down this list and never up."""

    OPEN = "open"
    STOPPED = "stopped"
    """An error of the disk: what it did last is in doubt, and nothing is read or written since."""
    CLOSED = "closed"


class JournalUnusable(Exception):
    """The journal cannot be opened as it is. The text says why, and what to do."""


def caused(kind: type[Exception], error: Exception) -> Exception:
    """Return the error as one of ``kind``, with its cause."""
    if isinstance(error, kind):
        return error
    raised = kind(f"{type(error).__name__}: {error}")
    raised.__cause__ = error
    return raised
