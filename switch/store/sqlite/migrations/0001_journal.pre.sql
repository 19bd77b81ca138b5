-- The journal as it began.
--
-- Names: _ms is wall-clock milliseconds since 1970, _minor is minor units of a currency. States,
-- kinds and reasons are the numbers of switch.core, which never change their meaning.
--
-- Every table of payments begins its key with the payment's request_id, a UUIDv7 and so its own
-- time: rows are added at the table's end, and one day's payments lie side by side. There are no
-- foreign keys: each would be one more search per row, and the journal has one writer, which
-- checks what it writes.

-- Which halves of which migrations have run.
CREATE TABLE schema_versions (
    number     INTEGER NOT NULL,
    phase      TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    applied_ms INTEGER NOT NULL,
    PRIMARY KEY (number, phase)
) STRICT, WITHOUT ROWID;

-- Whose journal this is, and how often it was opened: one row.
CREATE TABLE switch (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    switch_id TEXT    NOT NULL,
    epoch     INTEGER NOT NULL,
    opened_ms INTEGER NOT NULL
) STRICT;

-- What was asked, the payment's last attempt, and what the terminal was told. The attempt stands in
-- the payment's own row because nearly every payment has only one: in a table beside it, each would
-- cost a second row when it is claimed and a second change when it is concluded, which is a third
-- more. A tombstone (a reversal came before its payment) has kind 0, no attempt and nothing that
-- was asked. There is no column for a card's envelope, and never is.
CREATE TABLE payments (
    request_id                 BLOB    NOT NULL,
    terminal_id                TEXT    NOT NULL,
    fingerprint                BLOB    NOT NULL,
    state                      INTEGER NOT NULL,
    kind                       INTEGER NOT NULL,
    amount_minor               INTEGER NOT NULL,
    currency                   TEXT    NOT NULL,
    bin                        TEXT    NOT NULL,
    last_four                  TEXT    NOT NULL,
    merchant_id                TEXT    NOT NULL,
    merchant_category_code     TEXT    NOT NULL,
    country                    TEXT    NOT NULL,
    entry_mode                 INTEGER NOT NULL,
    accepts_partial            INTEGER NOT NULL,
    configuration_version      TEXT    NOT NULL,
    terminal_time_ms           INTEGER NOT NULL,
    claimed_ms                 INTEGER NOT NULL,
    -- The last attempt. ordinal is null in a tombstone.
    ordinal                    INTEGER,
    reference                  BLOB    NOT NULL,
    ledger                     TEXT    NOT NULL,
    processor                  TEXT    NOT NULL,
    node                       TEXT    NOT NULL,
    attempt_state              INTEGER NOT NULL,
    doubted                    INTEGER NOT NULL,
    opened_ms                  INTEGER NOT NULL,
    node_answer_code           TEXT    NOT NULL DEFAULT '',
    closed_why                 TEXT    NOT NULL DEFAULT '',
    doubted_ms                 INTEGER,
    doubted_why                TEXT    NOT NULL DEFAULT '',
    repeat_node                TEXT    NOT NULL DEFAULT '',
    -- The answer. approved is null while there is none.
    approved                   INTEGER,
    response_code              TEXT    NOT NULL DEFAULT '',
    approved_minor             INTEGER NOT NULL DEFAULT 0,
    authorization_code         TEXT    NOT NULL DEFAULT '',
    answer_processor           TEXT    NOT NULL DEFAULT '',
    retrieval_reference_number TEXT    NOT NULL DEFAULT '',
    -- When it ended, with an answer or not sent.
    concluded_ms               INTEGER,
    PRIMARY KEY (request_id, terminal_id)
) STRICT, WITHOUT ROWID;

-- What a restart has to settle, and how many payments run: never more than are in flight.
CREATE INDEX payments_running ON payments (request_id, terminal_id) WHERE state = 1;

-- Late answers are looked up by reference, and only an attempt that was in doubt has one. An index
-- on all references, which are random, would cost every payment a page of its own.
CREATE INDEX payments_doubted ON payments (reference) WHERE doubted = 1;

-- The attempts before a payment's last.
CREATE TABLE earlier_attempts (
    request_id       BLOB    NOT NULL,
    terminal_id      TEXT    NOT NULL,
    ordinal          INTEGER NOT NULL,
    reference        BLOB    NOT NULL,
    ledger           TEXT    NOT NULL,
    processor        TEXT    NOT NULL,
    node             TEXT    NOT NULL,
    attempt_state    INTEGER NOT NULL,
    doubted          INTEGER NOT NULL,
    opened_ms        INTEGER NOT NULL,
    node_answer_code TEXT    NOT NULL,
    closed_why       TEXT    NOT NULL,
    doubted_ms       INTEGER,
    doubted_why      TEXT    NOT NULL,
    repeat_node      TEXT    NOT NULL,
    closed_ms        INTEGER NOT NULL,
    PRIMARY KEY (request_id, terminal_id, ordinal)
) STRICT, WITHOUT ROWID;

