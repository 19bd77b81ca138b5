"""The audit against hand-made ledgers: consistent ones pass, and every kind of lie is found."""

import json
import shutil
import subprocess
import sys
from ast import literal_eval
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.audit.__main__ import main
from clients.audit.evidence import Key, Unreadable
from clients.audit.finding import COUNTERS
from clients.audit.report import FATAL
from clients.audit.terminals import read_terminals
from clients.terminal import Card, Connection, Patience, Refused, Terminal
from tests.clients.hand_made_ledgers import Ledgers, raw, reference_of
from tests.clients.scripted_switch import Refuse, ScriptedSwitch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def ledgers(tmp_path: Path) -> Iterator[Ledgers]:
    ledgers = Ledgers(tmp_path / "ledgers")
    yield ledgers
    ledgers.close()


# --- what agrees -----------------------------------------------------------------------------


def test_ledgers_that_agree_pass_and_add_up(ledgers: Ledgers) -> None:
    ledgers.approve(1250)
    ledgers.approve(750)
    ledgers.approve(9, "KWD")
    ledgers.decline(300)
    ledgers.reverse(400)
    ledgers.reverse(500, part=200)
    ledgers.doubt(600)
    ledgers.doubt(700, why="restarted")
    ledgers.refuse()
    verdict = ledgers.judge()
    assert verdict.passed, verdict.as_text()
    assert verdict.counts == {
        "sent": 9,
        "answered": 8,
        "approved": 5,
        "declined": 3,
        "refused": 1,
        "unanswered": 0,
        "never_sent": 0,
        "terminal_failures": 2,
        "restart_reversals": 1,
        "failed_over": 0,
        "repeated": 0,
        "in_doubt": 2,
        "late_answers": 0,
        "reversals_owed": 4,
        "reversals_acknowledged": 4,
        "double_charges": 0,
        "lost": 0,
        "mismatches": 0,
    }
    euro = verdict.currencies["EUR"]
    assert (euro.terminals_minor, euro.switch_minor, euro.ledgers_minor) == (2300, 2300, 2300)
    assert verdict.currencies["KWD"].ledgers_minor == 9


def test_an_owed_reversal_explains_its_difference(ledgers: Ledgers) -> None:
    key = ledgers.doubt(600, acknowledged=False)
    verdict = ledgers.judge()
    assert verdict.passed
    euro = verdict.currencies["EUR"]
    assert (euro.terminals_minor, euro.ledgers_minor, euro.owed_minor) == (0, 600, 600)
    assert verdict.counts["reversals_owed"] == 1
    assert verdict.counts["reversals_acknowledged"] == 0
    assert verdict.explanations[0] == f"owed: {key}: 600 EUR is still to be reversed"


def test_an_unanswered_payment_fails_the_audit(ledgers: Ledgers) -> None:
    ledgers.approve()
    key = ledgers.approve(told=False)
    verdict = ledgers.judge()
    assert not verdict.passed
    assert verdict.counts["unanswered"] == verdict.counts["terminal_failures"] == 1
    assert [verdict.counts[name] for name in FATAL] == [0, 0, 0, 1]
    assert f"unanswered: {key}" in verdict.explanations


def test_a_payment_that_was_never_sent_is_no_payment(ledgers: Ledgers) -> None:
    ledgers.approve()
    ledgers.call(ledgers.new_key(), 5, "EUR")
    ledgers.lines.pop()
    verdict = ledgers.judge()
    assert verdict.passed
    assert (verdict.counts["sent"], verdict.counts["never_sent"]) == (1, 1)


def test_a_refused_reuse_of_an_id_harms_nothing(ledgers: Ledgers) -> None:
    key = ledgers.approve(100)
    ledgers.call(key, 999, "EUR", name="2")
    ledgers.line("refused", key, call="2", status="ALREADY_EXISTS", reason="REQUEST_ID_REUSED")
    verdict = ledgers.judge()
    assert verdict.passed
    assert verdict.counts["terminal_failures"] == 0


