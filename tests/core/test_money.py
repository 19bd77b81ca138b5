"""Money: it is counted in whole minor units, and sums balance."""

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from switch.core.money import AMOUNT_MINOR_MAX, CURRENCIES, Money

AMOUNTS = st.integers(0, AMOUNT_MINOR_MAX)
ANY_CURRENCY = st.sampled_from(sorted(CURRENCIES))
EUROS = st.builds(Money, AMOUNTS, st.just("EUR"))
MONEY = st.builds(Money, AMOUNTS, ANY_CURRENCY)

EXPONENTS = {"EUR": 2, "USD": 2, "JPY": 0, "KRW": 0, "ISK": 0, "KWD": 3, "BHD": 3, "CLF": 4}
"""From the standard, by hand."""


@given(EUROS, EUROS)
def test_a_sum_does_not_depend_on_the_order(a: Money, b: Money) -> None:
    assert a.plus(b) == b.plus(a)


@given(EUROS, EUROS, EUROS)
def test_a_sum_does_not_depend_on_the_grouping(a: Money, b: Money, c: Money) -> None:
    assert a.plus(b).plus(c) == a.plus(b.plus(c))


@given(MONEY)
def test_nothing_changes_no_amount(a: Money) -> None:
    assert a.plus(a.nothing()) == a == a.minus(a.nothing())
    assert a.minus(a) == a.nothing()


@given(EUROS, EUROS)
def test_taking_away_undoes_adding(a: Money, b: Money) -> None:
    assert a.plus(b).minus(b) == a


@given(EUROS, EUROS)
def test_money_never_falls_below_zero(a: Money, b: Money) -> None:
    if a.amount_minor >= b.amount_minor:
        assert a.minus(b).amount_minor == a.amount_minor - b.amount_minor
    else:
        with pytest.raises(AssertionError, match="below zero"):
            a.minus(b)


@given(MONEY, MONEY)
def test_two_currencies_have_no_sum_and_no_difference(a: Money, b: Money) -> None:
    assume(a.currency != b.currency)
    with pytest.raises(AssertionError, match="no sum"):
        a.plus(b)
    with pytest.raises(AssertionError, match="no difference"):
        a.minus(b)


@given(MONEY, MONEY)
def test_money_is_whole_numbers_and_stays_so(a: Money, b: Money) -> None:
    for amount in (a.nothing(), a.plus(Money(b.amount_minor, a.currency)), a.minus(a)):
        assert type(amount.amount_minor) is int


@given(MONEY)
def test_what_a_person_reads_is_the_exact_amount(a: Money) -> None:
    number, currency = a.text().split(" ")
    _, digits, exponent = Decimal(number).as_tuple()
    assert currency == a.currency
    assert int("".join(map(str, digits))) == a.amount_minor
    assert -int(exponent) == EXPONENTS.get(a.currency, -int(exponent))


@pytest.mark.parametrize(("currency", "exponent"), EXPONENTS.items())
def test_the_standard_says_how_many_decimals_a_currency_has(currency: str, exponent: int) -> None:
    for amount_minor in (0, 1, 9, 1250):
        number = Money(amount_minor, currency).text().split(" ")[0]
        assert Decimal(number) == Decimal(amount_minor).scaleb(-exponent)
        assert len(number.partition(".")[2]) == exponent


def test_an_amount_is_written_as_people_write_it() -> None:
    assert Money(1250, "EUR").text() == "12.50 EUR"
    assert Money(5, "EUR").text() == "0.05 EUR"
    assert Money(1250, "JPY").text() == "1250 JPY"
    assert Money(1250, "KWD").text() == "1.250 KWD"


def test_what_has_no_minor_unit_is_no_currency_to_pay_in() -> None:
    assert {"EUR", "USD", "JPY", "KWD"} <= CURRENCIES
    assert not CURRENCIES & {"XAU", "XXX", "XTS", "XDR", "eur", ""}
    assert Money(0, "XXX").text() == "0 XXX"


def test_the_largest_amount_is_the_last_that_a_double_counts_exactly() -> None:
    assert float(AMOUNT_MINOR_MAX) != float(AMOUNT_MINOR_MAX - 1)
    assert float(AMOUNT_MINOR_MAX) != float(AMOUNT_MINOR_MAX + 1)
    assert float(AMOUNT_MINOR_MAX + 1) == float(AMOUNT_MINOR_MAX + 2)
