"""What the switch added to each payment, from the terminals' journals."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile: the smallest value that ``share`` of them reach."""
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


def added_latency_ms(journals: Iterable[Path]) -> dict[str, float] | None:
    """Return the quantiles over all answered payments; None if there is none.

    A payment that is sent twice counts once, by its first call.
    """
    added: list[float] = []
    for journal in journals:
        first_calls: dict[tuple[str, str], str] = {}
        for text in journal.read_bytes().splitlines():
            line = json.loads(text)
            if line["event"] not in {"intended", "answered"}:
                continue
            first = first_calls.setdefault((line["terminal_id"], line["request_id"]), line["call"])
            if line["event"] == "answered" and line["call"] == first:
                # A stored answer does not say how long the node took: all of it counts as ours.
                added.append(line["latency_ms"] - (line["processing_duration_ms"] or 0.0))
    if not added:
        return None
    added.sort()
    return {name: round(percentile(added, share), 2) for name, share in QUANTILES.items()}
