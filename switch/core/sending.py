"""A sending: one hand-over of one message to one node.

The dispatcher makes it and offers it to the node's link; the link writes it, matches what comes
back by its number, and gives every event to ``settle``, the dispatcher's funnel, which in turn
tells ``heard``, whoever awaits it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from switch.core.evidence import Evidence
from switch.core.message import Event, Message
from switch.core.routing import Permit


@dataclass(slots=True)
class Sending:
    """One hand-over of one message to one node."""

    number: int
    """Unique within an epoch; the node's answer echoes it."""
    message: Message
    permit: Permit
    deadline_at: float
    """Monotonic: when waiting for the answer ends."""
    settle: Callable[[Sending, Event], None]
    """The dispatcher's funnel."""
    heard: Callable[[Sending, Event, Evidence], None]
    """Who awaits it: told of each event, after the node was scored."""
    written: bool = False
    """Set by the link just before its frame is passed to the transport."""
    open: bool = True
    """No answer yet, and still waited for. A closed sending may still be answered: late."""
    landed: bool = False
    """It holds no slot any more: answered, recalled, its link lost, or its flight over."""
    offered_at: float = 0.0
