"""A synthetic day: believable, the same for the same seed, and nobody's card."""

import json
from collections import Counter
from itertools import islice

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from clients.commands import sample
from clients.simulator.outcome import APPROVALS, outcome_of
from clients.traffic import RESERVED_FROM, Sale, day, days, luhn_digit
from payswitch.processor.v1 import processor_pb2 as pb

# As the card schemes publish them for tests.
PUBLISHED = [
    "4111111111111111",
    "4012888888881881",
    "4242424242424242",
    "5555555555554444",
    "5105105105105100",
    "2223003122003222",
    "2223000048400011",
    "378282246310005",
    "371449635398431",
    "6011111111111117",
    "6011000990139424",
    "3530111333300000",
    "3566002020360505",
    "30569309025904",
    "38520000023237",
]


@pytest.fixture(scope="module")
def sales() -> list[Sale]:
    return list(day(7, 20_000))


@pytest.mark.parametrize("number", PUBLISHED)
def test_the_luhn_digit_is_that_of_the_published_numbers(number: str) -> None:
    assert luhn_digit(number[:-1]) == number[-1]


@given(st.text("0123456789", min_size=1, max_size=18), st.integers(0, 17), st.integers(1, 9))
def test_one_wrong_digit_never_passes(digits: str, place: int, off_by: int) -> None:
    place %= len(digits)
    wrong = digits[:place] + str((int(digits[place]) + off_by) % 10) + digits[place + 1 :]
    assert luhn_digit(wrong) != luhn_digit(digits)


def test_the_same_seed_gives_the_same_day() -> None:
    assert list(day(3, 200)) == list(day(3, 200))
    assert list(day(3, 200)) != list(day(4, 200))


def test_the_first_sale_of_seed_one_stays_what_it_is() -> None:
    (sale,) = day(1, 1)
    assert (sale.terminal_id, sale.amount_minor, sale.currency) == ("SYN-FR-5814-2-T1", 500, "EUR")


def test_a_day_has_as_many_sales_as_asked_in_order(sales: list[Sale]) -> None:
    assert [sale.number for sale in sales] == list(range(1, 20_001))
    seconds = [sale.second for sale in sales]
    assert seconds == sorted(seconds)
    assert seconds[0] >= 0
    assert seconds[-1] < 86_400


def test_days_go_on_without_end_and_without_repeating_themselves() -> None:
    sales = list(islice(days(1, 10), 25))
    assert [sale.number for sale in sales] == [*range(1, 11), *range(1, 11), *range(1, 6)]
    assert sales[:10] != sales[10:20]


def test_noon_is_busier_than_the_night(sales: list[Sale]) -> None:
    hours = Counter(int(sale.second // 3600) for sale in sales)
    assert hours[12] > 10 * hours[3]
    assert set(hours) == set(range(24))


def test_every_card_number_passes_luhn_and_lies_in_a_published_range(sales: list[Sale]) -> None:
    prefixes = {number[:10] for number in PUBLISHED}
    lengths = {number[:10]: len(number) for number in PUBLISHED}
    for sale in sales:
        number = sale.card_number
        assert number[:10] in prefixes
        assert len(number) == lengths[number[:10]]
        assert luhn_digit(number[:-1]) == number[-1]
    assert len({sale.card_number for sale in sales}) > 1_000


def test_amounts_are_whole_positive_and_of_their_currency(sales: list[Sale]) -> None:
    currencies = {sale.currency for sale in sales}
    assert {"EUR", "USD", "GBP", "CHF", "JPY", "KWD", "SEK"} == currencies
    groceries: dict[str, list[int]] = {currency: [] for currency in currencies}
    for sale in sales:
        assert sale.amount_minor >= 1
        if sale.merchant_category_code == "5411":
            groceries[sale.currency].append(sale.amount_minor)
    median = {currency: sorted(prices)[len(prices) // 2] for currency, prices in groceries.items()}
    assert 1_500 < median["EUR"] < 3_500
    assert 2_400 < median["JPY"] < 5_600  # no minor unit
    assert 5_000 < median["KWD"] < 12_000  # three decimals


def test_reserved_amounts_are_used_only_for_believable_declines(sales: list[Sale]) -> None:
    reserved = [sale for sale in sales if sale.amount_minor % 10_000 >= RESERVED_FROM]
    codes: Counter[str] = Counter()
    for sale in reserved:
        outcome = outcome_of(sale.amount_minor)
        code, _ = outcome.decision(sale.amount_minor, sale.accepts_partial_approval)
        assert outcome.reply.name == "ONCE"
        assert outcome.crash.name == "NEVER"
        assert outcome.decided_after_ms == outcome.reply_after_ms == 0
        assert outcome.refusal is pb.DISPOSITION_UNSPECIFIED
        codes[code] += 1
    assert set(codes) == {"51", "05", "61", "54", "14", "10"}
    declined = sum(count for code, count in codes.items() if code not in APPROVALS)
    assert 0.02 < declined / len(sales) < 0.04


def test_a_share_is_preauthorized_and_a_share_is_sent_twice(sales: list[Sale]) -> None:
    preauthorized = [sale for sale in sales if sale.kind == "preauthorization"]
    assert 0.02 < len(preauthorized) / len(sales) < 0.15
    assert {sale.merchant_category_code for sale in preauthorized} == {"5542", "7011", "7512"}
    assert 0.003 < sum(sale.sends == 2 for sale in sales) / len(sales) < 0.008


def test_names_are_fit_for_the_wire_and_say_synthetic(sales: list[Sale]) -> None:
    for sale in sales:
        assert sale.terminal_id.startswith(sale.merchant_id)
        assert sale.merchant_id.startswith("SYN-")
        assert len(sale.terminal_id) <= 32


def test_the_command_prints_labelled_json_lines_without_card_numbers() -> None:
    result = CliRunner().invoke(sample, ["traffic", "--count", "10", "--seed", "1"])
    assert result.exit_code == 0, result.output
    printed = [json.loads(line) for line in result.output.splitlines()]
    assert len(printed) == 10
    assert all(line["synthetic"] is True for line in printed)
    for line, sale in zip(printed, day(1, 10), strict=True):
        assert sale.card_number not in json.dumps(line)
        assert line["last_four"] == sale.last_four


def test_the_command_prints_card_numbers_when_asked() -> None:
    result = CliRunner().invoke(sample, ["traffic", "--count", "1", "--card-numbers"])
    assert json.loads(result.output)["card_number"] == next(day(1, 1)).card_number
