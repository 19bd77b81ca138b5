"""The rules of the wire: from a parsed message to a record of the core, or to what is wrong.

A total function: whatever protobuf could parse is either turned into a record that is valid in
itself, or answered with every field that breaks a rule, named by its path. What was sent is never
echoed, because a card number may be in it.

Good input is the usual case and pays for one look: the texts of a request are joined by line feeds,
which no rule lets through, and matched by one expression built from the table. Only when something
is wrong is the table walked, rule by rule, to say what. A property in the tests holds the two to
the same verdict.

A terminal's clock is noted and never refused: whatever ``terminal_time`` says, the payment stands
on its own. The request id carries a time too, and that one is bound by the retention.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from payswitch.money.v1 import money_pb2
from payswitch.terminal.v1 import terminal_pb2
from switch.core.identity import (
    EXPIRED,
    FROM_FUTURE,
    INVALID,
    check_request_id,
    fingerprint,
    parse_uuid7,
)
from switch.core.message import (
    AuthorizationRequest,
    Envelope,
    Kind,
    PaymentKey,
    Refused,
    ReversalReason,
    ReversalRequest,
)
from switch.core.money import AMOUNT_MINOR_MAX, CURRENCIES, Money
from switch.core.screening import SHORTEST, identifier_holds_card_number


@dataclass(frozen=True, slots=True)
class ValidationSettings:
    """What the rules are told by the configuration."""

    timeout_max_s: float = 3.0
    """The longest a payment may take, whatever its terminal would wait."""
    retention_s: float = 30 * 86_400.0
    """How long identities are kept: an older request id is never taken for a new one."""
    future_tolerance_s: float = 300.0
    """How far a terminal's clock may run ahead."""


class Violation(NamedTuple):
    """One field that breaks a rule."""

    field: str
    """Its path, as amount.currency or envelopes[1].key_id."""
    description: str


class Rejected(NamedTuple):
    """A request that breaks rules; it had no effect."""

    refused: Refused
    violations: tuple[Violation, ...] = ()


class CardKeysQuery(NamedTuple):
    """Whose keys are asked for."""

    bin: str
    merchant_id: str
    currency: str


class _Text(NamedTuple):
    """The rule of one text field."""

    field: str
    pattern: str
    description: str


class _Problem(NamedTuple):
    reason: str
    violation: Violation


_IDENTIFIER = "[A-Za-z0-9._-]{1,32}"
_IDENTIFIER_SAYS = "1 to 32 characters of A-Z a-z 0-9 . _ -"

_TERMINAL = _Text("terminal_id", _IDENTIFIER, _IDENTIFIER_SAYS)
_MERCHANT = _Text("merchant_id", _IDENTIFIER, _IDENTIFIER_SAYS)
_BIN = _Text("bin", "[0-9]{6,8}", "6 to 8 digits")

_AUTHORIZE_TEXTS = (
    _TERMINAL,
    _BIN,
    _Text("last_four", "[0-9]{4}", "4 digits"),
    _MERCHANT,
    _Text("merchant_category_code", "[0-9]{4}", "4 digits"),
    _Text("country", "[A-Z]{2}", "an ISO 3166-1 alpha-2 code in capitals"),
)
_PROCESSOR = _Text("processor", _IDENTIFIER, _IDENTIFIER_SAYS)
_KEY_ID = _Text(
    "key_id", "[A-Za-z0-9._:/+=-]{1,64}", "1 to 64 characters of A-Z a-z 0-9 . _ : / + = -"
)
_ENVELOPE_TEXTS = (_PROCESSOR, _KEY_ID)


def _joined(texts: tuple[_Text, ...]) -> re.Pattern[str]:
    return re.compile("\n".join(text.pattern for text in texts))


_AUTHORIZE = _joined(_AUTHORIZE_TEXTS)
_ENVELOPE = _joined(_ENVELOPE_TEXTS)

ENVELOPES_MAX = 8
SEALED_MIN = 32 + 16
"""HPKE's encapsulated key and the tag of an empty plaintext."""
SEALED_MAX = 4096
VIOLATIONS_MAX = 16
"""Listed at most; the details of a status travel in a header, and headers are bounded."""

