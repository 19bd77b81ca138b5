"""The audit chain finds whatever was done to it, except that its end was cut off."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from switch.core.audit import BEGINNING, START, AuditEntry, AuditRecord, follow, verify

ENTRIES = st.builds(
    AuditEntry,
    at_ms=st.integers(0, 2**48),
    actor=st.text(max_size=5),
    authenticated=st.booleans(),
    action=st.text(max_size=5),
    subject=st.text(max_size=5),
    detail_json=st.text(max_size=5),
)


def chain(entries: list[AuditEntry]) -> list[AuditRecord]:
    """Put entries in a chain."""
    records: list[AuditRecord] = []
    for entry in entries:
        previous = records[-1].hash if records else BEGINNING
        records.append(follow(len(records) + 1, previous, entry))
    return records


CHAIN = chain([AuditEntry(n, "anna", True, "node.intent", f"node-{n}", "{}") for n in range(1, 6)])


@given(st.lists(ENTRIES, max_size=6))
def test_a_chain_as_it_was_made_is_in_order(entries: list[AuditEntry]) -> None:
    records = chain(entries)
    verdict = verify(records)
    assert (verdict.length, verdict.broken_at) == (len(records), None)
    assert verdict.head == (records[-1].hash if records else BEGINNING)


@given(st.integers(0, 5))
def test_a_chain_may_be_walked_in_pieces(cut: int) -> None:
    assert verify(CHAIN[cut:], verify(CHAIN[:cut], START)) == verify(CHAIN)


@given(st.integers(0, 4), ENTRIES)
def test_a_changed_record_is_found(place: int, entry: AuditEntry) -> None:
    changed = CHAIN.copy()
    changed[place] = replace(changed[place], entry=entry)
    assert verify(changed).broken_at == place + 1


@given(st.integers(0, 4), ENTRIES)
def test_a_changed_record_with_a_new_hash_is_found_at_the_next(
    place: int, entry: AuditEntry
) -> None:
    changed = CHAIN.copy()
    previous = changed[place - 1].hash if place else BEGINNING
    changed[place] = follow(place + 1, previous, entry)
    assert verify(changed).broken_at == (place + 2 if place < 4 else None)


@given(st.integers(0, 3))
def test_a_missing_record_is_found(place: int) -> None:
    assert verify(CHAIN[:place] + CHAIN[place + 1 :]).broken_at == place + 1


@given(st.permutations(CHAIN).filter(lambda records: records != CHAIN))
def test_records_in_another_order_are_found(records: list[AuditRecord]) -> None:
    assert verify(records).broken_at is not None


def test_a_cut_off_end_shows_only_by_its_head() -> None:
    verdict = verify(CHAIN[:3])
    assert verdict.broken_at is None
    assert verdict.head != CHAIN[-1].hash


@given(ENTRIES, ENTRIES)
def test_two_entries_have_two_hashes(one: AuditEntry, other: AuditEntry) -> None:
    assert (follow(1, BEGINNING, one).hash == follow(1, BEGINNING, other).hash) == (one == other)


def test_text_does_not_move_between_fields_unseen() -> None:
    hashes = {
        follow(1, BEGINNING, AuditEntry(1, actor, True, action, "", "")).hash
        for actor, action in [("ab", "c"), ("a", "bc"), ("", "abc")]
    }
    assert len(hashes) == 3


def test_hashes_never_change() -> None:
    """Heads are kept elsewhere: another hash would accuse an honest chain."""
    entry = AuditEntry(1_800_000_000_000, "anna", True, "node.intent", "acme-1", "{}")
    first, second = chain([entry, replace(entry, authenticated=False)])
    assert first.hash.hex() == "a157d434871377a3dc8bd740afbb60e7dc4e5c1c23c4f812d853bfa840188cd1"
    assert second.hash.hex() == "adebb044c6dd14c463855381beba952d44cd320e0cdbcfe76cc36f051169080e"
