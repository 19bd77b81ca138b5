"""The records that must be durable before anything is sent: what is about to be done, and where.

Each is made from the attempt it is about, at the moment it is decided, and handed over only after
the commit that holds it. A repeat needs a record once: that the reference is in doubt and the way
out is to ask again. From then on the next repeat changes nothing that recovery would want to know.
"""

from __future__ import annotations

from switch.core.message import Claim, OpenAttempt, OpenRepeat
from switch.core.payment import Attempt
from switch.core.transaction import AttemptEvent, AttemptState


def claim(attempt: Attempt, node: str, configuration_version: str, at_ms: int) -> Claim:
    """Return the claim of the payment's identity with its first attempt."""
    return Claim(
        attempt.payment.request,
        attempt.reference,
        attempt.ordinal,
        attempt.ledger,
        attempt.processor.name,
        node,
        configuration_version,
        at_ms,
    )


def next_attempt(before: Attempt, attempt: Attempt, node: str, at_ms: int) -> OpenAttempt:
    """Close the attempt before, of which nothing is at a ledger, and return what opens the next."""
    if before.state is AttemptState.INTENDED:
        before.advance(AttemptEvent.CLOSE)
    return OpenAttempt(
        key=attempt.payment.request.key,
        closes=before.ordinal,
        closed_state=before.state,
        closed_code=before.node_code,
        reference=attempt.reference,
        ordinal=attempt.ordinal,
        ledger=attempt.ledger,
        processor=attempt.processor.name,
        node=node,
        at_ms=at_ms,
    )


def repeat(attempt: Attempt, node: str, at_ms: int) -> OpenRepeat | None:
    """Return the record of the doubt, or None if it is durable already."""
    if attempt.doubt_durable:
        return None
    return OpenRepeat(
        attempt.payment.request.key, attempt.ordinal, attempt.reference, node, attempt.why, at_ms
    )
