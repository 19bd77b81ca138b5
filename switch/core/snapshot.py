"""A node as operators see it: what was ordered, what is seen, what applies, what has changed.

Values only. The order and the observation stand side by side and never overwrite each other, so a
node that is enabled and dead does not look like one that is disabled and well.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from switch.core.breaker import BreakerState


class Intent(IntEnum):
    """What the operator ordered. The numbers are stored: they never change their meaning."""

    ENABLED = 1
    DRAINED = 2
    """No new authorizations; what is in flight is finished, reversals still pass."""
    DISABLED = 3
    """Nothing."""


class LinkState(IntEnum):
    """What the node's link can do."""

    DOWN = 1
    READY = 2
    DRAINING = 3
    """The node said goodbye: nothing new, what is in flight is finished."""


class Fact(NamedTuple):
    """Something that changed at an instant, for the shell to report."""

    node: str
    """Empty if it concerns all of them."""
    name: str
    """In one word, as breaker_opened."""
    why: str
    at: float


class NodeSnapshot(NamedTuple):
    """A node as operators see it."""

    name: str
    intent: Intent
    link: LinkState
    breaker: BreakerState
    why: str
    """Why the breaker opened, for as long as it is not closed."""
    since: float
    """When the breaker came into its state."""
    usable: bool
    hold_down: bool
    """It is a spare until it has been healthy for long enough."""
    in_flight: int
    limit: int
    """As it applies now."""
    answered: int
    """Since the start."""
    in_doubt: int
    """Of those in flight."""
    rate_per_s: float
    p50_s: float
    p99_s: float
