"""The audit chain: what operators did, numbered without gaps and hashed in order.

Each record's hash covers a domain, the hash before it and the record itself, so a record cannot be
changed, taken out, put in or moved without changing every hash after it. Numbers begin at 1 and
have no gaps: they are given in the transaction that commits the record together with the change it
tells of, so there is no change without its record and no record without its change.

A chain alone cannot see that its tail was cut off. Whoever keeps a hash elsewhere can: the head
that was kept must still stand at its number.

Every field is framed by its length before it is hashed: no two records have the same bytes.

Rejected: hashing the JSON of a record (two encoders write two texts for one value), and a hash
over each record alone (it finds a changed record, not a missing one).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

DOMAIN = b"payswitch-audit-v1"
BEGINNING = bytes(32)
"""What stands where the first record's predecessor would."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Something an operator did or was refused, not yet in the chain."""

    at_ms: int
    actor: str
    authenticated: bool
    """Whether the actor's identity was proven."""
    action: str
    """What, as node.intent."""
    subject: str
    """On what."""
    detail_json: str
    """Where from, before, after, reason and result, as a JSON object."""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """An entry in its place in the chain."""

    number: int
    """From 1, without gaps."""
    entry: AuditEntry
    hash: bytes


class AuditVerdict(NamedTuple):
    """What a walk along the chain has found."""

    length: int
    """How many records, from the first on, are in order."""
    head: bytes
    """The hash of the last of them."""
    broken_at: int | None
    """The number that should come next and does not, or not as it was written."""
    why: str


def follow(number: int, previous: bytes, entry: AuditEntry) -> AuditRecord:
    """Return the entry as record ``number`` behind the record whose hash is ``previous``."""
    return AuditRecord(number, entry, _digest(number, previous, entry))


START = AuditVerdict(0, BEGINNING, None, "")


def verify(records: Iterable[AuditRecord], so_far: AuditVerdict = START) -> AuditVerdict:
    """Walk on along the chain, to its end or to the first record that is not in order."""
    length, head = so_far.length, so_far.head
    for record in records:
        expected = length + 1
        if record.number != expected:
            return AuditVerdict(length, head, expected, f"record {record.number} stands there")
        if record.hash != _digest(expected, head, record.entry):
            return AuditVerdict(length, head, expected, "its hash does not fit")
        length, head = expected, record.hash
    return AuditVerdict(length, head, None, "")


def _digest(number: int, previous: bytes, entry: AuditEntry) -> bytes:
    texts = (entry.actor, entry.action, entry.subject, entry.detail_json)
    fields = [
        number.to_bytes(8, "big"),
        entry.at_ms.to_bytes(8, "big"),
        b"\1" if entry.authenticated else b"\0",
        *(text.encode() for text in texts),
    ]
    framed = b"".join(len(each).to_bytes(4, "big") + each for each in fields)
    return sha256(DOMAIN + previous + framed).digest()