def test_a_repeat_is_answered_the_same(ledgers: Ledgers) -> None:
    key = ledgers.approve(100)
    ledgers.call(key, 100, "EUR", name="2")
    ledgers.answer(key, "approved", "00", 100, "EUR", "A1", name="2")
    assert ledgers.judge().passed


def test_a_payment_reversed_before_it_came_is_declined(ledgers: Ledgers) -> None:
    key = ledgers.new_key()
    wish = ledgers.new_key()._replace(terminal_id=key.terminal_id)
    ledgers.line("reversal_intended", wish, original_request_id=key.request_id)
    ledgers.line("reversal_answered", wish, reversal="none", reversed_amount_minor=0)
    ledgers.insert(
        "switch",
        "terminal_reversals",
        request_id=raw(wish),
        terminal_id=wish.terminal_id,
        original_request_id=raw(key),
        original_terminal_id=key.terminal_id,
    )
    ledgers.row(key, 0, "XXX", state=4, kind=0)
    ledgers.call(key, 100, "EUR")
    ledgers.answer(key, "declined", "17")
    assert ledgers.judge().passed


def test_a_reversal_without_an_answer_leaves_the_switch_its_word(ledgers: Ledgers) -> None:
    key = ledgers.reverse(400)
    ledgers.lines.pop()
    verdict = ledgers.judge()
    assert verdict.passed, verdict.as_text()
    assert key.request_id not in " ".join(verdict.explanations)


@pytest.mark.parametrize("how", ["another_attempt", "a_repeat", "a_delivery"])
def test_a_payment_that_left_its_node_is_failed_over(ledgers: Ledgers, how: str) -> None:
    ledgers.approve()
    key = ledgers.approve()
    reference = reference_of(key)
    if how == "another_attempt":
        ledgers.attempt(key, 7, ordinal=0, ledger="zeta")
    elif how == "a_repeat":
        change_row(ledgers, key, "repeat_node = 'acme-2'")
        ledgers.delivery(reference, node="acme-2", repeat=1)
    else:
        ledgers.run("acme", "UPDATE delivery SET node = 'acme-2' WHERE reference = ?", reference)
    verdict = ledgers.judge()
    assert verdict.passed, verdict.as_text()
    assert verdict.counts["failed_over"] == 1
    assert verdict.counts["repeated"] == (how == "a_repeat")


def test_a_91_of_the_issuer_is_no_failure_of_ours(ledgers: Ledgers) -> None:
    ledgers.decline(code="91")
    assert ledgers.judge().counts["terminal_failures"] == 0


# --- every kind of lie -----------------------------------------------------------------------

Lie = Callable[[Ledgers, Key], object]
LIES: list[tuple[str, str, Lie]] = []
"""What must be found, the story it is planted in, and how."""


def lie(kind: str, story: str) -> Callable[[Lie], Lie]:
    def planted(plant: Lie) -> Lie:
        LIES.append((kind, story, plant))
        return plant

    return planted


@lie("two_live_approvals", "approve")
def a_second_processor_approved_too(ledgers: Ledgers, key: Key) -> None:
    reference = ledgers.attempt(key, 6, ordinal=0, ledger="zeta")
    zeta = {"ledger": "zeta", "node": "zeta-1"}
    said = {"response_code": "00", "approved_minor": 70}
    ledgers.entry(key, reference, "live", 1250, "EUR", said, **zeta)


@lie("more_than_approved", "approve")
def the_processor_took_a_cent_more(ledgers: Ledgers, key: Key) -> None:
    change_entry(ledgers, key, "approved_minor = approved_minor + 1")


@lie("lost_approval", "approve")
def the_processor_took_a_cent_less(ledgers: Ledgers, key: Key) -> None:
    change_entry(ledgers, key, "approved_minor = approved_minor - 1")


@lie("lost_approval", "approve")
def the_processor_forgot(ledgers: Ledgers, key: Key) -> None:
    ledgers.run("acme", 'DELETE FROM "authorization" WHERE request_id = ?', key.request_id)


@lie("lost_answer", "approve")
def the_journal_lost_the_payment(ledgers: Ledgers, key: Key) -> None:
    ledgers.run("switch", "DELETE FROM payments WHERE request_id = ?", raw(key))


