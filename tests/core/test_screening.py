"""Texts: card numbers in clear are found, and little else is taken for one."""

import random
import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.core.screening import (
    forbidden_character,
    holds_card_number,
    identifier_holds_card_number,
    passes_luhn,
)

VISA = "4111111111111111"

LONG = "6304000000000000000"  # 19 digits


def completed(digits: str) -> str:
    """Add the digit that makes the Luhn sum right."""
    for last in string.digits:
        if passes_luhn([int(c) for c in digits + last]):
            return digits + last
    raise AssertionError("one of ten digits fits")


CARD_NUMBERS = st.text(string.digits, min_size=12, max_size=18).map(completed)
AROUND = st.text(st.characters(exclude_categories=["Nd"], exclude_characters=" ._/-"), max_size=8)


def luhn_by_the_book(digits: str) -> bool:
    """Double every second digit from the right, and add the digits of the products."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += sum(int(c) for c in str(value))
    return total % 10 == 0


@given(st.text(string.digits, min_size=1, max_size=30))
def test_the_luhn_sum_is_that_of_the_book(digits: str) -> None:
    assert passes_luhn([int(c) for c in digits]) == luhn_by_the_book(digits)


@given(AROUND, CARD_NUMBERS, AROUND)
def test_a_card_number_is_found_wherever_it_stands(before: str, number: str, after: str) -> None:
    assert holds_card_number(f"{before}{number}{after}")


@given(
    CARD_NUMBERS,
    st.lists(st.integers(1, 18), max_size=6),
    st.sampled_from([" ", "-", ".", "/", "_", " - ", "\u00a0", "\u2013", "\n"]),
)
def test_groups_hide_no_card_number(number: str, cuts: list[int], separator: str) -> None:
    for cut in sorted({c for c in cuts if c < len(number)}, reverse=True):
        number = f"{number[:cut]}{separator}{number[cut:]}"
    assert holds_card_number(number)
    assert holds_card_number(f"order 12 {number} 99")


def test_digits_of_any_script_are_digits() -> None:
    assert holds_card_number("".join(chr(0x0660 + int(c)) for c in VISA))
    assert holds_card_number("".join(chr(0xFF10 + int(c)) for c in VISA))


@given(
    st.text(string.digits, max_size=10),
    CARD_NUMBERS,
    st.text(string.digits, min_size=7, max_size=9),
)
def test_a_longer_run_of_digits_hides_no_card_number(before: str, number: str, after: str) -> None:
    assert holds_card_number(before + number + after)


@given(st.text(max_size=60))
def test_a_text_with_few_digits_holds_none(text: str) -> None:
    if sum(c.isdecimal() for c in text) < 13:
        assert not holds_card_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "primary is slow since 14:02, ticket 48123",
        "4111111111111112",  # the sum is wrong
        "411111111111",  # too short
        "411,111,111,111,111,1",  # a list, not a number
        "01234567890123450111",  # 20 digits without a number in them
    ],
)
def test_other_texts_pass(text: str) -> None:
    assert not holds_card_number(text)


@pytest.mark.parametrize(
    "identifier",
    [
        VISA,
        f"T{VISA}",
        f"T-{VISA}-1",
        f"9{VISA}",
        f"{VISA}9",
        "4111-1111-1111-1111",
        "4111.11111111_1111",
    ],
)
def test_an_identifier_that_begins_with_the_bin_is_found(identifier: str) -> None:
    assert identifier_holds_card_number(identifier, "411111")
    assert identifier_holds_card_number(identifier, "41111111")


@pytest.mark.parametrize(
    ("identifier", "bin_digits"),
    [
        (VISA, "378282"),  # Luhn-valid by chance, of another BIN
        ("4111111111111112", "411111"),
        ("411111111111", "411111"),
        ("M411111-x-411111", "411111"),
        ("ABCDEFGHIJKLMNOPQ", "411111"),
        ("T1", "411111"),
    ],
)
def test_other_identifiers_pass(identifier: str, bin_digits: str) -> None:
    assert not identifier_holds_card_number(identifier, bin_digits)


@given(CARD_NUMBERS)
def test_a_card_number_in_an_identifier_is_found_by_its_own_bin(number: str) -> None:
    assert identifier_holds_card_number(f"M{number}", number[:6])


def test_merchant_numbers_are_seldom_suspected() -> None:
    drawn = random.Random(7)
    numbers = [f"{drawn.randrange(10**15):015d}" for _ in range(20_000)]
    assert sum(identifier_holds_card_number(number, "411111") for number in numbers) <= 1


TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@given(st.text() | st.text(TURNING + "a\n\0\x85\u2028\u2029 \xa0"))
def test_characters_that_control_are_found(text: str) -> None:
    controlling = [c for c in text if unicodedata.category(c) in {"Cc", "Zl", "Zp"} or c in TURNING]
    expected = f"U+{ord(controlling[0]):04X}" if controlling else None
    assert forbidden_character(text) == expected


@pytest.mark.parametrize("character", ["\0", "\n", "\x1b", "\x85", "\u202e", "\u2066"])
def test_a_deceiving_character_is_named(character: str) -> None:
    assert forbidden_character(f"slow{character}node") == f"U+{ord(character):04X}"


def test_ordinary_text_of_any_language_passes() -> None:
    assert forbidden_character("Grüße, 你好, שלום — ok") is None
