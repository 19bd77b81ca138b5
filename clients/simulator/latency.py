"""How long the issuer thinks: distributions, by name."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from random import Random

Latency = Callable[[], float]
"""Draws one duration in seconds."""

EXAMPLES = "none, constant:5ms, uniform:low=2ms,high=9ms, lognormal:p50=8ms,p99=40ms"

_Z99 = 2.3263478740408408
"""The standard normal distribution's 99th percentile."""
_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


class LatencyInvalid(ValueError):
    """The text names no distribution; the message says what would."""


def latency_of(text: str, rng: Random) -> Latency:
    """Return the distribution that ``text`` describes, drawing from ``rng``."""
    name, _, rest = text.partition(":")
    if name == "none" and not rest:
        return lambda: 0.0
    if name == "constant":
        value_s = _duration(rest, text)
        return lambda: value_s
    if name == "uniform":
        low_s, high_s = _parameters(rest, text, "low", "high")
        return lambda: rng.uniform(low_s, high_s)
    if name == "lognormal":
        p50_s, p99_s = _parameters(rest, text, "p50", "p99")
        mu, sigma = math.log(p50_s), math.log(p99_s / p50_s) / _Z99
        return lambda: rng.lognormvariate(mu, sigma)
    raise LatencyInvalid(f"{text!r} names no latency; say one of: {EXAMPLES}")


def _parameters(rest: str, text: str, lower: str, upper: str) -> tuple[float, float]:
    given = dict(part.partition("=")[::2] for part in rest.split(","))
    if given.keys() != {lower, upper}:
        raise LatencyInvalid(f"{text!r} needs {lower}=… and {upper}=…, as in: {EXAMPLES}")
    low_s, high_s = _duration(given[lower], text), _duration(given[upper], text)
    if not 0 < low_s <= high_s:
        raise LatencyInvalid(f"{text!r} needs 0 < {lower} <= {upper}, as in: {EXAMPLES}")
    return low_s, high_s


def _duration(value: str, text: str) -> float:
    matched = re.fullmatch(r"(\d+(?:\.\d+)?)(us|ms|s)", value)
    if matched is None:
        raise LatencyInvalid(f"{text!r}: {value!r} is no duration such as 5ms, as in: {EXAMPLES}")
    return float(matched[1]) * _UNITS_S[matched[2]]
