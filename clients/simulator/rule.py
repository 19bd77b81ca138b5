"""What an item must be to be read at all; one that is not is MALFORMED and does nothing."""

from __future__ import annotations

from clients.simulator.card import ENVELOPE_BYTES_MAX
from payswitch.money.v1 import money_pb2
from payswitch.processor.v1 import processor_pb2 as pb

REFERENCE_BYTES = 16
REQUEST_ID_CHARACTERS = 36
_KINDS = frozenset({pb.AUTHORIZATION_KIND_PURCHASE, pb.AUTHORIZATION_KIND_PREAUTHORIZATION})


def authorization_fault(asked: pb.Authorization, *, sealed: bool) -> str:
    """Return the rule an authorization breaks; empty if none. ``sealed``: a card is needed."""
    if len(asked.reference) != REFERENCE_BYTES:
        return "reference has 16 bytes"
    if asked.kind not in _KINDS:
        return "kind is not known"
    if len(asked.request_id) != REQUEST_ID_CHARACTERS:
        return "request_id has 36 characters"
    if not asked.terminal_id:
        return "terminal_id is missing"
    if sealed and not 0 < len(asked.sealed_card) <= ENVELOPE_BYTES_MAX:
        return f"sealed_card has 1 to {ENVELOPE_BYTES_MAX} bytes"
    return _money_fault(asked.amount)


def reversal_fault(asked: pb.Reversal) -> str:
    """Return the rule a reversal breaks; empty if none."""
    if len(asked.reference) != REFERENCE_BYTES:
        return "reference has 16 bytes"
    if len(asked.reversal_reference) != REFERENCE_BYTES:
        return "reversal_reference has 16 bytes"
    return "" if asked.full else _money_fault(asked.amount)


def inquiry_fault(asked: pb.Inquiry) -> str:
    """Return the rule an inquiry breaks; empty if none."""
    return "" if len(asked.reference) == REFERENCE_BYTES else "reference has 16 bytes"


def _money_fault(amount: money_pb2.Money) -> str:
    if amount.amount_minor < 1:
        return "amount.amount_minor is 1 or more"
    currency = amount.currency
    if not (len(currency) == 3 and currency.isascii() and currency.isalpha()):
        return "amount.currency has three letters"
    return "" if currency.isupper() else "amount.currency is in capitals"
