"""Which processors may take a payment, in which order.

A route is a condition and an ordered list of processors. The first route whose condition holds is
the payment's, and there must be one without a condition, so that every payment has a route. All
that a condition names must hold; what it does not name, it does not ask. BINs are ranges of the
first six digits, because that is what the schemes publish; eight-digit BINs fall into them.

Matching is linear in the routes, which are few, and the answer is remembered per (six digits,
merchant, currency) in a bounded table, because the same shops see the same cards all day.
"""

from __future__ import annotations

from dataclasses import dataclass

_REMEMBERED_MAX = 65_536


@dataclass(frozen=True, slots=True)
class Route:
    """Ordered processors for a kind of payment. Empty conditions hold for all."""

    processors: tuple[str, ...]
    bins: tuple[tuple[int, int], ...] = ()
    """Inclusive ranges of the first six digits."""
    merchants: frozenset[str] = frozenset()
    currencies: frozenset[str] = frozenset()

    def takes(self, six: int, merchant_id: str, currency: str) -> bool:
        """Return whether the condition holds."""
        if self.currencies and currency not in self.currencies:
            return False
        if self.merchants and merchant_id not in self.merchants:
            return False
        return not self.bins or any(low <= six <= high for low, high in self.bins)

    @property
    def unconditional(self) -> bool:
        """Return whether it takes every payment."""
        return not (self.bins or self.merchants or self.currencies)


class RouteBook:
    """The routes, in order; the last one takes everything."""

    __slots__ = ("_remembered", "_routes")

    def __init__(self, routes: tuple[Route, ...]) -> None:
        """Keep the routes; the last must be unconditional."""
        assert routes and routes[-1].unconditional, "the last route must take every payment"
        self._routes = routes
        self._remembered: dict[tuple[str, str, str], tuple[str, ...]] = {}

    def processors_for(self, bin_digits: str, merchant_id: str, currency: str) -> tuple[str, ...]:
        """Return the processors in order; ``bin_digits`` are 6 to 8 digits."""
        key = (bin_digits[:6], merchant_id, currency)
        found = self._remembered.get(key)
        if found is None:
            six = int(key[0])
            found = next(r.processors for r in self._routes if r.takes(six, merchant_id, currency))
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[key] = found
        return found
