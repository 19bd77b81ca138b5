"""Names: what a request id must be, and what the names made from it depend on."""

import string
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.core import identity
from switch.core.money import Money

NOW_MS = 1_800_000_000_000
RETENTION_S = 30 * 86_400.0
TOLERANCE_S = 300.0
DAY_MS = 86_400_000


def uuid7(at_ms: int, tail: int = 0x0123_4567_89AB_CDEF_FEDC) -> str:
    bits = (at_ms << 80) | (tail & ((1 << 80) - 1))
    bits = bits & ~(0xF << 76) | (0x7 << 76)
    bits = bits & ~(0x3 << 62) | (0x2 << 62)
    return str(uuid.UUID(int=bits))


def check(text: str) -> bytes | str:
    return identity.check_request_id(text, NOW_MS, RETENTION_S, TOLERANCE_S)


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**80 - 1))
def test_a_uuid7_is_read_as_the_standard_library_reads_it(at_ms: int, tail: int) -> None:
    text = uuid7(at_ms, tail)
    found = identity.parse_uuid7(text)
    assert found == uuid.UUID(text).bytes
    assert identity.parse_uuid7(text.upper()) == found
    assert identity.time_of(found) == at_ms
    assert identity.format_uuid(found) == text


@given(st.text(max_size=40) | st.text(alphabet="0123456789abcdef- \n7{}", min_size=36, max_size=36))
def test_any_other_text_is_no_request_id(text: str) -> None:
    found = identity.parse_uuid7(text)
    if found is not None:
        assert uuid.UUID(text).version == 7
        assert text.lower() == str(uuid.UUID(bytes=found))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "018bcfe5-6800-4123-8123-456789abcdef",  # version 4
        "018bcfe5-6800-7123-c123-456789abcdef",  # another variant
        "018bcfe5-6800-7123-8123-456789abcde",
        "018bcfe5-6800-7123-8123-456789abcdef0",
        "018bcfe568007123-8123-456789abcdef--",
        "018bcfe5-6800-7123-8123-456789abcdeg",
        "018bcfe5-6800-7123-8123-4567 9abcdef",
        "018bcfe5-6800-7123-8123-  456789abcd",
        "018bcfe5-6800-7123-8123-45-789abcdef",
        "018bcfe5-6800-7123-8123-45678９abcdef",  # noqa: RUF001 # a full-width digit is the case
        "{18bcfe5-6800-7123-8123-456789abcde}",
    ],
)
def test_what_merely_looks_like_a_request_id_is_invalid(text: str) -> None:
    assert check(text) == identity.INVALID


@pytest.mark.parametrize(
    ("offset_ms", "answer"),
    [
        (0, None),
        (-30 * DAY_MS, None),
        (-30 * DAY_MS - 1, identity.EXPIRED),
        (300_000, None),
        (300_001, identity.FROM_FUTURE),
        (-NOW_MS, identity.EXPIRED),
        (2**48 - 1 - NOW_MS, identity.FROM_FUTURE),
    ],
)
def test_retention_and_tolerance_are_exact(offset_ms: int, answer: str | None) -> None:
    text = uuid7(NOW_MS + offset_ms)
    assert check(text) == (answer or uuid.UUID(text).bytes)


NAMES = st.text(max_size=12)


@given(
    st.lists(
        st.tuples(NAMES, NAMES, st.binary(min_size=16, max_size=16), st.integers(0, 2**32 - 1)),
        min_size=2,
        max_size=2,
        unique=True,
    )
)
def test_two_authorizations_never_share_a_reference(
    pair: list[tuple[str, str, bytes, int]],
) -> None:
    first, second = (identity.reference(*names) for names in pair)
    assert first != second
    assert len(first) == len(second) == 16


def test_the_frames_of_a_reference_cannot_be_moved() -> None:
    one = bytes(16)
    assert identity.reference("ab", "c", one, 0) != identity.reference("a", "bc", one, 0)
    assert identity.reference("", "abc", one, 0) != identity.reference("abc", "", one, 0)


def test_names_never_change() -> None:
    """They are stored, and ledgers know them: another value would be another sum of money."""
    request_id = bytes(range(16))
    named = identity.reference("switch-1", "T-1", request_id, 1)
    assert named.hex() == "4c49cba84ffd5eb95dbe8492a509ff66"
    assert identity.reversal_reference(named).hex() == "66fb8278a100ee041b6ecf5aaf8e42df"
    assert (
        identity.reversal_reference(named, request_id).hex() == "bb2ed0572a552ddd177ed07fb6dd0851"
    )
    assert identity.stan(named) == "591295"
    assert identity.retrieval_reference_number(named) == "310182591295"
    assert (
        identity.fingerprint(Money(1250, "EUR"), 1, "411111", "1111", "M-1").hex()
        == "03c1343c182e135b8955830c9de48cc0"
    )


@given(st.binary(min_size=16, max_size=16), st.binary(max_size=16), st.binary(max_size=16))
def test_a_reversal_has_one_name_for_each_who_asks(
    named: bytes, first: bytes, second: bytes
) -> None:
    same = identity.reversal_reference(named, first) == identity.reversal_reference(named, second)
    assert same == (first == second)


@given(st.binary(min_size=16, max_size=16))
def test_labels_have_the_lengths_iso_8583_gives_them(named: bytes) -> None:
    stan = identity.stan(named)
    assert len(stan) == 6
    assert stan != "000000"
    assert set(stan) <= set(string.digits)
    number = identity.retrieval_reference_number(named)
    assert len(number) == 12
    assert number.endswith(stan)
    assert set(number) <= set(string.digits)


ASKED = st.tuples(
    st.builds(Money, st.integers(1, 2**53), st.sampled_from(["EUR", "USD", "JPY"])),
    st.integers(1, 2),
    st.text(string.digits, min_size=6, max_size=8),
    st.text(string.digits, min_size=4, max_size=4),
    st.text(string.ascii_letters + "._-", min_size=1, max_size=32),
)


@given(ASKED, ASKED)
def test_a_fingerprint_is_equal_iff_what_is_asked_is(
    first: tuple[Money, int, str, str, str], second: tuple[Money, int, str, str, str]
) -> None:
    assert (identity.fingerprint(*first) == identity.fingerprint(*second)) == (first == second)
    assert len(identity.fingerprint(*first)) == 16
    for position in range(5):
        mixed = (*first[:position], second[position], *first[position + 1 :])
        same = identity.fingerprint(*mixed) == identity.fingerprint(*first)  # type: ignore[arg-type] # mypy loses the tuple's types in slices
        assert same == (mixed == first)
