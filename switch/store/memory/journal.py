"""A journal in memory: for the simulator, and for the tests of everything above the store.

It keeps the same promises as the journals on disk, and one suite holds all of them to it: calls
that wait at the same time share one commit, a call is written whole or not at all, and what a
caller was told survives. It has no threads: a commit is done in the next turn of the event loop,
and its callers go on in the turn after.

The disk is an object of its own that outlives the journal, as a disk outlives a process: a new
``MemoryJournal`` on the same ``MemoryDisk`` is a restart. Of two on one disk only the newer can
write. Rows are never changed in place, so a call can be tried on a copy and thrown away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, NamedTuple

from switch.core.audit import AuditEntry, AuditRecord, AuditVerdict, verify
from switch.core.message import (
    OwedReversal,
    PaymentKey,
    PaymentState,
    Record,
    ReversalAnswer,
    StoredAttempt,
    StoredPayment,
    TimelineEvent,
)
from switch.core.operations import (
    IntentOrder,
    IntentResult,
    JournalCounts,
    PaymentView,
    Recovery,
    StandingIntent,
)
from switch.errors import JournalInDoubt, JournalUnavailable
from switch.store.journal import UNFIT, JournalState, JournalUnusable, Result, caused
from switch.store.memory.content import Content, KeptPayment, Transaction
from switch.store.rows import (
    ReversalRow,
    owed_reversal,
    payment_view,
    reversal_answer,
    stored_attempt,
)


class DiskFault(Enum):
    """What the next commit will meet."""

    LOST = "lost"
    """It fails, and nothing of it is durable."""
    KEPT = "kept"
    """It fails, and all of it is durable after all."""


class MemoryDisk:
    """What outlives a process."""

    def __init__(self) -> None:
        self.switch_id = ""
        """Whose journal it is; empty: nobody's yet."""
        self.epoch = 0
        self.fault: DiskFault | None = None
        """Set it, and the next commit fails so."""
        self.content = Content()


class _Call(NamedTuple):
    job: Callable[[Transaction], Any]
    future: asyncio.Future[Any]


