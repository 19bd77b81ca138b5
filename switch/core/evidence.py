"""Reading what came back from a node: the evidence, and what it weighs.

Everything that can happen to a sending is read here into one small vocabulary, whatever said it: a
disposition, a response code, a lost link, silence. There are six kinds, in falling certainty:

    APPROVED, DECLINED   a final answer for the reference
    FAILED               a technical answer: a decision was not made, no money was taken
    NOTHING              the item provably had no effect, and never will have one
    WAIT                 the ledger is at it: ask again
    DOUBT                anything else

Two rules keep it honest. Silence is never read as "no": a status, a closed stream and a time-out
are all DOUBT once the frame was handed over. And an answer that contradicts itself (an approval of
more than was asked, of nothing, or under a foreign reference) is unreadable, hence DOUBT: what
cannot be read is not guessed.

Whether NOTHING or FAILED resolve anything depends on the reference's past, not on the answer; that
is the life-cycle table's business (transaction.py), not this file's.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from switch.core.message import (
    Authorization,
    Disposition,
    Event,
    Message,
    NodeAnswer,
    ReversalReason,
    Unanswered,
)
from switch.core.response_code import UNKNOWN, Code, Meaning
from switch.core.routing import Outcome
from switch.core.transaction import AttemptEvent


class Kind(IntEnum):
    """What an event proves about the money."""

    APPROVED = 1
    DECLINED = 2
    FAILED = 3
    NOTHING = 4
    WAIT = 5
    DOUBT = 6


class Evidence(NamedTuple):
    """One event, read."""

    kind: Kind
    outcome: Outcome
    """What the node's breaker is told."""
    why: str
    """One word for the timeline."""
    other_ledger: bool = False
    """After FAILED: the sale may be tried at another ledger."""
    reseal: bool = False
    """After NOTHING: the node does not know the envelope's key; so will no other."""
    partial: bool = False
    """After APPROVED: for less than was asked."""
    reason: ReversalReason = ReversalReason.TIMED_OUT
    """After DOUBT: the reason a reversal would carry."""


LATE_EVENTS: dict[Kind, AttemptEvent] = {
    Kind.APPROVED: AttemptEvent.APPROVE,
    Kind.DECLINED: AttemptEvent.DECLINE,
    Kind.FAILED: AttemptEvent.FAIL,
    Kind.NOTHING: AttemptEvent.RECALL,
}
"""What a late answer does to its attempt; WAIT and DOUBT prove nothing."""

_UNANSWERED: dict[Unanswered, Evidence] = {
    Unanswered.NOT_SENT: Evidence(Kind.NOTHING, Outcome.LOCAL, "not_sent"),
    Unanswered.LINK_LOST: Evidence(Kind.DOUBT, Outcome.IN_DOUBT, "link_lost"),
    Unanswered.EXPIRED: Evidence(Kind.DOUBT, Outcome.IN_DOUBT, "expired"),
    Unanswered.STALLED: Evidence(Kind.DOUBT, Outcome.IN_DOUBT, "stalled"),
}
_APPROVED = Evidence(Kind.APPROVED, Outcome.SUCCESS, "approved")
_PARTIAL = Evidence(Kind.APPROVED, Outcome.SUCCESS, "approved", partial=True)
_UNREADABLE = Evidence(Kind.DOUBT, Outcome.IN_DOUBT, "unreadable", reason=ReversalReason.UNREADABLE)
_DISPOSITIONS: dict[Disposition, Evidence] = {
    Disposition.UNREADABLE: _UNREADABLE,
    Disposition.NOT_PROCESSED: Evidence(Kind.NOTHING, Outcome.SOFT, "not_processed"),
    Disposition.IN_PROGRESS: Evidence(Kind.WAIT, Outcome.LOCAL, "in_progress"),
    # Our reversal, or another's, overtook the original: it takes no money.
    Disposition.ALREADY_REVERSED: Evidence(Kind.DECLINED, Outcome.SUCCESS, "already_reversed"),
    Disposition.KEY_UNKNOWN: Evidence(Kind.NOTHING, Outcome.LOCAL, "key_unknown", reseal=True),
    # The node's fault or ours; either way it says that nothing was done.
    Disposition.MALFORMED: Evidence(Kind.NOTHING, Outcome.SOFT, "malformed"),
}
_KINDS: dict[Meaning, Kind] = {
    Meaning.DECLINED: Kind.DECLINED,
    Meaning.TECHNICAL: Kind.FAILED,
    Meaning.WAIT: Kind.WAIT,
    Meaning.IN_DOUBT: Kind.DOUBT,
}


_REVERSAL_DONE = Evidence(Kind.APPROVED, Outcome.SUCCESS, "acknowledged")
_REVERSAL_DISPOSITIONS: dict[Disposition, Evidence] = {
    **_DISPOSITIONS,
    Disposition.PROCESSED: _REVERSAL_DONE,
    # Somebody was here before us, perhaps we ourselves: the money is where it belongs.
    Disposition.ALREADY_REVERSED: _REVERSAL_DONE,
}


def read(event: Event, asked: Message, codes: dict[str, Code]) -> Evidence:
    """Read what came back for ``asked``; ``codes`` is the processor's table.

    For a reversal APPROVED means acknowledged; DECLINED and FAILED do not occur.
    """
    if not isinstance(event, NodeAnswer):
        return _UNANSWERED[event]
    if event.reference != asked.reference:
        return _UNREADABLE
    if not isinstance(asked, Authorization):
        return _REVERSAL_DISPOSITIONS[event.disposition]
    if event.disposition is not Disposition.PROCESSED:
        return _DISPOSITIONS[event.disposition]
    return read_code(event, asked.request.amount.amount_minor, codes)


def read_code(said: NodeAnswer, asked_minor: int, codes: dict[str, Code]) -> Evidence:
    """Read the response code and amount of a processed authorization."""
    code = codes.get(said.response_code, UNKNOWN)
    if code.meaning is Meaning.APPROVED or code.meaning is Meaning.PARTIAL:
        if said.approved_amount_minor == asked_minor:
            return _APPROVED
        return _PARTIAL if 0 < said.approved_amount_minor < asked_minor else _UNREADABLE
    return Evidence(
        _KINDS[code.meaning],
        code.outcome,
        f"code_{said.response_code}" if code is not UNKNOWN else "unknown_code",
        other_ledger=code.other_ledger,
    )