@lie("lost_answer", "decline")
def the_journal_lost_the_answer(ledgers: Ledgers, key: Key) -> None:
    change_row(ledgers, key, "approved = NULL, state = 1")


@lie("lost_answer", "decline")
def the_journal_has_another_code(ledgers: Ledgers, key: Key) -> None:
    change_row(ledgers, key, "response_code = '05'")


@lie("lost_reversal", "reverse")
def the_journal_lost_the_reversal(ledgers: Ledgers, key: Key) -> None:
    ledgers.run("switch", "DELETE FROM terminal_reversals WHERE original_request_id = ?", raw(key))


@lie("lost_reversal", "reverse")
def the_reversal_is_not_owed(ledgers: Ledgers, key: Key) -> None:
    ledgers.run("switch", "DELETE FROM reversals WHERE request_id = ?", raw(key))


@lie("live_though_declined", "decline")
def the_processor_took_what_it_declined(ledgers: Ledgers, key: Key) -> None:
    change_entry(ledgers, key, "approved_minor = amount_minor, state = 'live'")


@lie("live_though_refused", "refuse")
def the_refused_payment_went_through(ledgers: Ledgers, key: Key) -> None:
    said = {"response_code": "00", "approved_minor": 1250}
    ledgers.row(key, 1250, "EUR", approved=1, **said)
    reference = ledgers.attempt(key, 4)
    ledgers.entry(key, reference, "live", 1250, "EUR", said)


@lie("money_differs", "approve_untold")
def the_unheard_approval_is_gone(ledgers: Ledgers, key: Key) -> None:
    change_entry(ledgers, key, "approved_minor = 0, state = 'declined'")


@lie("money_differs", "reverse")
def the_terminal_was_told_of_less(ledgers: Ledgers, key: Key) -> None:
    for line in ledgers.lines:
        if line["event"] == "reversal_answered":
            line["reversed_amount_minor"] += 1


@lie("answer_changed", "decline")
def the_repeat_was_approved(ledgers: Ledgers, key: Key) -> None:
    ledgers.call(key, 1250, "EUR", name="2")
    ledgers.answer(key, "approved", "00", 1250, "EUR", "A1", name="2")


@lie("answer_changed", "approve")
def the_authorization_code_changed(ledgers: Ledgers, key: Key) -> None:
    ledgers.call(key, 1250, "EUR", name="2")
    ledgers.answer(key, "approved", "00", 1250, "EUR", "A2", name="2")


@lie("two_payments_under_one_id", "approve")
def another_amount_was_answered_too(ledgers: Ledgers, key: Key) -> None:
    ledgers.call(key, 1251, "EUR", name="2")
    ledgers.answer(key, "approved", "00", 1250, "EUR", "A1", name="2")


@lie("contents_differ", "approve")
def the_journal_has_another_card(ledgers: Ledgers, key: Key) -> None:
    change_row(ledgers, key, "last_four = '9999'")


@lie("contents_differ", "decline")
def the_processor_was_asked_for_more(ledgers: Ledgers, key: Key) -> None:
    change_entry(ledgers, key, "amount_minor = amount_minor + 1")


@lie("said_otherwise", "approve")
def the_processor_has_another_code(ledgers: Ledgers, key: Key) -> None:
    change_entry(ledgers, key, "authorization_code = 'ZZ'")


@lie("said_otherwise", "decline")
def the_processor_declined_for_another_reason(ledgers: Ledgers, key: Key) -> None:
    change_entry(ledgers, key, "response_code = '14'")


@lie("wrongful_reversal", "approve")
def the_switch_reversed_an_answered_approval(ledgers: Ledgers, key: Key) -> None:
    ledgers.owe(key, reference_of(key), 1250, "EUR")


@lie("wrongful_reversal", "approve")
def the_switch_is_about_to(ledgers: Ledgers, key: Key) -> None:
    ledgers.owe(key, reference_of(key), 1250, "EUR", acknowledged=False)


@lie("false_acknowledgement", "doubt")
def no_ledger_knows_the_reversal(ledgers: Ledgers, key: Key) -> None:
    ledgers.run("acme", "DELETE FROM reversal WHERE reference = ?", reference_of(key))


