"""Items on a link: messages of the core as the processor protocol has them, and answers back.

Written for 64 items a frame: an item is filled in place, and what a node says is checked as it is
read. A node is trusted with money, not with memory: an answer whose fields are out of their bounds
is unreadable, which leaves its reference in doubt.
"""

from __future__ import annotations

from payswitch.processor.v1 import processor_pb2
from switch.core.message import (
    Authorization,
    Disposition,
    Inquiry,
    Message,
    NodeAnswer,
    Reversal,
)
from switch.core.money import AMOUNT_MINOR_MAX

ITEMS_MAX = 64
BYTES_MAX = 128 * 1024

# The longest an item can be without its sealed card: 320 bytes of bounded fields and their tags.
_BESIDE_THE_CARD = 320

_DISPOSITIONS = tuple(Disposition)
_CODE_LENGTH = 2
_AUTHORIZATION_CODE_MAX = 6
_REFERENCE_MAX = 16
_ANSWERED = frozenset({Disposition.PROCESSED, Disposition.ALREADY_REVERSED})


def bytes_of(message: Message) -> int:
    """Return how long a message's item is at most, without making it."""
    if type(message) is Authorization:
        return _BESIDE_THE_CARD + len(message.envelope.sealed)
    return _BESIDE_THE_CARD


def fill_item(
    item: processor_pb2.Item, number: int, message: Message, time_to_live_s: float
) -> None:
    """Fill in one item; ``time_to_live_s`` is more than zero."""
    item.sending_number = number
    seconds = int(time_to_live_s)
    ttl = item.time_to_live
    ttl.seconds = seconds
    ttl.nanos = int((time_to_live_s - seconds) * 1e9)
    if type(message) is Authorization:
        _fill_authorization(item.authorization, message)
    elif type(message) is Reversal:
        _fill_reversal(item.reversal, message)
    else:
        assert type(message) is Inquiry
        item.inquiry.reference = message.reference


def _fill_authorization(filled: processor_pb2.Authorization, message: Authorization) -> None:
    request = message.request
    envelope = message.envelope
    filled.reference = message.reference
    filled.repeat = message.repeat
    filled.kind = request.kind  # type: ignore[assignment] # the core's numbers are the protocol's
    amount = filled.amount
    amount.amount_minor, amount.currency = request.amount
    filled.sealed_card = envelope.sealed
    filled.key_id = envelope.key_id
    filled.terminal_id = request.key.terminal_id
    filled.request_id = request.request_id
    filled.merchant_id = request.merchant_id
    filled.merchant_category_code = request.merchant_category_code
    filled.country = request.country
    filled.entry_mode = request.entry_mode
    filled.accepts_partial_approval = request.accepts_partial
    filled.stan = message.stan
    filled.retrieval_reference_number = message.retrieval_reference_number


def _fill_reversal(filled: processor_pb2.Reversal, message: Reversal) -> None:
    filled.reference = message.reference
    filled.reversal_reference = message.reversal_reference
    filled.repeat = message.repeat
    filled.full = message.full
    filled.amount.amount_minor, filled.amount.currency = message.amount
    filled.message_reason = message.reason


def read_result(result: processor_pb2.ItemResult) -> NodeAnswer:
    """Read one answer; total."""
    number = result.disposition
    # A disposition this version does not know is treated as unreadable, like none at all.
    disposition = _DISPOSITIONS[number] if 0 <= number < len(_DISPOSITIONS) else _UNREADABLE
    code = result.response_code
    amount_minor = result.approved_amount_minor
    authorization_code = result.authorization_code
    reference = result.reference
    duration = result.processing_duration
    if (
        (code and not (len(code) == _CODE_LENGTH and code.isascii() and code.isalnum()))
        or not 0 <= amount_minor <= AMOUNT_MINOR_MAX
        or (
            authorization_code
            and not (
                len(authorization_code) <= _AUTHORIZATION_CODE_MAX
                and authorization_code.isascii()
                and authorization_code.isprintable()
            )
        )
        or len(reference) > _REFERENCE_MAX
    ):
        disposition, code, amount_minor, authorization_code = _UNREADABLE, "", 0, ""
        reference = reference[:_REFERENCE_MAX]
    return NodeAnswer(
        result.sending_number,
        reference,
        disposition,
        code,
        amount_minor,
        authorization_code,
        duration.seconds + duration.nanos * 1e-9,
    )


_UNREADABLE = Disposition.UNREADABLE