_KINDS = {1: Kind.PURCHASE, 2: Kind.PREAUTHORIZATION}
_ENTRY_MODE_MAX = 6
_REVERSAL_REASONS = {
    1: ReversalReason.CANCELLED,
    2: ReversalReason.COULD_NOT_COMPLETE,
    3: ReversalReason.TIMED_OUT,
}
# 0001-01-01 to 9999-12-31: what a Timestamp may hold.
_TIMESTAMP_MIN_S, _TIMESTAMP_MAX_S = -62_135_596_800, 253_402_300_799

_FIELD = "FIELD_INVALID"
_CARD = "CARD_NUMBER_IN_CLEAR"

# Which reason is given when several apply: what must never be written first, then what the terminal
# can mend, and last what it cannot.
_GRAVITY = (_CARD, INVALID, FROM_FUTURE, _FIELD, EXPIRED)

_ID_SAYS = {
    INVALID: "a UUIDv7 in its 36-character form",
    FROM_FUTURE: "its time is ahead of the switch's clock",
    EXPIRED: "its time is before what the switch remembers",
}


class Rules:
    """The rules, with what the configuration says about them."""

    __slots__ = ("_future_tolerance_s", "_retention_s", "_timeout_max_s")

    def __init__(self, settings: ValidationSettings) -> None:
        self._timeout_max_s = settings.timeout_max_s
        self._retention_s = settings.retention_s
        self._future_tolerance_s = settings.future_tolerance_s

    def authorize(
        self, message: terminal_pb2.AuthorizeRequest, utc_ms: int, remaining_s: float | None
    ) -> AuthorizationRequest | Rejected:
        """Read a payment; ``remaining_s`` is what its call's deadline leaves, if it has one."""
        text = message.request_id
        terminal_id = message.terminal_id
        merchant_id = message.merchant_id
        bin_digits = message.bin
        last_four = message.last_four
        category = message.merchant_category_code
        country = message.country
        asked = message.amount
        minor = asked.amount_minor
        currency = asked.currency
        kind = _KINDS.get(message.kind)
        entry_mode = message.entry_mode
        request_id = check_request_id(text, utc_ms, self._retention_s, self._future_tolerance_s)
        envelopes = _read_envelopes(message.envelopes, bin_digits)
        timeout_s = self._timeout_of(message)
        if (
            type(request_id) is not bytes
            or kind is None
            or not 1 <= minor <= AMOUNT_MINOR_MAX
            or currency not in CURRENCIES
            or not 1 <= entry_mode <= _ENTRY_MODE_MAX
            or envelopes is None
            or timeout_s is None
            or not _AUTHORIZE.fullmatch(
                f"{terminal_id}\n{bin_digits}\n{last_four}\n{merchant_id}\n{category}\n{country}"
            )
            or (
                len(terminal_id) >= SHORTEST
                and identifier_holds_card_number(terminal_id, bin_digits)
            )
            or (
                len(merchant_id) >= SHORTEST
                and identifier_holds_card_number(merchant_id, bin_digits)
            )
        ):
            return _rejected(self._problems_of_authorize(message, utc_ms), utc_ms)
        if remaining_s is not None and remaining_s < timeout_s:
            timeout_s = remaining_s
        amount = Money(minor, currency)
        time = message.terminal_time
        return AuthorizationRequest(
            PaymentKey(terminal_id, request_id),
            text.lower(),
            kind,
            amount,
            bin_digits,
            last_four,
            envelopes,
            entry_mode,
            merchant_id,
            category,
            country,
            _milliseconds(time.seconds, time.nanos),
            message.accepts_partial_approval,
            timeout_s,
            fingerprint(amount, kind, bin_digits, last_four, merchant_id),
        )

    def reverse(
        self, message: terminal_pb2.ReverseRequest, utc_ms: int, remaining_s: float | None
    ) -> ReversalRequest | Rejected:
        """Read a reversal."""
        terminal_id = message.terminal_id
        problems = list(_problems_of_texts(((_TERMINAL, terminal_id),)))
        problems += self._problems_of_id("request_id", message.request_id, utc_ms)
        # An original the switch may have forgotten is not unknown: it must not be made a tombstone.
        problems += self._problems_of_id("original_request_id", message.original_request_id, utc_ms)
        amount = None
        if message.HasField("amount"):
            problems += _problems_of_money(message.amount)
            amount = Money(message.amount.amount_minor, message.amount.currency)
        reason = _REVERSAL_REASONS.get(message.reason)
        if reason is None:
            problems.append(_invalid("reason", "one of the named reasons"))
        request_id = parse_uuid7(message.request_id)
        original_id = parse_uuid7(message.original_request_id)
        if problems or request_id is None or original_id is None or reason is None:
            return _rejected(problems, utc_ms)
        timeout_s = self._timeout_max_s
        return ReversalRequest(
            key=PaymentKey(terminal_id, request_id),
            original=PaymentKey(terminal_id, original_id),
            amount=amount,
            reason=reason,
            timeout_s=timeout_s if remaining_s is None else min(timeout_s, remaining_s),
        )

    def payment_key(
        self, message: terminal_pb2.GetAuthorizationRequest, utc_ms: int
    ) -> PaymentKey | Rejected:
        """Read which payment is asked for; an old one may be asked for, and is then not found."""
        problems = list(_problems_of_texts(((_TERMINAL, message.terminal_id),)))
        request_id = parse_uuid7(message.request_id)
        if request_id is None:
            problems.append(_Problem(INVALID, Violation("request_id", _ID_SAYS[INVALID])))
        if problems or request_id is None:
            return _rejected(problems, utc_ms)
        return PaymentKey(message.terminal_id, request_id)

    def card_keys(
        self, message: terminal_pb2.GetCardKeysRequest, utc_ms: int
    ) -> CardKeysQuery | Rejected:
        """Read whose keys are asked for."""
        problems = list(_problems_of_texts(((_BIN, message.bin), (_MERCHANT, message.merchant_id))))
        problems += _problems_of_card_numbers(message.bin, (("merchant_id", message.merchant_id),))
        if message.currency not in CURRENCIES:
            problems.append(_invalid("currency", _CURRENCY_SAYS))
        if problems:
            return _rejected(problems, utc_ms)
        return CardKeysQuery(message.bin, message.merchant_id, message.currency)

    def _timeout_of(self, message: terminal_pb2.AuthorizeRequest) -> float | None:
        """Return how long the terminal waits, capped; None: the duration is not one."""
        if not message.HasField("timeout"):
            return self._timeout_max_s
        timeout = message.timeout
        seconds, nanos = timeout.seconds, timeout.nanos
        if seconds < 0 or not 0 <= nanos < 1_000_000_000 or seconds == nanos == 0:
            return None
        return min(seconds + nanos * 1e-9, self._timeout_max_s)

    def _problems_of_authorize(
        self, message: terminal_pb2.AuthorizeRequest, utc_ms: int
    ) -> list[_Problem]:
        texts = {text: getattr(message, text.field) for text in _AUTHORIZE_TEXTS}
        problems = list(_problems_of_texts(texts.items()))
        problems += self._problems_of_id("request_id", message.request_id, utc_ms)
        problems += _problems_of_money(message.amount)
        if message.kind not in _KINDS:
            problems.append(_invalid("kind", "PURCHASE or PREAUTHORIZATION"))
        if not 1 <= message.entry_mode <= _ENTRY_MODE_MAX:
            problems.append(_invalid("entry_mode", "one of the named entry modes"))
        if self._timeout_of(message) is None:
            problems.append(_invalid("timeout", "a duration of more than zero"))
        problems += _problems_of_card_numbers(
            message.bin,
            (("terminal_id", message.terminal_id), ("merchant_id", message.merchant_id)),
        )
        problems += _problems_of_envelopes(message.envelopes, message.bin)
        return problems

    def _problems_of_id(self, field: str, text: str, utc_ms: int) -> list[_Problem]:
        found = check_request_id(text, utc_ms, self._retention_s, self._future_tolerance_s)
        if isinstance(found, bytes):
            return []
        return [_Problem(found, Violation(field, _ID_SAYS[found]))]