@lie("unowed_reversal", "approve")
def the_ledger_reversed_by_itself(ledgers: Ledgers, key: Key) -> None:
    ledgers.insert("acme", "reversal", reversal_reference=bytes(16), reference=reference_of(key))


@lie("nothing_owed", "doubt")
def the_debt_was_forgotten(ledgers: Ledgers, key: Key) -> None:
    ledgers.run("switch", "DELETE FROM reversals WHERE request_id = ?", raw(key))


@lie("repeat_and_reversal", "doubt")
def it_is_repeated_and_reversed(ledgers: Ledgers, key: Key) -> None:
    change_row(ledgers, key, "attempt_state = 3")
    ledgers.run("switch", "UPDATE reversals SET acknowledged_ms = NULL")


@lie("undecided_forever", "decline")
def the_issuer_may_still_approve(ledgers: Ledgers, key: Key) -> None:
    change_entry(ledgers, key, "state = 'undecided', response_code = NULL")


@lie("unknown_to_switch", "decline")
def a_ledger_has_a_payment_of_nobody(ledgers: Ledgers, key: Key) -> None:
    stranger = ledgers.new_key()
    said = {"response_code": "00", "approved_minor": 5}
    ledgers.entry(stranger, bytes(16), "live", 5, "EUR", said)


@lie("unknown_to_terminals", "approve")
def no_terminal_ever_asked(ledgers: Ledgers, key: Key) -> None:
    ledgers.lines[:] = [line for line in ledgers.lines if line["request_id"] != key.request_id]


@lie("unknown_reference", "decline")
def the_ledger_has_another_reference(ledgers: Ledgers, key: Key) -> None:
    change_entry(ledgers, key, "reference = zeroblob(16)")


@lie("wrong_ledger", "approve")
def it_was_meant_for_another_ledger(ledgers: Ledgers, key: Key) -> None:
    change_row(ledgers, key, "ledger = 'zeta'")


@lie("two_ledgers", "approve")
def one_reference_stands_in_two_ledgers(ledgers: Ledgers, key: Key) -> None:
    zeta = {"ledger": "zeta", "node": "zeta-1"}
    ledgers.entry(key, reference_of(key), "declined", 1250, "EUR", {"response_code": "51"}, **zeta)


@lie("books_differ", "reverse")
def the_books_gave_back_less_than_the_reversal_says(ledgers: Ledgers, key: Key) -> None:
    change_entry(ledgers, key, "reversed_minor = reversed_minor - 1, state = 'live'")


@lie("books_differ", "decline")
def the_books_call_it_live(ledgers: Ledgers, key: Key) -> None:
    change_entry(ledgers, key, "state = 'live'")


@lie("sent_before_durable", "approve")
def something_left_before_it_was_written_down(ledgers: Ledgers, key: Key) -> None:
    ledgers.delivery(b"never heard of i", disposition="NOT_PROCESSED")


@lie("sent_before_durable", "approve")
def a_reversal_left_before_it_was_written_down(ledgers: Ledgers, key: Key) -> None:
    ledgers.delivery(reference_of(key), kind="reversal", reversal_reference=bytes(16))


@lie("sent_after_restart", "approve")
def a_new_epoch_sent_it_again(ledgers: Ledgers, key: Key) -> None:
    ledgers.delivery(reference_of(key), epoch=2, repeat=1)


@lie("unmarked_repeat", "approve")
def it_was_sent_twice_as_new(ledgers: Ledgers, key: Key) -> None:
    ledgers.delivery(reference_of(key))


@lie("stale_delivery", "approve")
def it_was_taken_from_a_replaced_link(ledgers: Ledgers, key: Key) -> None:
    ledgers.insert(
        "acme", "session", node="acme-1", switch_id="s", epoch=1, session=2, opened_at=50
    )


@lie("after_the_order", "approve")
def it_came_after_the_order(ledgers: Ledgers, key: Key) -> None:
    order = {"node": "acme-1", "epoch": 1, "session": 1, "frame_number": 6}
    ledgers.orders.write_text(json.dumps(order) + "\n", encoding="utf-8")


