"""Who is who: the names of payments, authorizations and reversals.

A payment is named by its terminal, with a UUIDv7: a name that carries its own time. That makes
retention exact. An id older than what we remember is refused and never taken for a new payment,
without keeping it; an id from the future is refused, because it would outlive its retention.

What a ledger knows an authorization by is not chosen by anybody: it is a hash of who asks, for
which payment, for the how-many-th time. So it can be computed again after a crash, a repeat cannot
miss it, and two switches cannot meet in it. The same holds for reversals. Every text that goes
into a hash is framed by its length: ("ab", "c") and ("a", "bc") are two names.

A fingerprint says whether two requests under one id ask for the same thing. It covers what the
money depends on and leaves out the envelope, because sealing is randomised and a repeat may be
sealed anew.

STAN and RRN are labels for people and for ISO 8583. They are cut from the reference, so a repeat
keeps them; they may collide, and nothing is ever looked up by them.

Rejected: random references (they would have to be durable to be found again, and two of them may
stand for one sum of money), and the uuid module on the way in (it costs more than the rest of the
check and accepts braces, URNs and misplaced dashes).
"""

from __future__ import annotations

from hashlib import sha256

from switch.core.money import Money

INVALID = "REQUEST_ID_INVALID"
EXPIRED = "REQUEST_ID_EXPIRED"
FROM_FUTURE = "REQUEST_ID_FROM_FUTURE"

_TEXT_LENGTH = 36
_VARIANTS = frozenset("89abAB")


def parse_uuid7(text: str) -> bytes | None:
    """Return the 16 bytes of a UUIDv7 in its 36-character form, of either case, or None."""
    if (
        len(text) != _TEXT_LENGTH
        or text[14] != "7"
        or text[19] not in _VARIANTS
        or not text[8] == text[13] == text[18] == text[23] == "-"
    ):
        return None
    try:
        found = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        return None
    # fromhex passes over white space, and further dashes have just been taken out.
    return found if len(found) == 16 else None


def format_uuid(uuid: bytes) -> str:
    """Return the 36-character form of a UUID, in lower case."""
    digits = uuid.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def time_of(uuid7: bytes) -> int:
    """Return when a UUIDv7 was made, in milliseconds since 1970, as its maker's clock said."""
    return int.from_bytes(uuid7[:6], "big")


def check_request_id(
    text: str, utc_ms: int, retention_s: float, future_tolerance_s: float
) -> bytes | str:
    """Return the 16 bytes of a request id, or the published reason why it is refused."""
    uuid7 = parse_uuid7(text)
    if uuid7 is None:
        return INVALID
    age_ms = utc_ms - int.from_bytes(uuid7[:6], "big")
    if age_ms > retention_s * 1000:
        return EXPIRED
    if -age_ms > future_tolerance_s * 1000:
        return FROM_FUTURE
    return uuid7


def reference(switch_id: str, terminal_id: str, request_id: bytes, ordinal: int) -> bytes:
    """Return the 16 bytes that one ledger knows one authorization by."""
    switch, terminal = switch_id.encode(), terminal_id.encode()
    # The lengths in front of the texts keep any two different inputs different.
    return sha256(
        b"payswitch-reference-v1 %d:%b %d:%b %d:%b %d"
        % (len(switch), switch, len(terminal), terminal, len(request_id), request_id, ordinal)
    ).digest()[:16]


def reversal_reference(reference: bytes, request_id: bytes = b"") -> bytes:
    """Return the 16 bytes that name a reversal of ``reference`` for ever.

    The full reversal has one name, whoever asks for it and however often; a partial one is named
    with the ``request_id`` under which its terminal asked for it.
    """
    return sha256(
        b"payswitch-reversal-v1" + len(reference).to_bytes(4, "big") + reference + request_id
    ).digest()[:16]


def fingerprint(
    amount: Money, kind: int, bin_digits: str, last_four: str, merchant_id: str
) -> bytes:
    """Return 16 bytes that are equal iff what the money depends on is equal.

    The fields are joined by line feeds, which only the last could hold; all of them have passed
    the rules of the wire, which let none through.
    """
    return sha256(
        f"payswitch-fingerprint-v1\n{amount.amount_minor}\n{amount.currency}\n{kind}\n"
        f"{bin_digits}\n{last_four}\n{merchant_id}".encode()
    ).digest()[:16]


def stan(reference: bytes) -> str:
    """Return the system trace audit number (DE 11) of an authorization: 000001 to 999999."""
    return f"{int.from_bytes(reference[:8], 'big') % 999_999 + 1:06d}"


def retrieval_reference_number(reference: bytes) -> str:
    """Return the RRN (DE 37) of an authorization: 12 digits, the last six its STAN."""
    return f"{int.from_bytes(reference[8:], 'big') % 1_000_000:06d}{stan(reference)}"
