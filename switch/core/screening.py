"""What may not stand in a text: card numbers in clear, and characters that deceive.

A card number has 13 to 19 digits and its last digit makes the Luhn sum a multiple of ten. Anything
of that shape in a free text is refused before it is written anywhere. One number in ten passes the
sum by chance, so an identifier (a merchant number of 15 digits, say) is only suspected if the
number also begins with the BIN of the payment it came with: then chance is one in ten million.

People write card numbers in groups, so a number is looked for across groups of digits that nothing
but white space, dashes, dots, slashes or underscores parts, and it may begin and end at any group.
A single group of more than 19 digits is searched at every position: what is glued to a card number
does not hide it. Digits are digits in every script. A comma parts: it stands in lists of amounts.

Characters that control rather than show (NUL, line feeds, the marks that turn the direction of
writing) make a text read otherwise than it is stored; they are refused too.

Rejected: removing what is found. A request that carried a card number in clear must be mended
where it was made, not quietly cleaned here.
"""

from __future__ import annotations

import re

SHORTEST, LONGEST = 13, 19

# \d and int() agree on what a digit is in any script.
_GROUPED = re.compile(r"\d+(?:[\s._/\-\u2010-\u2015\u2212]{1,3}\d+)*")
_GROUP = re.compile(r"\d+")
_RUN = re.compile(rf"\d{{{SHORTEST},}}")
_SEPARATORS = str.maketrans("", "", " ._/-")

# The second half of each pair counts double, less nine when it has two digits.
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)

# Controls, directional marks, embeddings, overrides and isolates, line and paragraph separators.
_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def passes_luhn(digits: list[int]) -> bool:
    """Return whether the Luhn sum of the digits is a multiple of ten."""
    return (sum(digits[-1::-2]) + sum(_DOUBLED[d] for d in digits[-2::-2])) % 10 == 0


def holds_card_number(text: str) -> bool:
    """Return whether a free text holds what looks like a card number."""
    for grouped in _GROUPED.finditer(text):
        groups = [[int(c) for c in group] for group in _GROUP.findall(grouped[0])]
        for first, group in enumerate(groups):
            if len(group) > LONGEST:
                if _passes_anywhere(group):
                    return True
                continue
            digits: list[int] = []
            for group in groups[first:]:
                digits += group
                if len(digits) > LONGEST:
                    break
                if len(digits) >= SHORTEST and passes_luhn(digits):
                    return True
    return False


def _passes_anywhere(digits: list[int]) -> bool:
    return any(
        passes_luhn(digits[start : start + length])
        for start in range(len(digits) - SHORTEST + 1)
        for length in range(SHORTEST, min(LONGEST, len(digits) - start) + 1)
    )


def identifier_holds_card_number(text: str, bin_digits: str) -> bool:
    """Return whether an identifier holds what looks like a card number of this BIN.

    Any position counts, with or without letters around it, and separators are passed over. Most
    identifiers are shorter than a card number and are through after one look.
    """
    if len(text) < SHORTEST:
        return False
    for run in _RUN.finditer(text.translate(_SEPARATORS)):
        digits = run[0]
        start = digits.find(bin_digits)
        while start >= 0:
            numbers = [int(c) for c in digits[start : start + LONGEST]]
            if any(passes_luhn(numbers[:n]) for n in range(SHORTEST, len(numbers) + 1)):
                return True
            start = digits.find(bin_digits, start + 1)
    return False


def forbidden_character(text: str) -> str | None:
    """Return the first character that controls rather than shows, as U+202E, or None."""
    found = _FORBIDDEN.search(text)
    return None if found is None else f"U+{ord(found[0]):04X}"