def change_entry(ledgers: Ledgers, key: Key, change: str) -> None:
    ledgers.change("acme", "authorization", change, key.request_id)


def change_row(ledgers: Ledgers, key: Key, change: str) -> None:
    ledgers.change("switch", "payments", change, raw(key))


def tell(ledgers: Ledgers, story: str) -> Key:
    if story == "approve_untold":
        return ledgers.approve(told=False)
    told: Key = getattr(ledgers, story)()
    return told


@pytest.mark.parametrize(
    ("kind", "story", "plant"), LIES, ids=[plant.__name__ for _, _, plant in LIES]
)
def test_the_lie_is_found(ledgers: Ledgers, kind: str, story: str, plant: Lie) -> None:
    key = tell(ledgers, story)
    ledgers.approve()
    assert ledgers.judge().kinds == {}
    plant(ledgers, key)
    verdict = ledgers.judge()
    assert kind in verdict.kinds, verdict.as_text()
    assert verdict.counts[COUNTERS[kind]] >= 1
    assert not verdict.passed
    assert any(text.startswith(f"{kind}: ") for text in verdict.explanations)


def test_every_kind_of_finding_is_seen_to_fire() -> None:
    assert {kind for kind, _, _ in LIES} == set(COUNTERS)


STORIES = ["approve", "decline", "doubt", "refuse", "reverse"]


@settings(max_examples=60)
@given(
    stories=st.lists(st.sampled_from(STORIES), min_size=1, max_size=12),
    which=st.sampled_from([entry for entry in LIES if entry[1] in STORIES]),
    seed=st.integers(0, 2**32),
)
def test_one_lie_among_many_truths_is_found(
    stories: list[str], which: tuple[str, str, Lie], seed: int
) -> None:
    kind, story, plant = which
    with TemporaryDirectory() as folder:
        ledgers = Ledgers(Path(folder))
        try:
            stories.insert(Random(seed).randrange(len(stories) + 1), story)
            keys = [tell(ledgers, told) for told in stories]
            truth = ledgers.judge()
            assert truth.passed, truth.as_text()
            chosen = [key for key, told in zip(keys, stories, strict=True) if told == story]
            plant(ledgers, Random(seed).choice(chosen))
            verdict = ledgers.judge()
            assert kind in verdict.kinds, verdict.as_text()
            assert not verdict.passed
        finally:
            ledgers.close()


MONEY = [
    ("switch", "payments", "approved_minor"),
    ("switch", "payments", "amount_minor"),
    ("acme", "authorization", "approved_minor"),
    ("acme", "authorization", "amount_minor"),
    ("acme", "authorization", "reversed_minor"),
    ("acme", "reversal", "reversed_minor"),
]
TABLES = [
    ("switch", "payments"),
    ("switch", "reversals"),
    ("switch", "terminal_reversals"),
    ("acme", "authorization"),
    ("acme", "reversal"),
]


@settings(max_examples=60)
@given(
    stories=st.lists(st.sampled_from(STORIES), max_size=8),
    seed=st.integers(0, 2**32),
    by=st.integers(-999, 999).filter(bool),
    what=st.sampled_from(["money", "row", "line"]),
)
def test_no_cent_row_or_line_goes_missing_unseen(
    stories: list[str], seed: int, by: int, what: str
) -> None:
    random = Random(seed)
    with TemporaryDirectory() as folder:
        ledgers = Ledgers(Path(folder))
        try:
            for story in [*stories, "doubt", "reverse", "decline"]:
                tell(ledgers, story)
            if what == "money":
                database, table, column = random.choice(MONEY)
                ledgers.damage(database, table, f"{column} = {column} + {by}", random)
            elif what == "row":
                database, table = random.choice(TABLES)
                ledgers.damage(database, table, "", random)
            else:
                last = [n for n, line in enumerate(ledgers.lines) if "answered" in line["event"]]
                del ledgers.lines[random.choice(last)]
            verdict = ledgers.judge()
            lost_wish = what == "line" and verdict.passed
            if lost_wish:  # Only a reversal's answer may be lost: then the switch has the word.
                assert len([x for x in ledgers.lines if x["event"] == "reversal_answered"]) < len(
                    [x for x in ledgers.lines if x["event"] == "reversal_intended"]
                )
            else:
                assert not verdict.passed
        finally:
            ledgers.close()


