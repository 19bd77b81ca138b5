"""What happened: events with their figures for the result, sentences for whoever watches."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Chronicle:
    """Written while a show runs."""

    began_at: float | None = None
    """The instant of the first sale, on the monotonic clock."""
    timeline: list[dict[str, Any]] = field(default_factory=list)
    sentences: list[tuple[float | None, str]] = field(default_factory=list)
    """Each with its second of the show; None: before the first sale."""
    problems: list[str] = field(default_factory=list)
    """What was not as announced."""
    seconds: float | None = None
    """From the first sale to the last answer."""

    @property
    def at_s(self) -> float | None:
        """Return the second of the show; None before the first sale."""
        if self.began_at is None or (at_s := time.monotonic() - self.began_at) < 0:
            return None
        return at_s

    def note(self, event: str, **detail: Any) -> dict[str, Any]:
        """Write down an event; its figures may be put in later."""
        entry = {"at_s": round(self.at_s or 0.0, 3), "event": event, **detail}
        self.timeline.append(entry)
        return entry

    def say(self, sentence: str) -> None:
        """Tell whoever watches."""
        self.sentences.append((self.at_s, sentence))


def ms_since(instant: float) -> int:
    """Return the milliseconds since an instant of the monotonic clock."""
    return round((time.monotonic() - instant) * 1000)
