"""What the end of a sending says about its node: the only thing a breaker is ever told.

A decline is a *success* of the node: customers' wrong PINs must not demote a healthy processor. And
what we did ourselves (the caller left, our own refusal, a recall) says nothing about anybody: it is
LOCAL, is never scored, and gives a half-open permit back.
"""

from __future__ import annotations

from enum import IntEnum


class Outcome(IntEnum):
    """How a sending ended, as far as its node is to blame."""

    SUCCESS = 1
    """It answered: approved or declined."""
    SOFT = 2
    """It said, in order, that it did not process: half a failure."""
    TECHNICAL = 3
    """It answered with a technical response code."""
    IN_DOUBT = 4
    """It was handed over and no final answer came."""
    CONNECT_FAILURE = 5
    """It could not be reached."""
    LOCAL = 6
    """Ours: never scored."""
