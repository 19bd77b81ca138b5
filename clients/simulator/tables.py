"""The tables of a ledger's file, and what is said to them.

The file is SQLite in WAL mode. It may be read while the host runs, and after it was killed: open
it read-only (``file:…?mode=ro``) and with one SQLite library per process.

    ledger           one row: what this file is
      name             the ledger, as nodes say it in HelloBack
      version          of these tables

    session          one row for each link a switch opened
      node             the node it was opened to
      switch_id, epoch, session
      opened_at        milliseconds since 1970, like every column that ends in _at

    authorization    one row for each reference claimed: an entry in the books
      number           order of the claims
      reference        16 bytes, unique
      state            undecided   claimed; the issuer has not spoken
                       live        approved, and something of it stands
                       declined    the issuer said no, and nothing was taken
                       reversed    approved, and all of it was given back
                       void        reversed before it was decided: nothing was ever taken
      terminal_id, request_id, kind, amount_minor, currency
                       what was asked
      response_code    DE 39; null while undecided and when void
      approved_minor   what the books took; what stands is approved_minor - reversed_minor. It may
                       be above 0 beside a code that declines: the issuer took the money and said
                       otherwise (see outcome)
      authorization_code
                       DE 38; empty unless the code approves
      reversed_minor   what was given back
      node, switch_id, epoch, session, frame_number, sending_number
                       who brought the item that claimed the reference, and where it stood
      claimed_at, decided_at
      issuer_code, issuer_minor, issuer_at
                       what the issuer will say, and when

    reversal         one row for each reversal_reference accepted: an acknowledgement
      reversal_reference
                       16 bytes, unique
      reference        the authorization; it need not be known
      full             1: all of it, now or later. 0: asked_minor of it
      asked_minor, currency, message_reason
                       what was asked
      reversed_minor   what this one gave back; 0 if there was nothing to give
      disposition      as it was answered, and will be again: PROCESSED or ALREADY_REVERSED
      node, switch_id, epoch, session, frame_number, sending_number
                       who brought it first
      acknowledged_at  when that was; its repeats are in delivery

    delivery         one row for each item that reached the ledger in time to be started
      number           order of the deliveries
      kind             authorization, reversal, inquiry
      reference        16 bytes
      reversal_reference
                       of a reversal; else null
      node, switch_id, epoch, session, frame_number, sending_number
      repeat           1: bore the repeat mark
      disposition      what the ledger said then; CLAIMED for an authorization it has yet to decide
      at

Not in ``delivery``: items that the node refused for itself (malformed, too late to start, after
GoAway, of an older link). ``live`` money is
``SELECT sum(approved_minor - reversed_minor) FROM "authorization"``.
"""

from __future__ import annotations

VERSION = 1
"""Of the tables; a host refuses a file of another."""