class MemoryJournal:
    """What is durable, as far as a ``MemoryDisk`` is. Fits the flow's port, serves operators."""

    def __init__(self, disk: MemoryDisk, switch_id: str, epoch: int) -> None:
        """Not for callers: they ``open``."""
        self.switch_id = switch_id
        self.epoch = epoch
        """How often a journal was opened on this disk, this time included."""
        self.state = JournalState.OPEN
        self.stopped_because = ""
        self.commits = 0
        """Transactions since it was opened."""
        self._disk = disk
        self._waiting: list[_Call] = []

    @classmethod
    async def open(cls, disk: MemoryDisk, switch_id: str, *, at_ms: int = 0) -> MemoryJournal:
        """Open a journal on ``disk`` and durably begin a new epoch.

        Raises JournalUnusable: it is another switch's.
        """
        del at_ms  # Nobody reads when an epoch began in memory.
        disk.switch_id = disk.switch_id or switch_id
        if disk.switch_id != switch_id:
            raise JournalUnusable(f"the journal is of switch {disk.switch_id!r}")
        disk.epoch += 1
        return cls(disk, switch_id, disk.epoch)

    async def close(self) -> None:
        """Write what waits, and end. Closing twice does no harm."""
        self._flush()
        self.state = JournalState.CLOSED

    def crash(self) -> None:
        """End at once: what waits is lost, and its callers are never told."""
        self._waiting.clear()
        self.state = JournalState.CLOSED

    # --- the flow's port -------------------------------------------------------------------

    async def commit(self, records: Sequence[Record]) -> list[Result]:
        """Write all records in one transaction, shared with whoever waits too."""
        results: list[Result] = await self._put(lambda t: [t.apply(record) for record in records])
        return results

    async def find(self, keys: Sequence[PaymentKey]) -> list[StoredPayment | None]:
        """Read payments as of now, with their attempts."""
        found = [self._content.payments.get(key) for key in keys]
        return [None if payment is None else payment.stored() for payment in found]

    async def timeline(self, key: PaymentKey) -> list[TimelineEvent]:
        """Read what happened to a payment, oldest first; nothing if it is not known."""
        payment = self._content.payments.get(key)
        return [] if payment is None else _view(payment).stored.timeline

    async def find_reversal(self, key: PaymentKey) -> tuple[PaymentKey, ReversalAnswer] | None:
        """Read a terminal's reversal by its own id: the original, and the answer as of now."""
        row = self._content.terminal_reversals.get(key)
        if row is None:
            return None
        original = PaymentKey(row.original_terminal_id, row.original_request_id)
        payment = self._content.payments.get(original)
        return original, reversal_answer(row, None if payment is None else payment.rows())

    async def find_reference(self, reference: bytes) -> tuple[PaymentKey, StoredAttempt] | None:
        """Read an attempt by its reference, if it was ever in doubt."""
        key, ordinal = self._content.references.get(reference, (None, 0))
        if key is None:
            return None
        row = self._content.payments[key].attempts[ordinal]
        return (key, stored_attempt(row)) if row.doubted else None

    async def owed(self) -> list[OwedReversal]:
        """Read all reversals that are owed, oldest first, parked ones too."""
        return [owed_reversal(row) for row in self._owed()]

    # --- the start -------------------------------------------------------------------------

    async def recover(self, at_ms: int) -> Recovery:
        """Conclude, in one commit, what ran when the switch went away. Before any port opens."""
        recovery: Recovery = await self._put(lambda t: t.recover(at_ms))
        return recovery

    # --- operators -------------------------------------------------------------------------

    async def payments(self, request_id: bytes, terminal_id: str = "") -> list[PaymentView]:
        """Read whole payments: the terminal's, or every terminal's that chose this id."""
        return [
            _view(payment)
            for key, payment in sorted(self._content.payments.items())
            if key.request_id == request_id and terminal_id in {"", key.terminal_id}
        ]

    async def counts(self) -> JournalCounts:
        """Count what is open."""
        owed = self._owed()
        states = [payment.row.state for payment in self._content.payments.values()]
        return JournalCounts(
            running=states.count(PaymentState.RUNNING),
            owed=len(owed),
            parked=sum(row.parked != "" for row in owed),
            oldest_owed_ms=owed[0].owed_ms if owed else None,
            audit_number=len(self._content.audit),
        )

    async def intents(self) -> list[StandingIntent]:
        """Read what was ordered for each node last, by name."""
        return [intent for _, intent in sorted(self._content.intents.items())]

    async def set_intent(self, order: IntentOrder) -> IntentResult:
        """Obey an operator's order, or find it out of date; audited in the same commit."""
        result: IntentResult = await self._put(lambda t: t.set_intent(order))
        return result

    async def audit_append(self, entry: AuditEntry) -> AuditRecord:
        """Add an entry to the audit chain."""
        record: AuditRecord = await self._put(lambda t: t.append(entry))
        return record

    async def audit(self, from_number: int, limit: int) -> list[AuditRecord]:
        """Read at most ``limit`` audit records, beginning with ``from_number``."""
        begin = max(from_number - 1, 0)
        return self._content.audit[begin : begin + limit]

    async def verify_audit(self) -> AuditVerdict:
        """Compute the audit chain again, from its first record."""
        return verify(self._content.audit)

    # --- commits ---------------------------------------------------------------------------

    @property
    def _content(self) -> Content:
        """What can be read: nothing once the journal has stopped."""
        self._require_open()
        return self._disk.content

    def _owed(self) -> list[ReversalRow]:
        rows = [
            row
            for payment in self._content.payments.values()
            for row in payment.reversals.values()
            if row.acknowledged_ms is None
        ]
        return sorted(
            rows, key=lambda r: (r.owed_ms, r.request_id, r.terminal_id, r.reversal_reference)
        )

    def _require_open(self) -> None:
        if self.state is not JournalState.OPEN:
            raise JournalUnavailable(self.stopped_because or "the journal is closed")

    async def _put(self, job: Callable[[Transaction], Any]) -> Any:
        self._require_open()
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._flush)
        call = _Call(job, loop.create_future())
        self._waiting.append(call)
        return await call.future

    def _flush(self) -> None:
        """Commit what waits."""
        calls, self._waiting = self._waiting, []
        if not calls:
            return
        if self._disk.epoch != self.epoch:
            self._stop("a newer switch has taken the journal over")
            self._refuse(calls, JournalUnavailable)
            return
        fault, self._disk.fault = self._disk.fault, None
        told = []
        if fault is not DiskFault.LOST:
            told = [(call.future, *self._do(call)) for call in calls]
        if fault is not None:
            self._stop("the disk has failed")
            self._refuse(calls, JournalInDoubt)
            return
        self.commits += 1
        for future, result, error in told:
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

    def _do(self, call: _Call) -> tuple[Any, Exception | None]:
        """Do one call, whole or not at all."""
        transaction = Transaction(self._disk.content)
        try:
            result = call.job(transaction)
        except UNFIT as error:
            return None, caused(AssertionError, error)
        self._disk.content.take_over(transaction.changed)
        return result, None

    def _stop(self, why: str) -> None:
        self.state = JournalState.STOPPED
        self.stopped_because = f"the journal has stopped: {why}"

    def _refuse(self, calls: Sequence[_Call], kind: type[Exception]) -> None:
        for call in calls:
            if not call.future.done():
                call.future.set_exception(kind(self.stopped_because))


def _view(payment: KeptPayment) -> PaymentView:
    return payment_view(payment.rows(), payment.history())
