"""Money: integers of a currency's minor unit, and nothing else.

An amount is a whole number of minor units together with its ISO 4217 currency. There is no
fraction, no float and no conversion. Two amounts of different currencies have no sum: asking for
one is a fault of ours, not of the world, and fails loudly. The exponent (EUR 2, JPY 0, KWD 3)
matters only where a person reads an amount; it comes from the iso4217 package, in this file and
nowhere else.
"""

from __future__ import annotations

from typing import NamedTuple

from iso4217 import Currency

AMOUNT_MINOR_MAX = 2**53 - 1
"""The largest amount accepted: what every JSON reader and spreadsheet still counts exactly."""

_EXPONENTS: dict[str, int | None] = {c.code: c.exponent for c in Currency}

CURRENCIES: frozenset[str] = frozenset(
    c for c, exponent in _EXPONENTS.items() if exponent is not None
)
"""Alphabetic codes of the currencies that have a minor unit (XAU, XXX and their like have none)."""


class Money(NamedTuple):
    """An amount in minor units with its ISO 4217 alphabetic currency code."""

    amount_minor: int
    currency: str

    def plus(self, other: Money) -> Money:
        """Return the sum; both must be of one currency."""
        assert self.currency == other.currency, "two currencies have no sum"
        return Money(self.amount_minor + other.amount_minor, self.currency)

    def minus(self, other: Money) -> Money:
        """Return the difference; both must be of one currency, and it may not fall below zero."""
        assert self.currency == other.currency, "two currencies have no difference"
        assert self.amount_minor >= other.amount_minor, "money may not fall below zero"
        return Money(self.amount_minor - other.amount_minor, self.currency)

    def nothing(self) -> Money:
        """Return zero of the same currency."""
        return Money(0, self.currency)

    def text(self) -> str:
        """Return the amount as a person reads it, as "12.50 EUR"."""
        exponent = _EXPONENTS[self.currency] or 0
        if exponent == 0:
            return f"{self.amount_minor} {self.currency}"
        whole, fraction = divmod(self.amount_minor, 10**exponent)
        return f"{whole}.{fraction:0{exponent}d} {self.currency}"
