"""A payment, put together from the three ledgers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clients.audit.evidence import Key
from clients.audit.ledger import Entry, Ledger
from clients.audit.switch import Attempt, Debt, Row, Switch
from clients.audit.terminals import Call, Terminals, Told, Wish


@dataclass(slots=True)
class Payment:
    """All that anybody knows of one payment."""

    key: Key
    calls: list[Call] = field(default_factory=list)
    wishes: list[Wish] = field(default_factory=list)
    """The terminal's reversals of it."""
    row: Row | None = None
    attempts: list[Attempt] = field(default_factory=list)
    debts: list[Debt] = field(default_factory=list)
    entries: list[tuple[str, Entry]] = field(default_factory=list)
    """Each with its ledger's name."""

    @property
    def sends(self) -> int:
        """How often terminals sent it."""
        return sum(call.sends for call in self.calls)

    @property
    def told(self) -> Told | None:
        """The first answer a terminal heard."""
        return next((call.told for call in self.calls if call.told), None)

    @property
    def refusal(self) -> tuple[str, str] | None:
        """The refusal it ended with; None if any of its sends is without an end."""
        refusals = [call.refused for call in self.calls if call.sends or call.refused]
        if self.told or not refusals or None in refusals:
            return None
        return refusals[-1]

    @property
    def live(self) -> list[tuple[str, Entry]]:
        """The references under which money stands."""
        return [(ledger, entry) for ledger, entry in self.entries if entry.live_minor > 0]

    @property
    def live_minor(self) -> int:
        """How much stands in all ledgers."""
        return sum(entry.live_minor for _, entry in self.live)

    @property
    def owed_minor(self) -> int:
        """How much of what stands is still going to be reversed."""
        return sum(self._owed_of(entry) for _, entry in self.live)

    @property
    def kept_minor(self) -> int:
        """How much stands and will stay."""
        return self.live_minor - self.owed_minor

    @property
    def switch_minor(self) -> int:
        """How much the switch believes was taken and is not, and will not be, reversed."""
        if self.row is None or not self.row.approved:
            return 0
        approved_under = self.attempts[-1].reference if self.attempts else b""
        debts = [debt for debt in self.debts if debt.reference == approved_under]
        if any(debt.in_full for debt in debts):
            return 0
        return self.row.approved_minor - sum(debt.amount_minor for debt in debts)

    @property
    def terminal_minor(self) -> int | None:
        """How much its terminal believes was taken; None if the terminal cannot know."""
        if self.told is None or any(not (wish.reversal or wish.refused) for wish in self.wishes):
            return None
        if not self.told.approved:
            return 0
        reversed_minor = max((wish.reversed_minor for wish in self.wishes), default=0)
        return self.told.approved_minor - reversed_minor

    @property
    def currency(self) -> str:
        """The payment's currency, by whoever knows it."""
        if self.row is not None and self.row.kind:
            return self.row.currency
        if self.calls:
            return self.calls[0].contents.currency
        return self.entries[0][1].currency if self.entries else "XXX"

    def _owed_of(self, entry: Entry) -> int:
        debts = [debt for debt in self.debts if debt.reference == entry.reference]
        outstanding = [debt for debt in debts if debt.outstanding]
        if any(debt.in_full for debt in outstanding):
            return entry.live_minor
        return min(entry.live_minor, sum(debt.amount_minor for debt in outstanding))


def assemble(
    terminals: Terminals, switch: Switch, ledgers: Mapping[str, Ledger]
) -> dict[Key, Payment]:
    """Return every payment that anybody knows."""
    payments: dict[Key, Payment] = {}

    def payment(key: Key) -> Payment:
        return payments.setdefault(key, Payment(key))

    for key, calls in terminals.calls.items():
        payment(key).calls = list(calls.values())
    for wish in terminals.wishes.values():
        payment(wish.original).wishes.append(wish)
    for key, row in switch.rows.items():
        payment(key).row = row
    for key, attempts in switch.attempts.items():
        payment(key).attempts = attempts
    for key, debts in switch.debts.items():
        payment(key).debts = debts
    for name, ledger in ledgers.items():
        for entry in ledger.entries:
            payment(Key(entry.terminal_id, entry.request_id)).entries.append((name, entry))
    return payments
