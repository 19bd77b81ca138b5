"""A believable day of card payments, made from a seed. All of it is synthetic.

Shops, hotels and web shops in nine countries sell through one day: more at noon and in the
evening, each trade by its own hours and prices, in its country's currency. Card numbers pass the
Luhn check and lie in the ranges that the card schemes publish for tests, so they belong to nobody.

The processor simulator gives meaning to amounts whose last four digits are 9000 or more. Here only
those are used that decline (or approve in part) as issuers do; every other amount stays below.

The same seed and count give the same day for ever: nothing here reads a clock.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import accumulate, count
from random import Random
from typing import TypeVar

from iso4217 import Currency

_T = TypeVar("_T")

PREAUTHORIZATION, PURCHASE = "preauthorization", "purchase"
RESERVED_FROM = 9000
"""Last four digits of an amount, from here on, have a meaning of their own to the simulator."""
DECLINED_SHARE = 0.03
REPEATED_SHARE = 0.005
"""How many payments are sent twice under one request_id, as after a lost answer."""


@dataclass(frozen=True, slots=True)
class Sale:
    """One payment that a terminal is going to ask for."""

    number: int
    """From 1 through the day."""
    second: float
    """Of the day, in the shop's own time."""
    terminal_id: str
    merchant_id: str
    merchant_category_code: str
    country: str
    card_number: str
    card_expiry: str
    """YYMM."""
    amount_minor: int
    currency: str
    kind: str
    """purchase or preauthorization"""
    entry_mode: str
    """chip, contactless, magnetic_stripe, manual, ecommerce, stored_credential"""
    accepts_partial_approval: bool
    sends: int
    """2: the same request is sent twice under one request_id."""

    @property
    def bin(self) -> str:
        """The first six digits of the card number."""
        return self.card_number[:6]

    @property
    def last_four(self) -> str:
        """The last four digits of the card number."""
        return self.card_number[-4:]

    def as_json(self, *, card_numbers: bool = False) -> dict[str, object]:
        """Return it for a JSON line, labelled; the card's number only if asked for."""
        fields = {"synthetic": True} | asdict(self)
        if not card_numbers:
            del fields["card_number"], fields["card_expiry"]
        fields |= {"bin": self.bin, "last_four": self.last_four}
        return fields


def day(seed: int, sales_count: int) -> Iterator[Sale]:
    """Return the sales of one synthetic day, from midnight to midnight."""
    random = Random(f"payswitch traffic 1/{seed}")
    for index in range(sales_count):
        # One sale in each slice of the day's curve: in order, without a list of all instants.
        second = _instant((index + random.random()) / sales_count)
        yield _sale(random, index + 1, second)


def days(seed: int, sales_per_day: int) -> Iterator[Sale]:
    """Return day after day, without end."""
    for number in count():
        yield from day(seed * 1_000_003 + number, sales_per_day)