# --- what cannot be judged -------------------------------------------------------------------


def spoil_nothing_sent(ledgers: Ledgers) -> None:
    ledgers.lines.clear()


def spoil_a_line(ledgers: Ledgers) -> None:
    ledgers.lines[1] = {"event": "sent"}


def spoil_an_event(ledgers: Ledgers) -> None:
    ledgers.lines[1]["event"] = "dreamt"


def spoil_a_table(ledgers: Ledgers) -> None:
    ledgers.databases["acme"].execute("DROP TABLE delivery")


def spoil_a_column(ledgers: Ledgers) -> None:
    ledgers.databases["switch"].execute("DROP VIEW attempts")
    ledgers.databases["switch"].execute("ALTER TABLE payments RENAME repeat_node TO other")


def spoil_a_ledger(ledgers: Ledgers) -> None:
    ledgers.run("switch", "UPDATE payments SET ledger = 'omega'")


def spoil_a_name(ledgers: Ledgers) -> None:
    ledgers.run("zeta", "UPDATE ledger SET name = 'acme'")


def spoil_a_file(ledgers: Ledgers) -> None:
    ledgers.files["acme"].unlink()


def spoil_all_bytes(ledgers: Ledgers) -> None:
    ledgers.files["acme"].write_bytes(b"not a database" * 1000)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_nothing_sent, "nothing to judge"),
        (spoil_a_line, "terminals.jsonl, line 2"),
        (spoil_an_event, "no event is called dreamt"),
        (spoil_a_table, "no such table: delivery"),
        (spoil_a_column, "no such column"),
        (spoil_a_ledger, "not given: omega"),
        (spoil_a_name, "acme was given already"),
        (spoil_a_file, "no such file"),
        (spoil_all_bytes, "not a database"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_cannot_be_judged_is_never_a_pass(
    ledgers: Ledgers,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Ledgers], None],
    said: str,
) -> None:
    ledgers.approve()
    spoil(ledgers)
    assert main(ledgers.arguments("--json")) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert json.loads(captured.out)["passed"] is False


def test_a_journal_given_twice_is_refused(ledgers: Ledgers) -> None:
    ledgers.approve()
    arguments = ledgers.arguments()
    assert main([*arguments, "--terminals", arguments[1], arguments[1]]) == 2


def test_a_line_cut_off_by_a_crash_is_left_out_and_said(ledgers: Ledgers) -> None:
    ledgers.approve()
    ledgers.save()
    with ledgers.terminals.open("ab") as file:
        file.write(b'{"event":"sent","termi')
    assert len(read_terminals([ledgers.terminals]).notes) == 1
    with ledgers.terminals.open("ab") as file:
        file.write(b"\n")
    with pytest.raises(Unreadable, match="line 4"):
        read_terminals([ledgers.terminals])


# --- how it reads ----------------------------------------------------------------------------


def test_it_leaves_no_trace_beside_files_at_rest(ledgers: Ledgers) -> None:
    ledgers.approve()
    ledgers.save()
    for name in ledgers.files:
        ledgers.databases[name].execute("PRAGMA journal_mode = WAL")
    ledgers.close()
    folder = ledgers.terminals.parent
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert ledgers.judge().passed
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_it_reads_what_a_killed_writer_left_in_its_log(ledgers: Ledgers, tmp_path: Path) -> None:
    for name in ledgers.files:
        ledgers.databases[name].execute("PRAGMA journal_mode = WAL")
        ledgers.databases[name].execute("PRAGMA wal_autocheckpoint = 0")
    ledgers.approve()
    killed = tmp_path / "killed"
    killed.mkdir()
    for path in ledgers.terminals.parent.iterdir():
        if not path.name.endswith("-shm"):
            shutil.copy2(path, killed / path.name)
    assert (killed / "acme.db-wal").stat().st_size > 0
    before = {path: path.read_bytes() for path in killed.glob("*.db*")}
    ledgers.files = {name: killed / f"{name}.db" for name in ledgers.files}
    verdict = ledgers.judge()
    assert verdict.passed
    assert verdict.counts["approved"] == 1
    assert {path: path.read_bytes() for path in before} == before


