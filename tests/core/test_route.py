"""Routes: which processors may take a payment, in which order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.core import route
from switch.core.route import Route, RouteBook

REST = Route(("P", "Q"))
SIXES = st.integers(0, 999_999)
RANGES = st.tuples(SIXES, SIXES).map(lambda pair: (min(pair), max(pair)))
MERCHANTS = st.sampled_from(["M-1", "M-2", "M-3"])
CURRENCIES = st.sampled_from(["EUR", "USD", "JPY"])
ROUTES = st.builds(
    Route,
    processors=st.lists(st.sampled_from("PQRS"), min_size=1, unique=True).map(tuple),
    bins=st.lists(RANGES, max_size=2).map(tuple),
    merchants=st.frozensets(MERCHANTS, max_size=2),
    currencies=st.frozensets(CURRENCIES, max_size=2),
)
PAYMENTS = st.tuples(SIXES.map("{:06d}".format), MERCHANTS, CURRENCIES)


def holds(condition: Route, six: int, merchant: str, currency: str) -> bool:
    """Decide word by word: all that is named must hold."""
    named = []
    if condition.bins:
        named.append(any(six in range(low, high + 1) for low, high in condition.bins))
    if condition.merchants:
        named.append(merchant in condition.merchants)
    if condition.currencies:
        named.append(currency in condition.currencies)
    return False not in named


@given(st.lists(ROUTES, max_size=5), st.lists(PAYMENTS, max_size=10))
def test_the_first_route_whose_condition_holds_is_the_payments(
    routes: list[Route], payments: list[tuple[str, str, str]]
) -> None:
    book = RouteBook((*routes, REST))
    for digits, merchant, currency in payments * 2:
        fitting = [r for r in (*routes, REST) if holds(r, int(digits), merchant, currency)]
        assert book.processors_for(digits, merchant, currency) == fitting[0].processors


@given(PAYMENTS, st.text("0123456789", max_size=2))
def test_a_bin_of_eight_digits_falls_into_the_range_of_its_first_six(
    payment: tuple[str, str, str], more: str
) -> None:
    six, merchant, currency = payment
    book = RouteBook((Route(("R",), bins=((400_000, 499_999),)), REST))
    found = book.processors_for(six + more, merchant, currency)
    assert found == book.processors_for(six, merchant, currency)
    assert found == (("R",) if six.startswith("4") else ("P", "Q"))


@pytest.mark.parametrize("digits", ["411111", "411119", "4111110", "41111999"])
def test_a_range_holds_both_its_ends(digits: str) -> None:
    book = RouteBook((Route(("R",), bins=((411_111, 411_119),)), REST))
    assert book.processors_for(digits, "M-1", "EUR") == ("R",)


def test_just_outside_a_range_is_outside() -> None:
    book = RouteBook((Route(("R",), bins=((411_111, 411_119),)), REST))
    for six in ("411110", "411120"):
        assert book.processors_for(six, "M-1", "EUR") == ("P", "Q")


def test_a_bin_may_begin_with_zeros() -> None:
    book = RouteBook((Route(("R",), bins=((4, 4),)), REST))
    assert book.processors_for("000004", "M-1", "EUR") == ("R",)


@pytest.mark.parametrize(
    "routes",
    [
        (),
        (Route(("P",), currencies=frozenset({"EUR"})),),
        (Route(("P",), merchants=frozenset({"M-1"})),),
        (Route(("P",), bins=((0, 999_999),)),),
        (REST, Route(("P",), currencies=frozenset({"EUR"}))),
    ],
)
def test_the_last_route_takes_every_payment(routes: tuple[Route, ...]) -> None:
    with pytest.raises(AssertionError, match="last route"):
        RouteBook(routes)


def test_what_is_remembered_is_bounded_and_right() -> None:
    """A day of new shops may not fill the memory."""
    book = RouteBook((Route(("R",), merchants=frozenset({"shop-7"})), REST))
    bound = route._REMEMBERED_MAX
    for number in range(bound + 10):
        book.processors_for("411111", f"shop-{number}", "EUR")
        assert len(book._remembered) <= bound
    assert book.processors_for("411111", "shop-7", "EUR") == ("R",)
    assert book.processors_for("411111", "shop-8", "EUR") == ("P", "Q")