CREATE INDEX earlier_attempts_doubted ON earlier_attempts (reference) WHERE doubted = 1;

-- All attempts, for whoever reads. Only a last attempt can be the approved one.
CREATE VIEW attempts AS
SELECT
    request_id, terminal_id, ordinal, reference, ledger, processor, node, attempt_state, doubted,
    opened_ms, node_answer_code, closed_why, doubted_ms, doubted_why, repeat_node,
    concluded_ms AS closed_ms, iif(approved, approved_minor, 0) AS approved_minor
FROM payments
WHERE ordinal IS NOT NULL
UNION ALL
SELECT
    request_id, terminal_id, ordinal, reference, ledger, processor, node, attempt_state, doubted,
    opened_ms, node_answer_code, closed_why, doubted_ms, doubted_why, repeat_node, closed_ms, 0
FROM earlier_attempts;

-- Reversals owed to ledgers, and those they have acknowledged.
CREATE TABLE reversals (
    request_id         BLOB    NOT NULL,
    terminal_id        TEXT    NOT NULL,
    reversal_reference BLOB    NOT NULL,
    ordinal            INTEGER NOT NULL,
    reference          BLOB    NOT NULL,
    ledger             TEXT    NOT NULL,
    in_full            INTEGER NOT NULL,
    amount_minor       INTEGER NOT NULL,
    currency           TEXT    NOT NULL,
    reason             INTEGER NOT NULL,
    owed_ms            INTEGER NOT NULL,
    sends              INTEGER NOT NULL DEFAULT 0,
    first_sent_ms      INTEGER,
    parked             TEXT    NOT NULL DEFAULT '',
    parked_ms          INTEGER,
    acknowledged_ms    INTEGER,
    acknowledged_by    TEXT    NOT NULL DEFAULT '',
    acknowledged_code  TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (request_id, terminal_id, reversal_reference)
) STRICT, WITHOUT ROWID;

CREATE INDEX reversals_owed ON reversals (reversal_reference) WHERE acknowledged_ms IS NULL;

-- Terminals' wishes to reverse, each under its own id.
CREATE TABLE terminal_reversals (
    request_id           BLOB    NOT NULL,
    terminal_id          TEXT    NOT NULL,
    original_request_id  BLOB    NOT NULL,
    original_terminal_id TEXT    NOT NULL,
    amount_minor         INTEGER,
    currency             TEXT,
    reason               INTEGER NOT NULL,
    original_known       INTEGER NOT NULL,
    reversal             INTEGER NOT NULL,
    at_ms                INTEGER NOT NULL,
    PRIMARY KEY (request_id, terminal_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX terminal_reversals_original
    ON terminal_reversals (original_request_id, original_terminal_id);

-- Answers nobody waited for any more, numbered per payment in the order in which they came.
CREATE TABLE late_answers (
    request_id     BLOB    NOT NULL,
    terminal_id    TEXT    NOT NULL,
    number         INTEGER NOT NULL,
    ordinal        INTEGER NOT NULL,
    node           TEXT    NOT NULL,
    response_code  TEXT    NOT NULL,
    approved_minor INTEGER NOT NULL,
    delay_ms       INTEGER NOT NULL,
    contradicts    INTEGER NOT NULL,
    at_ms          INTEGER NOT NULL,
    PRIMARY KEY (request_id, terminal_id, number)
) STRICT, WITHOUT ROWID;

-- What operators ordered for each node last.
CREATE TABLE node_intents (
    node       TEXT    PRIMARY KEY,
    intent     INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    actor      TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    at_ms      INTEGER NOT NULL,
    expires_ms INTEGER
) STRICT, WITHOUT ROWID;

-- The audit chain.
CREATE TABLE audit (
    number        INTEGER PRIMARY KEY,
    at_ms         INTEGER NOT NULL,
    actor         TEXT    NOT NULL,
    authenticated INTEGER NOT NULL,
    action        TEXT    NOT NULL,
    subject       TEXT    NOT NULL,
    detail_json   TEXT    NOT NULL,
    hash          BLOB    NOT NULL
) STRICT;
