-- name: begin_switch
INSERT INTO switch (one, switch_id, epoch, opened_ms) VALUES (1, ?1, 0, ?2)
ON CONFLICT DO NOTHING;

-- name: begin_epoch
UPDATE switch SET epoch = epoch + 1, opened_ms = ?1 RETURNING epoch;

-- name: read_switch_id
SELECT switch_id FROM switch;

-- name: read_schema_versions
SELECT number, phase FROM schema_versions;

-- name: record_schema_version
INSERT INTO schema_versions (number, phase, name, applied_ms) VALUES (?, ?, ?, ?);

-- name: claim_payment
INSERT INTO payments (
    request_id, terminal_id, fingerprint, state, kind, amount_minor, currency, bin, last_four,
    merchant_id, merchant_category_code, country, entry_mode, accepts_partial,
    configuration_version, terminal_time_ms, claimed_ms, ordinal, reference, ledger, processor,
    node, attempt_state, doubted, opened_ms
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING;

-- name: read_claim
SELECT state, fingerprint, ordinal, attempt_state
FROM payments
WHERE request_id = ?1 AND terminal_id = ?2;

-- name: run_again
-- In state RUNNING.
UPDATE payments
SET state = 1, configuration_version = ?3, concluded_ms = NULL
WHERE request_id = ?1 AND terminal_id = ?2;

-- name: keep_attempt
-- Put a payment's last attempt among its earlier ones.
INSERT INTO earlier_attempts (
    request_id, terminal_id, ordinal, reference, ledger, processor, node, attempt_state, doubted,
    opened_ms, node_answer_code, closed_why, doubted_ms, doubted_why, repeat_node, closed_ms
)
SELECT
    request_id, terminal_id, ordinal, reference, ledger, processor, node, attempt_state, doubted,
    opened_ms, node_answer_code, closed_why, doubted_ms, doubted_why, repeat_node,
    coalesce(concluded_ms, ?3)
FROM payments
WHERE request_id = ?1 AND terminal_id = ?2;

-- name: open_attempt
-- In state INTENDED.
UPDATE payments
SET ordinal = ?3, reference = ?4, ledger = ?5, processor = ?6, node = ?7, attempt_state = 1,
    doubted = 0, opened_ms = ?8, node_answer_code = '', closed_why = '', doubted_ms = NULL,
    doubted_why = '', repeat_node = ''
WHERE request_id = ?1 AND terminal_id = ?2;

-- name: close_attempt
-- What is REVERSED (9) stays so.
UPDATE payments
SET attempt_state = iif(attempt_state = 9, 9, ?3), node_answer_code = ?4
WHERE request_id = ?1 AND terminal_id = ?2;

-- name: doubt_attempt
UPDATE payments
SET doubted = 1,
    doubted_ms = coalesce(doubted_ms, ?5),
    doubted_why = iif(doubted_ms IS NULL, ?4, doubted_why)
WHERE request_id = ?1 AND terminal_id = ?2 AND ordinal = ?3;

-- name: repeat_attempt
-- From any open state (1, 2, 3) into REPEATING.
UPDATE payments
SET attempt_state = 3, repeat_node = ?4
WHERE request_id = ?1 AND terminal_id = ?2 AND ordinal = ?3 AND attempt_state IN (1, 2, 3);

-- name: conclude_payment
-- Only a running payment; the plus keeps it from being looked for in payments_running, since the
-- primary key is there already. The reversal wins: what is OWED (8) or REVERSED (9) stays so.
-- Nothing is answered in another currency than was asked.
UPDATE payments
SET state = ?, attempt_state = iif(attempt_state IN (8, 9), attempt_state, ?),
    node_answer_code = ?, closed_why = ?, approved = ?, response_code = ?, approved_minor = ?,
    authorization_code = ?, answer_processor = ?, retrieval_reference_number = ?, concluded_ms = ?
WHERE request_id = ? AND terminal_id = ? AND ordinal = ? AND +state = 1
    AND currency = coalesce(?, currency);

-- name: owe_reversal
-- A full reversal has one reference, whoever asks for it: what is owed already stays as it is.
INSERT INTO reversals (
    request_id, terminal_id, reversal_reference, ordinal, reference, ledger, in_full, amount_minor,
    currency, reason, owed_ms
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (request_id, terminal_id, reversal_reference) DO NOTHING;

-- name: owe_last_attempt
-- REVERSED (9) stays.
UPDATE payments
SET attempt_state = iif(attempt_state = 9, 9, 8), doubted = 1,
    doubted_ms = coalesce(doubted_ms, ?4)
WHERE request_id = ?1 AND terminal_id = ?2 AND ordinal = ?3;

-- name: owe_earlier_attempt
-- REVERSED (9) stays.
UPDATE earlier_attempts
SET attempt_state = iif(attempt_state = 9, 9, 8), doubted = 1,
    doubted_ms = coalesce(doubted_ms, ?4)
WHERE request_id = ?1 AND terminal_id = ?2 AND ordinal = ?3;

-- name: count_late_answers
-- Of the payment; nothing if it has no such attempt.
SELECT (
    SELECT count(*) FROM late_answers
    WHERE late_answers.request_id = ?1 AND late_answers.terminal_id = ?2
)
FROM attempts
WHERE request_id = ?1 AND terminal_id = ?2 AND ordinal = ?3;

-- name: add_late_answer
INSERT INTO late_answers (
    request_id, terminal_id, number, ordinal, node, response_code, approved_minor, delay_ms,
    contradicts, at_ms
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: blame_lateness
-- What is owed because we gave up waiting (UNREADABLE 4020, TIMED_OUT 4021) and is not sent yet
-- gets the reason LATE (4006). What the terminal asked for keeps the terminal's reason.
UPDATE reversals
SET reason = 4006
WHERE request_id = ?1 AND terminal_id = ?2 AND ordinal = ?3
    AND acknowledged_ms IS NULL AND sends = 0 AND reason IN (4020, 4021);

-- name: is_reversal_claimed
SELECT 1 FROM terminal_reversals WHERE request_id = ?1 AND terminal_id = ?2;

-- name: claim_reversal
INSERT INTO terminal_reversals (
    request_id, terminal_id, original_request_id, original_terminal_id, amount_minor, currency,
    reason, original_known, reversal, at_ms
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_tombstone
INSERT INTO payments (
    request_id, terminal_id, fingerprint, state, kind, amount_minor, currency, bin, last_four,
    merchant_id, merchant_category_code, country, entry_mode, accepts_partial,
    configuration_version, terminal_time_ms, claimed_ms, ordinal, reference, ledger, processor,
    node, attempt_state, doubted, opened_ms
) VALUES (
    ?1, ?2, x'', 4, 0, ?3, ?4, '', '', '', '', '', 0, 0, '', 0, ?5, NULL, x'', '', '', '', 0, 0, 0
);

-- name: bury_payment
-- A payment that ended not sent becomes a tombstone.
UPDATE payments SET state = 4 WHERE request_id = ?1 AND terminal_id = ?2;

-- name: void_attempt
-- REVERSED (9) stays.
UPDATE payments
SET attempt_state = iif(attempt_state = 9, 9, ?4)
WHERE request_id = ?1 AND terminal_id = ?2 AND ordinal = ?3;

-- name: send_reversal
UPDATE reversals
SET sends = sends + 1, first_sent_ms = coalesce(first_sent_ms, ?2)
WHERE reversal_reference = ?1 AND acknowledged_ms IS NULL;

-- name: acknowledge_reversal
UPDATE reversals
SET acknowledged_ms = ?2, acknowledged_by = ?3, acknowledged_code = ?4
WHERE reversal_reference = ?1 AND acknowledged_ms IS NULL
RETURNING request_id, terminal_id, ordinal, in_full;

-- name: reverse_last_attempt
UPDATE payments
SET attempt_state = 9
WHERE request_id = ?1 AND terminal_id = ?2 AND ordinal = ?3;

-- name: reverse_earlier_attempt
UPDATE earlier_attempts
SET attempt_state = 9
WHERE request_id = ?1 AND terminal_id = ?2 AND ordinal = ?3;

-- name: park_reversal
UPDATE reversals
SET parked = ?2, parked_ms = ?3
WHERE reversal_reference = ?1 AND acknowledged_ms IS NULL;

-- name: read_payment
-- A PaymentRow, and behind it an AttemptRow without its key.
SELECT
    request_id, terminal_id, fingerprint, state, kind, amount_minor, currency, bin, last_four,
    merchant_id, merchant_category_code, country, entry_mode, accepts_partial,
    configuration_version, terminal_time_ms, claimed_ms, approved, response_code, approved_minor,
    authorization_code, answer_processor, retrieval_reference_number, concluded_ms,
    ordinal, reference, ledger, processor, node, attempt_state, doubted, opened_ms,
    node_answer_code, closed_why, doubted_ms, doubted_why, repeat_node, concluded_ms,
    iif(approved, approved_minor, 0)
FROM payments
WHERE request_id = ?1 AND terminal_id = ?2;

-- name: read_earlier_attempts
SELECT
    request_id, terminal_id, ordinal, reference, ledger, processor, node, attempt_state, doubted,
    opened_ms, node_answer_code, closed_why, doubted_ms, doubted_why, repeat_node, closed_ms
FROM earlier_attempts
WHERE request_id = ?1 AND terminal_id = ?2
ORDER BY ordinal;

-- name: read_reversals
-- In any order: SQLite would pay for a sorter even where there is none, which is nearly always.
SELECT
    request_id, terminal_id, reversal_reference, ordinal, reference, ledger, in_full, amount_minor,
    currency, reason, owed_ms, sends, first_sent_ms, parked, parked_ms, acknowledged_ms,
    acknowledged_by, acknowledged_code
FROM reversals
WHERE request_id = ?1 AND terminal_id = ?2;

-- name: read_late_answers
SELECT
    request_id, terminal_id, number, ordinal, node, response_code, approved_minor, delay_ms,
    contradicts, at_ms
FROM late_answers
WHERE request_id = ?1 AND terminal_id = ?2
ORDER BY number;

-- name: read_terminal_reversal
SELECT
    request_id, terminal_id, original_request_id, original_terminal_id, amount_minor, currency,
    reason, original_known, reversal, at_ms
FROM terminal_reversals
WHERE request_id = ?1 AND terminal_id = ?2;

-- name: read_terminal_reversals_of
SELECT
    request_id, terminal_id, original_request_id, original_terminal_id, amount_minor, currency,
    reason, original_known, reversal, at_ms
FROM terminal_reversals
WHERE original_request_id = ?1 AND original_terminal_id = ?2
ORDER BY at_ms, request_id, terminal_id;

-- name: read_terminals
SELECT terminal_id FROM payments WHERE request_id = ?1 ORDER BY terminal_id;

-- name: find_reference
SELECT request_id, terminal_id, ordinal FROM payments WHERE reference = ?1 AND doubted = 1
UNION ALL
SELECT request_id, terminal_id, ordinal FROM earlier_attempts
WHERE reference = ?1 AND doubted = 1;

-- name: read_owed
SELECT
    request_id, terminal_id, reversal_reference, ordinal, reference, ledger, in_full, amount_minor,
    currency, reason, owed_ms, sends, first_sent_ms, parked, parked_ms, acknowledged_ms,
    acknowledged_by, acknowledged_code
FROM reversals
WHERE acknowledged_ms IS NULL
ORDER BY owed_ms, request_id, terminal_id, reversal_reference;

-- name: read_running
SELECT request_id, terminal_id FROM payments WHERE state = 1;

-- name: count_running
SELECT count(*) FROM payments WHERE state = 1;

-- name: count_owed
SELECT count(*), count(nullif(parked, '')), min(owed_ms)
FROM reversals
WHERE acknowledged_ms IS NULL;

-- name: read_intents
SELECT node, intent, version, actor, reason, at_ms, expires_ms FROM node_intents ORDER BY node;

-- name: set_intent
INSERT INTO node_intents (node, intent, version, actor, reason, at_ms, expires_ms)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (node) DO UPDATE SET
    intent = excluded.intent, version = excluded.version, actor = excluded.actor,
    reason = excluded.reason, at_ms = excluded.at_ms, expires_ms = excluded.expires_ms;

-- name: read_audit_head
SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1;

-- name: add_audit_record
INSERT INTO audit (number, at_ms, actor, authenticated, action, subject, detail_json, hash)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: read_audit
SELECT number, at_ms, actor, authenticated, action, subject, detail_json, hash
FROM audit
WHERE number >= ?1
ORDER BY number
LIMIT ?2;
