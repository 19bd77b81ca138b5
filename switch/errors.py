"""The reasons a caller may be given, and the few exceptions of the house.

The world says no by a value (``Refused``), and its reason stands in ``REASONS``: the one table
from which the gRPC status, the published documentation and the tests are made. The world fails by
an exception, and those are split on the one distinction a switch may not blur. We are wrong by an
``AssertionError``, which nobody catches as an ordinary error.
"""

from __future__ import annotations

from typing import NamedTuple


class Reason(NamedTuple):
    """One published reason."""

    status: str
    """The name of the gRPC status code."""
    meaning: str
    fix: str
    """What the caller may do."""
    retry_after_s: float | None = None
    """The default of RetryInfo; None: none is sent."""


REASONS: dict[str, Reason] = {
    "MALFORMED": Reason(
        "INVALID_ARGUMENT", "The bytes are not a message of this type.", "Mend the encoder."
    ),
    "FIELD_INVALID": Reason(
        "INVALID_ARGUMENT",
        "A field breaks a rule; BadRequest names each one.",
        "Mend the fields and send a new request.",
    ),
    "CARD_NUMBER_IN_CLEAR": Reason(
        "INVALID_ARGUMENT",
        "A free-text field holds what looks like a card number; nothing was written.",
        "Seal the card; send only BIN and last four digits in clear.",
    ),
    "REQUEST_ID_INVALID": Reason(
        "INVALID_ARGUMENT", "The request_id is not a UUIDv7.", "Make ids of UUID version 7."
    ),
    "REQUEST_ID_FROM_FUTURE": Reason(
        "INVALID_ARGUMENT",
        "The request_id's time is ahead of the switch's clock.",
        "Set the terminal's clock; the switch's time is in the detail.",
    ),
    "REQUEST_ID_EXPIRED": Reason(
        "FAILED_PRECONDITION",
        "The request_id is older than the switch remembers; it is never taken for a new one.",
        "Ask an operator what became of the payment; the switch's time is in the detail.",
    ),
    "REQUEST_ID_REUSED": Reason(
        "ALREADY_EXISTS",
        "Another request was made under this request_id; this one had no effect.",
        "Choose a new request_id for the other payment.",
    ),
    "RESEAL": Reason(
        "FAILED_PRECONDITION",
        "The envelope's key is unknown or retired; nothing was processed.",
        "Get keys, seal the card anew and send under the same request_id.",
    ),
    "NO_ENVELOPE": Reason(
        "INVALID_ARGUMENT",
        "No processor of the payment's route has an envelope.",
        "Ask GetCardKeys and seal an envelope for each processor it names.",
    ),
    "DEADLINE_TOO_SHORT": Reason(
        "DEADLINE_EXCEEDED",
        "Too little time was left to begin; nothing was sent.",
        "Allow more time and repeat the same request_id.",
    ),
    "OVERLOADED": Reason(
        "RESOURCE_EXHAUSTED",
        "All nodes that may take this payment are full; this call sent nothing.",
        "Repeat the same request_id after the delay.",
        2.0,
    ),
    "NO_NODE_READY": Reason(
        "UNAVAILABLE",
        "No node that may take this payment is ready; this call sent nothing.",
        "Repeat the same request_id after the delay.",
        1.0,
    ),
    "JOURNAL_UNAVAILABLE": Reason(
        "UNAVAILABLE",
        "The switch cannot write its journal; this call sent nothing.",
        "Repeat the same request_id after the delay.",
        1.0,
    ),
    "SHUTTING_DOWN": Reason(
        "UNAVAILABLE",
        "The switch is going down; this call sent nothing.",
        "Repeat the same request_id after the delay.",
        1.0,
    ),
    "OUTCOME_UNKNOWN": Reason(
        "ABORTED",
        "The outcome could not be written down; it is not known here.",
        "Repeat the same request_id: it will be answered with the one true outcome.",
        1.0,
    ),
    "PAYMENT_UNKNOWN": Reason(
        "NOT_FOUND",
        "The switch knows no payment of this terminal under this request_id.",
        "Check terminal_id and request_id.",
    ),
    "REVERSAL_EXCEEDS_APPROVAL": Reason(
        "FAILED_PRECONDITION",
        "More would be reversed than was approved; nothing was done.",
        "Reverse what is left, or all of it by leaving the amount out.",
    ),
    "UNIMPLEMENTED": Reason(
        "UNIMPLEMENTED", "This version of the switch does not do this.", "See the changelog."
    ),
    "INTERNAL": Reason(
        "INTERNAL",
        "A fault of the switch; it has been logged.",
        "Repeat the same request_id: what was done is remembered.",
    ),
}
"""Every reason a caller may see; documented in docs/reference/errors.md, checked by a test."""


class JournalUnavailable(Exception):
    """The journal has stopped, or is closed, for good: nothing of this batch was written."""


class JournalInDoubt(Exception):
    """The journal failed while this batch was being written: it may or may not be durable."""


class ConfigurationInvalid(Exception):
    """The configuration breaks a rule. The text names file, key, and what is allowed."""
