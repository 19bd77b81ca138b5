"""The ports: what the story needs of the world, as Protocols.

The rooms that implement them do not import this one; they merely fit. So the same story runs over a
real journal and real links, and over those of the test kit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from switch.core.evidence import Evidence
from switch.core.message import (
    Claimed,
    Event,
    OwedReversal,
    PaymentKey,
    Record,
    ReversalAnswer,
    StoredAttempt,
    StoredPayment,
    TimelineEvent,
)
from switch.core.sending import Sending


class Journal(Protocol):
    """What is durable. One contract suite holds memory, SQLite and PostgreSQL to it."""

    async def commit(self, records: Sequence[Record]) -> list[Claimed | StoredPayment | None]:
        """Write all records in one transaction; return when it is durable.

        The result has one entry for each record: ``Claimed`` or the ``StoredPayment`` in the way
        for a Claim, the stored payment in the way of a ReversalClaim's tombstone, None for the
        rest. Calls that wait at the same time share one transaction. It waits as long as it may
        still succeed; JournalUnavailable (nothing written) and JournalInDoubt are for good.
        """
        ...

    async def find(self, keys: Sequence[PaymentKey]) -> list[StoredPayment | None]:
        """Read payments as of the last commit, with attempts; the timeline is left out."""
        ...

    async def timeline(self, key: PaymentKey) -> list[TimelineEvent]:
        """Read what happened to a payment, oldest first."""
        ...

    async def find_reversal(self, key: PaymentKey) -> tuple[PaymentKey, ReversalAnswer] | None:
        """Read a terminal's reversal by its own id: the original and the answer as of now."""
        ...

    async def find_reference(self, reference: bytes) -> tuple[PaymentKey, StoredAttempt] | None:
        """Read an attempt by its reference, if it was ever in doubt."""
        ...

    async def owed(self) -> list[OwedReversal]:
        """Read all reversals that are owed, oldest first, parked ones too."""
        ...


class Links(Protocol):
    """The links to the nodes."""

    def offer(self, sending: Sending) -> None:
        """Append to the link of ``sending.permit.node``; never blocks, never settles in this call.

        The link calls ``sending.settle`` with NOT_SENT if the item is recalled or the link ends
        before its frame is handed to the transport, LINK_LOST if it ends afterwards, or the
        node's answer. EXPIRED and STALLED are the dispatcher's own.
        """
        ...

    def forget(self, sending: Sending) -> None:
        """Do not write it if it is unwritten; do not match its answer if it is written."""
        ...


class EchoSource(Protocol):
    """Who can ask a node whether it is there."""

    def request_echo(self, node: str) -> None:
        """Send an echo over the node's link soon."""
        ...


class Heard(Protocol):
    """Who awaits a sending: told of each of its events, after the node was scored."""

    def __call__(self, sending: Sending, event: Event, evidence: Evidence, /) -> None:
        """Take one event."""
        ...
