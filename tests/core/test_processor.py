"""Processors: what a profile promises unless it says otherwise."""

from switch.core.processor import CardKey, Processor
from switch.core.response_code import CODES, meanings_with


def test_a_profile_that_says_nothing_reads_codes_as_the_standard_does() -> None:
    assert Processor("P").codes == CODES
    assert Processor("P").card_keys == ()


def test_a_profile_that_says_nothing_accepts_repeats_and_answers_within_a_second() -> None:
    assert (Processor("P").accepts_repeat, Processor("P").node_timeout_s) == (True, 1.0)


def test_a_profile_keeps_its_own_meanings_to_itself() -> None:
    promising = Processor("P", codes=meanings_with({"91": "technical"}))
    assert promising.codes["91"] != Processor("Q").codes["91"] == CODES["91"]


def test_keys_are_named_by_their_processor_and_id() -> None:
    key = CardKey("P", "k1", bytes(32), 1_800_000_000_000)
    assert Processor("P", card_keys=(key,)).card_keys[0].key_id == "k1"