_CURRENCY_SAYS = "an ISO 4217 alphabetic code in capitals"


def _read_envelopes(
    envelopes: Iterable[terminal_pb2.CardEnvelope], bin_digits: str
) -> dict[str, Envelope] | None:
    """Return the envelopes by processor; None: something is wrong with them."""
    found: dict[str, Envelope] = {}
    count = 0
    for envelope in envelopes:
        count += 1
        processor, key_id, sealed = envelope.processor, envelope.key_id, envelope.sealed
        if (
            not SEALED_MIN <= len(sealed) <= SEALED_MAX
            or not _ENVELOPE.fullmatch(f"{processor}\n{key_id}")
            or (len(processor) >= SHORTEST and identifier_holds_card_number(processor, bin_digits))
            or (len(key_id) >= SHORTEST and identifier_holds_card_number(key_id, bin_digits))
        ):
            return None
        found[processor] = Envelope(key_id, sealed)
    return found if len(found) == count <= ENVELOPES_MAX else None


def _milliseconds(seconds: int, nanos: int) -> int:
    """Return a Timestamp in milliseconds; 0 for what is none: a clock's fault refuses nothing."""
    if not (_TIMESTAMP_MIN_S <= seconds <= _TIMESTAMP_MAX_S and 0 <= nanos < 1_000_000_000):
        return 0
    return seconds * 1000 + nanos // 1_000_000


