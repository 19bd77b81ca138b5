"""What terminals may read: a payment of theirs, and the keys to seal cards to. Never an effect."""

from __future__ import annotations

from collections.abc import Mapping

from switch.clock import Clock
from switch.core.message import PaymentKey, Refused, StoredPayment
from switch.core.processor import CardKey, Processor
from switch.core.route import RouteBook
from switch.errors import JournalInDoubt, JournalUnavailable
from switch.ports import Journal


class Enquiries:
    """Answers terminals' questions."""

    def __init__(
        self,
        journal: Journal,
        routes: RouteBook,
        processors: Mapping[str, Processor],
        clock: Clock,
    ) -> None:
        """Read from these."""
        self._journal = journal
        self._routes = routes
        self._processors = processors
        self._clock = clock

    async def find(self, key: PaymentKey) -> StoredPayment | Refused:
        """Read a payment with its timeline."""
        try:
            stored = (await self._journal.find([key]))[0]
            if stored is None:
                return Refused("PAYMENT_UNKNOWN", "no payment of this terminal has this request_id")
            stored.timeline = await self._journal.timeline(key)
        except (JournalUnavailable, JournalInDoubt):
            return Refused("JOURNAL_UNAVAILABLE", "the journal cannot be read")
        return stored

    def card_keys(self, bin_digits: str, merchant_id: str, currency: str) -> list[CardKey]:
        """Return the keys to seal to, in route order; retired ones are left out."""
        utc_ms = self._clock.utc_ms()
        names = self._routes.processors_for(bin_digits, merchant_id, currency)
        return [
            key
            for name in names
            for key in self._processors[name].card_keys
            if key.not_after_ms > utc_ms
        ]
