"""The audit chain on disk: what is done to it behind the journal's back is found."""

import asyncio
from pathlib import Path

import apsw
import pytest

from switch.core.audit import AuditEntry, AuditRecord
from switch.store.sqlite import SqliteJournal
from switch.store.sqlite.journal import AUDIT_PAGE
from tests.store.records import START_MS, SWITCH

COUNT = 2 * AUDIT_PAGE + 10
ENTRY = AuditEntry(START_MS, "anna", True, "node.intent", "acme-1", '{"reason":"new disk"}')


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Return a journal with more audit records than are verified in one piece."""
    path = tmp_path / "journal.db"
    opened = await SqliteJournal.open(path, SWITCH, at_ms=START_MS)
    await asyncio.gather(*(opened.audit_append(ENTRY) for _ in range(COUNT)))
    assert (await opened.verify_audit())[::2] == (COUNT, None)
    await opened.close()
    return path


@pytest.mark.parametrize(
    ("change", "broken_at"),
    [
        ("UPDATE audit SET actor = 'ben' WHERE number = 4", 4),
        ("UPDATE audit SET at_ms = at_ms + 1 WHERE number = 1", 1),
        ("UPDATE audit SET authenticated = 0 WHERE number = 1000", 1000),
        ("UPDATE audit SET detail_json = '{}' WHERE number = 1001", 1001),
        ("UPDATE audit SET hash = zeroblob(32) WHERE number = 3", 3),
        ("DELETE FROM audit WHERE number = 4", 4),
        ("DELETE FROM audit WHERE number = 1", 1),
        ("DELETE FROM audit WHERE number = 1001", 1001),
        ("UPDATE audit SET number = number + 1 WHERE number = 2010", 2010),
        ("INSERT INTO audit SELECT 2011, at_ms, '', 1, '', '', '', hash FROM audit LIMIT 1", 2011),
    ],
)
async def test_a_change_behind_our_back_is_found(path: Path, change: str, broken_at: int) -> None:
    other = apsw.Connection(str(path))
    other.execute(change)
    other.close()
    opened = await SqliteJournal.open(path, SWITCH, at_ms=START_MS)
    verdict = await opened.verify_audit()
    assert (verdict.length, verdict.broken_at) == (broken_at - 1, broken_at)
    assert verdict.why
    await opened.close()


async def test_a_cut_off_end_is_found_by_whoever_kept_the_head(path: Path) -> None:
    opened = await SqliteJournal.open(path, SWITCH, at_ms=START_MS)
    head = (await opened.verify_audit()).head
    await opened.close()
    other = apsw.Connection(str(path))
    other.execute("DELETE FROM audit WHERE number > 2003")
    other.close()
    opened = await SqliteJournal.open(path, SWITCH, at_ms=START_MS)
    verdict = await opened.verify_audit()
    assert (verdict.length, verdict.broken_at) == (2003, None)
    assert verdict.head != head
    record: AuditRecord = await opened.audit_append(ENTRY)
    assert record.number == 2004
    await opened.close()