def luhn_digit(digits: str) -> str:
    """Return the check digit that makes ``digits`` a card number."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (2 if place % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return str(-total % 10)


# --- the world -------------------------------------------------------------------------------

_HOURS = {  # a weight for each hour of the day
    "shop": (0, 0, 0, 0, 0, 0, 1, 3, 6, 8, 9, 10, 11, 9, 8, 9, 10, 12, 11, 7, 3, 1, 0, 0),
    "meal": (1, 0, 0, 0, 0, 1, 4, 6, 5, 3, 3, 6, 14, 13, 6, 3, 3, 4, 8, 13, 13, 8, 4, 2),
    "road": (1, 1, 1, 1, 2, 5, 9, 11, 9, 6, 5, 5, 6, 6, 6, 7, 9, 11, 9, 6, 4, 3, 2, 1),
    "stay": (1, 0, 0, 0, 0, 1, 3, 6, 8, 7, 6, 4, 3, 4, 7, 9, 9, 8, 7, 6, 5, 4, 3, 2),
    "web": (4, 2, 1, 1, 1, 1, 2, 4, 5, 6, 6, 6, 7, 6, 6, 6, 6, 7, 8, 10, 12, 12, 10, 7),
}
_AT_THE_COUNTER = {"contactless": 60, "chip": 34, "magnetic_stripe": 3, "manual": 3}
_ON_THE_WEB = {"ecommerce": 75, "stored_credential": 25}


@dataclass(frozen=True, slots=True)
class _Trade:
    code: str
    """MCC of ISO 18245."""
    weight: float
    hours: str
    median_eur: float
    spread: float
    """Of the logarithm."""
    preauthorized: float = 0.0
    partial: float = 0.0
    entry_modes: Mapping[str, int] | None = None


_TRADES = (
    _Trade("5411", 30, "shop", 24.0, 0.9, partial=0.2),  # groceries
    _Trade("5812", 14, "meal", 34.0, 0.6),  # restaurants
    _Trade("5814", 14, "meal", 9.5, 0.5),  # fast food
    _Trade("5541", 9, "road", 52.0, 0.4, partial=0.5),  # service stations
    _Trade("5542", 4, "road", 58.0, 0.4, preauthorized=0.9, partial=0.5),  # automated fuel
    _Trade("4111", 8, "road", 2.8, 0.5),  # local transport
    _Trade("5912", 6, "shop", 15.0, 0.8),  # drug stores
    _Trade("5651", 6, "shop", 55.0, 0.7),  # clothing
    _Trade("5732", 2, "shop", 180.0, 1.0),  # electronics
    _Trade("7011", 3, "stay", 160.0, 0.6, preauthorized=0.6),  # hotels
    _Trade("7512", 1, "stay", 240.0, 0.6, preauthorized=0.9),  # car rental
    _Trade("5999", 9, "web", 42.0, 0.9, entry_modes=_ON_THE_WEB),  # web shops
    _Trade("5815", 5, "web", 9.9, 0.5, entry_modes=_ON_THE_WEB),  # digital goods
    _Trade("4511", 1, "web", 310.0, 0.7, entry_modes=_ON_THE_WEB),  # airlines
)


@dataclass(frozen=True, slots=True)
class _Country:
    code: str
    currency: str
    weight: float
    per_eur: float
    """Roughly what a euro is worth; believable prices need no more."""
    step_minor: int = 1
    """The smallest coin, or what prices are rounded to."""


_COUNTRIES = (
    _Country("FR", "EUR", 24, 1.0),
    _Country("DE", "EUR", 18, 1.0),
    _Country("IT", "EUR", 8, 1.0),
    _Country("US", "USD", 20, 1.1),
    _Country("GB", "GBP", 12, 0.85),
    _Country("CH", "CHF", 7, 0.95, step_minor=5),
    _Country("JP", "JPY", 7, 160.0),
    _Country("KW", "KWD", 3, 0.34, step_minor=5),
    _Country("SE", "SEK", 3, 11.3, step_minor=100),
)


@dataclass(frozen=True, slots=True)
class _Brand:
    name: str
    weight: float
    prefixes: tuple[str, ...]
    """Of numbers published for tests; the digits after them vary."""
    length: int = 16
    at_home: str = ""
    """Where it is more common than elsewhere."""


_BRANDS = (
    _Brand("visa", 46, ("4111111111", "4012888888", "4242424242")),
    _Brand("mastercard", 36, ("5555555555", "5105105105", "2223003122", "2223000048")),
    _Brand("amex", 7, ("3782822463", "3714496353"), length=15, at_home="US"),
    _Brand("discover", 3, ("6011111111", "6011000990"), at_home="US"),
    _Brand("jcb", 2, ("3530111333", "3566002020"), at_home="JP"),
    _Brand("diners", 2, ("3056930902", "3852000002"), length=14),
)

_DECLINES = {"9051": 45, "9005": 35, "9061": 8, "9054": 7, "9014": 5}
"""Last four digits that the simulator declines: funds, do not honour, limit, expired, number."""
_HALF_APPROVED = "9902"
"""Last four digits: half is approved where that is welcome."""
_PRICE_ENDINGS = {99: 25, 95: 10, 90: 10, 50: 15, 0: 15}
_MERCHANTS_EACH = 4
_TERMINALS_EACH = 5
_CARDS_EACH = 2_000


def _instant(share: float) -> float:
    """Return the second of the day before which this share of the day's sales is made."""
    curve = _curve()
    hour = min(bisect(curve, share), 23)
    before = curve[hour - 1] if hour else 0.0
    within = (share - before) / (curve[hour] - before)
    return round((hour + min(within, 0.999_999)) * 3600, 3)