SCHEMA = """
CREATE TABLE ledger (
  name TEXT NOT NULL, version INTEGER NOT NULL
) STRICT;
CREATE TABLE session (
  node TEXT NOT NULL, switch_id TEXT NOT NULL, epoch INTEGER NOT NULL, session INTEGER NOT NULL,
  opened_at INTEGER NOT NULL
) STRICT;
CREATE TABLE "authorization" (
  number INTEGER PRIMARY KEY,
  reference BLOB NOT NULL UNIQUE CHECK (length(reference) = 16),
  state TEXT NOT NULL CHECK (state IN ('undecided', 'live', 'declined', 'reversed', 'void')),
  terminal_id TEXT NOT NULL, request_id TEXT NOT NULL, kind INTEGER NOT NULL,
  amount_minor INTEGER NOT NULL, currency TEXT NOT NULL,
  response_code TEXT,
  approved_minor INTEGER NOT NULL CHECK (approved_minor >= 0),
  authorization_code TEXT NOT NULL,
  reversed_minor INTEGER NOT NULL DEFAULT 0
    CHECK (reversed_minor BETWEEN 0 AND approved_minor),
  node TEXT NOT NULL, switch_id TEXT NOT NULL, epoch INTEGER NOT NULL, session INTEGER NOT NULL,
  frame_number INTEGER NOT NULL, sending_number INTEGER NOT NULL,
  claimed_at INTEGER NOT NULL, decided_at INTEGER,
  issuer_code TEXT NOT NULL, issuer_minor INTEGER NOT NULL, issuer_at INTEGER NOT NULL
) STRICT;
CREATE TABLE reversal (
  reversal_reference BLOB PRIMARY KEY CHECK (length(reversal_reference) = 16),
  reference BLOB NOT NULL CHECK (length(reference) = 16),
  "full" INTEGER NOT NULL,
  asked_minor INTEGER NOT NULL, currency TEXT NOT NULL, message_reason INTEGER NOT NULL,
  reversed_minor INTEGER NOT NULL, disposition TEXT NOT NULL,
  node TEXT NOT NULL, switch_id TEXT NOT NULL, epoch INTEGER NOT NULL, session INTEGER NOT NULL,
  frame_number INTEGER NOT NULL, sending_number INTEGER NOT NULL,
  acknowledged_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX reversal_of ON reversal (reference);
CREATE TABLE delivery (
  number INTEGER PRIMARY KEY,
  kind TEXT NOT NULL, reference BLOB NOT NULL, reversal_reference BLOB,
  node TEXT NOT NULL, switch_id TEXT NOT NULL, epoch INTEGER NOT NULL, session INTEGER NOT NULL,
  frame_number INTEGER NOT NULL, sending_number INTEGER NOT NULL,
  repeat INTEGER NOT NULL, disposition TEXT NOT NULL, at INTEGER NOT NULL
) STRICT;
"""

ENTRY = """
SELECT number, state, terminal_id, request_id, kind, amount_minor, currency,
       response_code, approved_minor, authorization_code, reversed_minor
  FROM "authorization" WHERE reference = ?
"""
CLAIM = """
INSERT INTO "authorization" (
  reference, state, terminal_id, request_id, kind, amount_minor, currency,
  response_code, approved_minor, authorization_code,
  node, switch_id, epoch, session, frame_number, sending_number,
  claimed_at, decided_at, issuer_code, issuer_minor, issuer_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
DECIDE = """
UPDATE "authorization"
   SET state = ?, response_code = ?, approved_minor = ?, authorization_code = ?, decided_at = ?
 WHERE number = ? AND state = 'undecided'
"""
UNDECIDED = """
SELECT number, reference, issuer_code, issuer_minor, issuer_at
  FROM "authorization" WHERE state = 'undecided' ORDER BY number
"""
GIVE_BACK = """
UPDATE "authorization" SET state = ?, reversed_minor = reversed_minor + ? WHERE number = ?
"""
REVERSAL = """
SELECT reference, "full", asked_minor, currency, disposition
  FROM reversal WHERE reversal_reference = ?
"""
ACKNOWLEDGE = """
INSERT INTO reversal (
  reversal_reference, reference, "full", asked_minor, currency, message_reason,
  reversed_minor, disposition,
  node, switch_id, epoch, session, frame_number, sending_number, acknowledged_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
DELIVER = """
INSERT INTO delivery (
  kind, reference, reversal_reference,
  node, switch_id, epoch, session, frame_number, sending_number, repeat, disposition, at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
NEWEST = """
SELECT switch_id, epoch, max(session) FROM session
 WHERE node = ?1
   AND epoch = (SELECT max(epoch) FROM session AS other
                 WHERE other.node = ?1 AND other.switch_id = session.switch_id)
 GROUP BY switch_id
"""
REVERSAL_OF = "SELECT 1 FROM reversal WHERE reference = ? LIMIT 1"
OPEN = "INSERT INTO session VALUES (?, ?, ?, ?, ?)"