def test_it_reads_beside_a_writer_at_work(ledgers: Ledgers) -> None:
    for database in ledgers.databases.values():
        database.execute("PRAGMA journal_mode = WAL")
    ledgers.approve()
    ledgers.databases["acme"].execute("BEGIN IMMEDIATE")
    ledgers.databases["acme"].execute("DELETE FROM delivery")
    assert ledgers.judge().passed
    ledgers.databases["acme"].execute("ROLLBACK")


def test_it_is_a_process_that_loads_nothing_of_what_it_judges(ledgers: Ledgers) -> None:
    ledgers.approve()
    ledgers.close()
    code = (
        "import sys; from clients.audit.__main__ import main; code = main(sys.argv[1:]);"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in"
        " ('switch', 'payswitch', 'grpc', 'google', 'clients')), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *ledgers.arguments()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the three ledgers agree to the cent" in done.stdout
    loaded = literal_eval(done.stderr)
    assert "clients.audit.report" in loaded
    assert [name for name in loaded if not f"{name}.".startswith("clients.audit.")] == ["clients"]


def test_as_a_command_it_prints_one_json_object(ledgers: Ledgers) -> None:
    ledgers.decline()
    ledgers.approve(told=False)
    ledgers.close()
    done = subprocess.run(
        [sys.executable, "-m", "clients.audit", *ledgers.arguments("--json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    (line,) = done.stdout.splitlines()
    verdict = json.loads(line)
    assert (verdict["sent"], verdict["unanswered"], verdict["passed"]) == (2, 1, False)
    assert verdict["currencies"]["EUR"]["switch_minor"] == 1250


def test_only_the_first_twenty_differences_are_explained(ledgers: Ledgers) -> None:
    for _ in range(25):
        ledgers.approve(told=False)
    verdict = ledgers.judge()
    assert len(verdict.explanations) == 20
    assert verdict.explanations_left_out == 30  # 25 are unanswered, 25 are terminal failures
    assert "and 30 more" in verdict.as_text()


def test_every_counter_and_kind_is_documented(ledgers: Ledgers) -> None:
    ledgers.approve()
    page = (ROOT / "docs" / "reference" / "audit.md").read_text(encoding="utf-8")
    for name in [*ledgers.judge().counts, *COUNTERS]:
        assert f"| `{name}` |" in page, name


async def test_it_reads_the_journal_that_terminals_write(tmp_path: Path) -> None:
    path = tmp_path / "terminal.jsonl"
    async with ScriptedSwitch() as switch:
        switch.script.append(Refuse(grpc.StatusCode.UNAVAILABLE, "NO_NODE_READY"))
        patience = Patience(timeout_s=0.5, total_s=3.0, backoff_first_s=0.01)
        async with Connection(switch.address, journal=path, patience=patience) as connection:
            terminal = Terminal(
                connection,
                "T-1",
                merchant_id="M-1",
                merchant_category_code="5411",
                country="FR",
            )
            answer = await terminal.authorize(Card("4111111111111111"), 1250, "EUR")
            await terminal.reverse(answer.request_id)
            switch.script.append(Refuse(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"))
            with pytest.raises(Refused):
                await terminal.authorize(Card("4111111111111111"), 1, "EUR")
    heard = read_terminals([path])
    (call,) = heard.calls[Key("T-1", answer.request_id)].values()
    assert call.sends == 2
    assert call.told == ("approved", "00", 1250, "EUR", "A12345")
    (wish,) = heard.wishes.values()
    assert (wish.reversal, wish.reversed_minor) == ("owed", 1250)
    refused = [call for calls in heard.calls.values() for call in calls.values() if call.refused]
    assert [call.refused for call in refused] == [("INVALID_ARGUMENT", "FIELD_INVALID")]