@lru_cache(maxsize=1)
def _curve() -> tuple[float, ...]:
    """Return the share of the day's sales that are made by the end of each hour."""
    hourly = [sum(trade.weight * _busy(trade, hour) for trade in _TRADES) for hour in range(24)]
    total = sum(hourly)
    return tuple(part / total for part in accumulate(hourly))


def _busy(trade: _Trade, hour: int) -> float:
    hours = _HOURS[trade.hours]
    return hours[hour] / sum(hours)


def _sale(random: Random, number: int, second: float) -> Sale:
    hour = int(second // 3600)
    country = random.choices(_COUNTRIES, [country.weight for country in _COUNTRIES])[0]
    trade = random.choices(_TRADES, [trade.weight * _busy(trade, hour) for trade in _TRADES])[0]
    # A few shops take most of the money.
    shop = random.choices(range(_MERCHANTS_EACH), [8, 4, 2, 1])[0] + 1
    till = random.randrange(_TERMINALS_EACH) + 1
    merchant_id = f"SYN-{country.code}-{trade.code}-{shop}"
    entry_modes = trade.entry_modes or _AT_THE_COUNTER
    partial = random.random() < trade.partial
    amount_minor = _amount(random, trade, country)
    if random.random() < DECLINED_SHARE:
        amount_minor = _ending(amount_minor, random.choices(*_weighted(_DECLINES))[0])
    elif partial and random.random() < 0.02:
        amount_minor = _ending(amount_minor, _HALF_APPROVED)
    return Sale(
        number=number,
        second=second,
        terminal_id=f"{merchant_id}-T{till}",
        merchant_id=merchant_id,
        merchant_category_code=trade.code,
        country=country.code,
        card_number=_card_number(random, country),
        card_expiry=f"{random.randrange(30, 36)}{random.randrange(1, 13):02d}",
        amount_minor=amount_minor,
        currency=country.currency,
        kind=PREAUTHORIZATION if random.random() < trade.preauthorized else PURCHASE,
        entry_mode=random.choices(*_weighted(entry_modes))[0],
        accepts_partial_approval=partial,
        sends=2 if random.random() < REPEATED_SHARE else 1,
    )


def _card_number(random: Random, country: _Country) -> str:
    weights = [brand.weight * (5 if brand.at_home == country.code else 1) for brand in _BRANDS]
    brand = random.choices(_BRANDS, weights)[0]
    prefix = random.choice(brand.prefixes)
    free = brand.length - len(prefix) - 1
    # Customers come back: low numbers are drawn more often.
    customer = int(random.random() ** 2 * min(_CARDS_EACH, 10**free))
    digits = f"{prefix}{customer:0{free}d}"
    return digits + luhn_digit(digits)


def _amount(random: Random, trade: _Trade, country: _Country) -> int:
    """Return a price as this trade has them, clear of the reserved amounts."""
    exponent = Currency(country.currency).exponent or 0
    median = trade.median_eur * country.per_eur * math.pow(10, exponent)
    price = median * math.exp(random.gauss(0.0, trade.spread))
    amount_minor: int = max(round(price / country.step_minor), 1) * country.step_minor
    if exponent == 2 and amount_minor >= 200 and country.step_minor == 1:
        endings = {**_PRICE_ENDINGS, amount_minor % 100: 25}
        amount_minor += random.choices(*_weighted(endings))[0] - amount_minor % 100
    if amount_minor % 10_000 >= RESERVED_FROM:
        amount_minor -= 1_000
    return amount_minor


def _ending(amount_minor: int, last_four: str) -> int:
    return amount_minor - amount_minor % 10_000 + int(last_four)


def _weighted(table: Mapping[_T, int]) -> tuple[list[_T], list[int]]:
    return list(table), list(table.values())
