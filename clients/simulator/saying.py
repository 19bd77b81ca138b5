"""What a node says for an amount, in place of what its ledger said.

The first sending hears what the amount's rule makes of the answer; a message that bears the repeat
mark hears the ledger, unless the rule speaks of repeats.
"""

from __future__ import annotations

from clients.simulator.outcome import Outcome, Reply
from payswitch.processor.v1 import processor_pb2 as pb


def sayings(
    outcome: Outcome, result: pb.ItemResult, *, repeat: bool
) -> list[tuple[float, pb.ItemResult]]:
    """Return what is said for an amount in place of ``result``, each with its delay in seconds."""
    decided = result.disposition == pb.DISPOSITION_PROCESSED
    if outcome.reply is Reply.NEVER_NOR_REPEATS:
        return []
    if repeat:
        lies = outcome.reply is Reply.OTHERWISE_TO_REPEATS and decided
        return [(0.0, _declined(result) if lies else result)]
    after_s = outcome.reply_after_ms / 1000
    match outcome.reply:
        case Reply.NEVER:
            return []
        case Reply.TWICE:
            return [(after_s, result), (after_s, _copy(result))]
        case Reply.TWICE_DIFFERING if decided:
            return [(after_s, result), (after_s, _declined(result))]
        case Reply.UNREADABLE if decided:
            return [(after_s, pb.ItemResult(sending_number=result.sending_number))]
        case _:
            return [(after_s, result)]


def _copy(result: pb.ItemResult) -> pb.ItemResult:
    copy = pb.ItemResult()
    copy.CopyFrom(result)
    return copy


def _declined(result: pb.ItemResult) -> pb.ItemResult:
    return pb.ItemResult(
        sending_number=result.sending_number,
        reference=result.reference,
        disposition=pb.DISPOSITION_PROCESSED,
        response_code="05",
    )