def _invalid(field: str, description: str) -> _Problem:
    return _Problem(_FIELD, Violation(field, description))


def _problems_of_texts(texts: Iterable[tuple[_Text, str]], prefix: str = "") -> Iterable[_Problem]:
    for rule, value in texts:
        if not re.fullmatch(rule.pattern, value):
            yield _invalid(prefix + rule.field, rule.description)


def _problems_of_money(money: money_pb2.Money) -> Iterable[_Problem]:
    if not 1 <= money.amount_minor <= AMOUNT_MINOR_MAX:
        yield _invalid("amount.amount_minor", f"1 to {AMOUNT_MINOR_MAX}")
    if money.currency not in CURRENCIES:
        yield _invalid("amount.currency", _CURRENCY_SAYS)


def _problems_of_card_numbers(
    bin_digits: str, identifiers: Iterable[tuple[str, str]]
) -> Iterable[_Problem]:
    if re.fullmatch(_BIN.pattern, bin_digits):
        for field, value in identifiers:
            if identifier_holds_card_number(value, bin_digits):
                yield _Problem(_CARD, Violation(field, "no card number in clear"))


def _problems_of_envelopes(
    envelopes: Iterable[terminal_pb2.CardEnvelope], bin_digits: str
) -> list[_Problem]:
    problems: list[_Problem] = []
    processors: set[str] = set()
    for number, envelope in enumerate(envelopes):
        if number == ENVELOPES_MAX:
            problems.append(_invalid("envelopes", f"at most {ENVELOPES_MAX}"))
            break
        path = f"envelopes[{number}]."
        texts = ((_PROCESSOR, envelope.processor), (_KEY_ID, envelope.key_id))
        problems += _problems_of_texts(texts, path)
        problems += _problems_of_card_numbers(
            bin_digits,
            ((f"{path}processor", envelope.processor), (f"{path}key_id", envelope.key_id)),
        )
        if not SEALED_MIN <= len(envelope.sealed) <= SEALED_MAX:
            problems.append(_invalid(f"{path}sealed", f"{SEALED_MIN} to {SEALED_MAX} bytes"))
        if envelope.processor in processors:
            problems.append(_invalid(f"{path}processor", "each processor once"))
        processors.add(envelope.processor)
    return problems


def _rejected(problems: list[_Problem], utc_ms: int) -> Rejected:
    assert problems, "a request is rejected for a reason"
    reason = min((problem.reason for problem in problems), key=_GRAVITY.index)
    first = next(p.violation for p in problems if p.reason == reason)
    detail = f"{first.field}: {first.description}."
    if len(problems) > 1:
        detail += f" {len(problems)} rules are broken."
    if reason in (FROM_FUTURE, EXPIRED):
        now = datetime.fromtimestamp(utc_ms / 1000, UTC)
        detail += f" The switch's time is {now.isoformat(timespec='milliseconds')}."
    return Rejected(Refused(reason, detail), tuple(p.violation for p in problems[:VIOLATIONS_MAX]))
