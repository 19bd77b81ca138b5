"""The terminal SDK: take a card payment over a payswitch, from asyncio.

See ``Terminal``; everything a user needs is named here.
"""

from clients.terminal.answer import (
    Approval,
    Decline,
    EntryMode,
    Kind,
    Payment,
    PaymentState,
    RetryAdvice,
    Reversal,
    ReversalReason,
    ReversalStatus,
    TimelineEvent,
)
from clients.terminal.card import Card
from clients.terminal.connection import Connection
from clients.terminal.failure import FieldFault, NoAnswer, Refused
from clients.terminal.identifier import new_request_id
from clients.terminal.journal import TerminalJournal
from clients.terminal.patience import Patience
from clients.terminal.terminal import Terminal

__all__ = [
    "Approval",
    "Card",
    "Connection",
    "Decline",
    "EntryMode",
    "FieldFault",
    "Kind",
    "NoAnswer",
    "Patience",
    "Payment",
    "PaymentState",
    "Refused",
    "RetryAdvice",
    "Reversal",
    "ReversalReason",
    "ReversalStatus",
    "Terminal",
    "TerminalJournal",
    "TimelineEvent",
    "new_request_id",
]
