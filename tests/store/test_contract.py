"""What every journal promises, whatever it is kept in."""

import asyncio
from dataclasses import replace

import pytest

from switch import ports
from switch.core.message import (
    Claimed,
    PaymentKey,
    PaymentState,
    Record,
    ReversalAnswer,
    ReversalClaim,
    ReversalParked,
    ReversalReason,
    ReversalStatus,
    StoredPayment,
)
from switch.core.money import Money
from switch.core.operations import IntentOrder
from switch.core.transaction import AttemptState
from switch.errors import JournalInDoubt, JournalUnavailable
from switch.store.journal import JournalState, JournalUnusable
from tests.store.records import (
    NOTHING,
    START_MS,
    acknowledged,
    approval,
    approved,
    claim,
    declined,
    given_up,
    in_advance,
    key,
    late,
    next_attempt,
    not_sent,
    owed,
    part,
    reference_of,
    repeat,
    request,
    request_id,
    reversal,
    sent,
    wish,
)
from tests.store.stores import Journal, Store

ONE = key(1)


def as_the_flow_needs_it(journal: Journal) -> ports.Journal:
    """Fit the flow's port; what is checked here is checked by the type checker."""
    return journal


async def stored(journal: Journal, name: PaymentKey = ONE) -> StoredPayment:
    """Read a payment that is there."""
    (payment,) = await journal.find([name])
    assert payment is not None
    return payment


async def events(journal: Journal, name: PaymentKey = ONE) -> list[str]:
    """Read what happened to a payment."""
    return [event.event for event in await journal.timeline(name)]


# --- claims ----------------------------------------------------------------------------------


async def test_an_unknown_identity_is_claimed(journal: Journal) -> None:
    assert await journal.commit([claim(1)]) == [Claimed()]
    payment = await stored(journal)
    assert payment.key == ONE
    assert payment.fingerprint == request(1).fingerprint
    assert payment.state is PaymentState.RUNNING
    assert payment.amount == Money(1000, "EUR")
    assert payment.answer is None
    (attempt,) = payment.attempts
    assert attempt.reference == reference_of(ONE, 0)
    assert (attempt.ordinal, attempt.ledger, attempt.processor) == (0, "acme-ledger", "acme")
    assert (attempt.node, attempt.state) == ("acme-1", AttemptState.INTENDED)
    assert not attempt.doubted


async def test_what_was_never_claimed_is_not_found(journal: Journal) -> None:
    await journal.commit([claim(1)])
    found = await journal.find([key(2), ONE, key(1, "T-2")])
    assert [payment is not None for payment in found] == [False, True, False]
    assert await journal.timeline(key(2)) == []
    assert await journal.payments(request_id(2)) == []


async def test_the_second_claim_of_an_identity_gets_what_the_first_has_become(
    journal: Journal,
) -> None:
    await journal.commit([claim(1)])
    (running,) = await journal.commit([claim(1)])
    assert isinstance(running, StoredPayment)
    assert running.state is PaymentState.RUNNING
    await journal.commit([approved(ONE)])
    (concluded,) = await journal.commit([claim(1)])
    assert isinstance(concluded, StoredPayment)
    assert concluded == await stored(journal)
    assert concluded.answer == replace(approval(), replayed=True, processing_s=None)


async def test_of_two_claims_in_one_transaction_the_first_wins(journal: Journal) -> None:
    results = await journal.commit([claim(1), claim(2), claim(1), claim(3)])
    assert [type(result) for result in results] == [Claimed, Claimed, StoredPayment, Claimed]
    assert results[2] == await stored(journal)
    assert len((await stored(journal)).attempts) == 1


async def test_of_two_callers_at_the_same_time_the_first_wins(journal: Journal) -> None:
    results = await asyncio.gather(*(journal.commit([claim(1)]) for _ in range(20)))
    assert [type(result) for (result,) in results] == [Claimed] + 19 * [StoredPayment]


async def test_one_request_id_at_two_terminals_is_two_payments(journal: Journal) -> None:
    results = await journal.commit([claim(1), claim(1, terminal_id="T-2")])
    assert results == [Claimed(), Claimed()]
    assert [view.stored.key for view in await journal.payments(request_id(1))] == [
        ONE,
        key(1, "T-2"),
    ]
    (view,) = await journal.payments(request_id(1), "T-2")
    assert view.stored.key == key(1, "T-2")


async def test_the_same_id_with_another_fingerprint_changes_nothing(journal: Journal) -> None:
    await journal.commit([claim(1), not_sent(ONE)])
    before = await stored(journal)
    (result,) = await journal.commit([claim(1, ordinal=1, amount_minor=9999)])
    assert result == before == await stored(journal)


async def test_what_was_not_sent_is_claimed_again_under_its_next_ordinal(
    journal: Journal,
) -> None:
    await journal.commit([claim(1), not_sent(ONE)])
    assert (await stored(journal)).state is PaymentState.NOT_SENT
    assert await journal.commit([claim(1, ordinal=1)]) == [Claimed()]
    payment = await stored(journal)
    assert payment.state is PaymentState.RUNNING
    assert [(a.ordinal, a.state) for a in payment.attempts] == [
        (0, AttemptState.NOT_SENT),
        (1, AttemptState.INTENDED),
    ]
    assert payment.attempts[1].reference == reference_of(ONE, 1)
    (view,) = await journal.payments(ONE.request_id)
    assert (view.configuration_version, view.concluded_ms) == ("configuration-1", None)
    await journal.commit([approved(ONE, ordinal=1)])
    answer = (await stored(journal)).answer
    assert answer is not None
    assert answer.approved


@pytest.mark.parametrize("ordinal", [0, 2])
async def test_what_was_not_sent_is_not_claimed_under_any_other_ordinal(
    journal: Journal, ordinal: int
) -> None:
    await journal.commit([claim(1), not_sent(ONE)])
    (result,) = await journal.commit([claim(1, ordinal=ordinal)])
    assert result == await stored(journal)
    assert len((await stored(journal)).attempts) == 1


async def test_of_two_further_claims_in_one_transaction_the_first_wins(journal: Journal) -> None:
    await journal.commit([claim(1), not_sent(ONE)])
    first, second = await journal.commit([claim(1, ordinal=1), claim(1, ordinal=1)])
    assert first == Claimed()
    assert isinstance(second, StoredPayment)
    assert second.state is PaymentState.RUNNING


async def test_records_of_one_call_are_written_in_their_order(journal: Journal) -> None:
    results = await journal.commit(
        [claim(1), not_sent(ONE), claim(1, ordinal=1), approved(ONE, ordinal=1), claim(2)]
    )
    assert results == [Claimed(), None, Claimed(), None, Claimed()]
    assert (await stored(journal)).state is PaymentState.CONCLUDED


async def test_no_records_are_written_at_once(journal: Journal) -> None:
    assert await journal.commit([]) == []


# --- conclusions -------------------------------------------------------------------------------


async def test_a_conclusion_is_what_every_later_reader_is_told(journal: Journal) -> None:
    await journal.commit([claim(1)])
    assert await journal.commit([approved(ONE)]) == [None]
    payment = await stored(journal)
    assert payment.state is PaymentState.CONCLUDED
    assert payment.answer == replace(approval(), replayed=True, processing_s=None)
    (attempt,) = payment.attempts
    assert (attempt.state, attempt.node_answer_code) == (AttemptState.APPROVED, "00")
    assert attempt.approved_amount_minor == 1000


async def test_a_part_may_be_approved(journal: Journal) -> None:
    await journal.commit([claim(1), approved(ONE, amount_minor=600)])
    payment = await stored(journal)
    assert payment.answer is not None
    assert payment.answer.approved_amount == Money(600, "EUR")
    assert payment.amount == Money(1000, "EUR")
    assert payment.attempts[0].approved_amount_minor == 600


async def test_doubt_given_up_and_its_reversal_are_one_commit(journal: Journal) -> None:
    await journal.commit([claim(1)])
    await journal.commit([given_up(ONE)])
    payment = await stored(journal)
    assert payment.answer is not None
    assert payment.answer.response_code == "91"
    assert payment.answer.reversal is ReversalStatus.OWED
    assert payment.answer.reversed_amount == NOTHING
    assert payment.attempts[0].state is AttemptState.OWED
    assert payment.attempts[0].doubted
    assert await journal.owed() == [owed(ONE)]


@pytest.mark.parametrize(
    "conclusion",
    [
        approved(key(2)),
        approved(ONE, ordinal=1),
        replace(approved(ONE), answer=replace(approval(), approved_amount=Money(1000, "USD"))),
        replace(approved(ONE), state=AttemptState.SENT),
    ],
    ids=["unknown payment", "unknown attempt", "another currency", "a state that ends nothing"],
)
async def test_a_conclusion_that_does_not_fit_is_a_fault(
    journal: Journal, conclusion: Record
) -> None:
    await journal.commit([claim(1)])
    with pytest.raises(AssertionError):
        await journal.commit([conclusion])
    assert (await stored(journal)).state is PaymentState.RUNNING
    assert await journal.commit([approved(ONE)]) == [None]


async def test_nothing_is_concluded_twice(journal: Journal) -> None:
    await journal.commit([claim(1), approved(ONE)])
    with pytest.raises(AssertionError):
        await journal.commit([declined(ONE)])
    with pytest.raises(AssertionError):
        await journal.commit([claim(2), approved(key(2)), declined(key(2))])
    assert (await journal.find([key(2)])) == [None]
    answer = (await stored(journal)).answer
    assert answer is not None
    assert answer.approved


async def test_a_faulty_call_is_undone_whole_and_its_neighbours_are_written(
    journal: Journal,
) -> None:
    results = await asyncio.gather(
        journal.commit([claim(1), claim(2)]),
        journal.commit([claim(3), approved(key(9))]),
        journal.commit([claim(4), approved(key(4))]),
        return_exceptions=True,
    )
    assert results[0] == [Claimed(), Claimed()]
    assert isinstance(results[1], AssertionError)
    assert results[2] == [Claimed(), None]
    found = await journal.find([key(number) for number in (1, 2, 3, 4)])
    assert [payment is not None for payment in found] == [True, True, False, True]
    assert journal.state is JournalState.OPEN


# --- further attempts --------------------------------------------------------------------------


async def test_a_further_attempt_closes_the_one_before(journal: Journal) -> None:
    await journal.commit([claim(1)])
    await journal.commit([next_attempt(ONE)])
    first, second = (await stored(journal)).attempts
    assert (first.state, first.node_answer_code) == (AttemptState.FAILED, "92")
    assert (second.ordinal, second.state) == (1, AttemptState.INTENDED)
    assert (second.ledger, second.processor) == ("zenith-ledger", "zenith")
    assert second.reference == reference_of(ONE, 1)
    await journal.commit([approved(ONE, ordinal=1)])
    first, second = (await stored(journal)).attempts
    assert (first.state, first.approved_amount_minor) == (AttemptState.FAILED, 0)
    assert (second.state, second.approved_amount_minor) == (AttemptState.APPROVED, 1000)


@pytest.mark.parametrize(
    "records",
    [
        [next_attempt(ONE)],
        [claim(1), next_attempt(ONE, ordinal=2)],
        [claim(1), approved(ONE), next_attempt(ONE)],
        [claim(1), replace(next_attempt(ONE), ordinal=0)],
        [claim(1), next_attempt(ONE), next_attempt(ONE)],
    ],
    ids=["unknown payment", "unknown attempt", "concluded", "no further ordinal", "closed before"],
)
async def test_a_further_attempt_that_does_not_fit_is_a_fault(
    journal: Journal, records: list[Record]
) -> None:
    with pytest.raises(AssertionError):
        await journal.commit(records)
    assert await journal.find([ONE]) == [None]


async def test_only_the_last_attempt_is_concluded(journal: Journal) -> None:
    await journal.commit([claim(1), next_attempt(ONE)])
    with pytest.raises(AssertionError):
        await journal.commit([approved(ONE, ordinal=0)])


async def test_a_repeat_puts_the_attempt_in_doubt(journal: Journal) -> None:
    await journal.commit([claim(1)])
    await journal.commit([repeat(ONE)])
    (attempt,) = (await stored(journal)).attempts
    assert attempt.state is AttemptState.REPEATING
    assert attempt.doubted
    await journal.commit([approved(ONE)])
    (attempt,) = (await stored(journal)).attempts
    assert attempt.state is AttemptState.APPROVED
    assert attempt.doubted, "it was in doubt at some time"


@pytest.mark.parametrize(
    "records",
    [[repeat(ONE)], [claim(1), repeat(ONE, ordinal=1)], [claim(1), approved(ONE), repeat(ONE)]],
    ids=["unknown payment", "unknown attempt", "concluded"],
)
async def test_a_repeat_that_does_not_fit_is_a_fault(
    journal: Journal, records: list[Record]
) -> None:
    with pytest.raises(AssertionError):
        await journal.commit(records)


async def test_an_attempt_is_found_by_its_reference_once_it_was_in_doubt(
    journal: Journal,
) -> None:
    two = key(2)
    await journal.commit([claim(1), claim(2)])
    assert await journal.find_reference(reference_of(ONE, 0)) is None
    await journal.commit([given_up(ONE), repeat(two), next_attempt(two)])
    found = await journal.find_reference(reference_of(ONE, 0))
    assert found == (ONE, (await stored(journal)).attempts[0])
    earlier = await journal.find_reference(reference_of(two, 0))
    assert earlier == (two, (await stored(journal, two)).attempts[0])
    assert await journal.find_reference(reference_of(two, 1)) is None
    assert await journal.find_reference(bytes(16)) is None


# --- late answers ------------------------------------------------------------------------------


async def test_a_late_answer_keeps_the_reversal_and_gives_it_its_reason(
    journal: Journal,
) -> None:
    await journal.commit([claim(1), given_up(ONE)])
    before = await stored(journal)
    await journal.commit([late(ONE)])
    assert await stored(journal) == before
    assert await journal.owed() == [owed(ONE, reason=ReversalReason.LATE)]


async def test_a_late_answer_leaves_the_reason_of_a_reversal_that_was_sent(
    journal: Journal,
) -> None:
    await journal.commit([claim(1), given_up(ONE), sent(owed(ONE))])
    await journal.commit([late(ONE)])
    assert await journal.owed() == [owed(ONE, sends=1)]


async def test_a_late_answer_leaves_the_reason_the_terminal_gave(journal: Journal) -> None:
    cancelled = owed(ONE, reason=ReversalReason.CANCELLED)
    await journal.commit([claim(1), approved(ONE), reversal(7, cancelled)])
    await journal.commit([late(ONE)])
    assert await journal.owed() == [cancelled]


async def test_a_late_answer_that_proves_money_taken_is_owed_back(journal: Journal) -> None:
    await journal.commit([claim(1), next_attempt(ONE), approved(ONE, ordinal=1)])
    taken = owed(ONE, reason=ReversalReason.LATE)
    await journal.commit([late(ONE, contradicts=True, owed=taken)])
    payment = await stored(journal)
    assert [a.state for a in payment.attempts] == [AttemptState.OWED, AttemptState.APPROVED]
    assert payment.attempts[0].doubted
    assert payment.answer is not None
    assert payment.answer.reversal is ReversalStatus.NONE, "what was approved is not reversed"
    assert payment.answer.reversed_amount == NOTHING
    assert await journal.owed() == [taken]
    await journal.commit([acknowledged(taken)])
    payment = await stored(journal)
    assert [a.state for a in payment.attempts] == [AttemptState.REVERSED, AttemptState.APPROVED]


async def test_a_late_answer_to_an_unknown_attempt_is_a_fault(journal: Journal) -> None:
    await journal.commit([claim(1)])
    for record in (late(key(2)), late(ONE, ordinal=1)):
        with pytest.raises(AssertionError):
            await journal.commit([record])


# --- reversals the switch owes -----------------------------------------------------------------


async def test_an_acknowledged_reversal_is_owed_no_more(journal: Journal) -> None:
    await journal.commit([claim(1), given_up(ONE)])
    await journal.commit([sent(owed(ONE)), sent(owed(ONE))])
    assert await journal.owed() == [owed(ONE, sends=2)]
    await journal.commit([acknowledged(owed(ONE))])
    assert await journal.owed() == []
    payment = await stored(journal)
    assert payment.attempts[0].state is AttemptState.REVERSED
    assert payment.answer is not None
    assert payment.answer.response_code == "91"
    assert payment.answer.reversal is ReversalStatus.ACKNOWLEDGED
    assert payment.answer.reversed_amount == NOTHING


async def test_a_second_acknowledgement_changes_nothing(journal: Journal) -> None:
    await journal.commit([claim(1), given_up(ONE), acknowledged(owed(ONE))])
    before = await journal.timeline(ONE)
    await journal.commit(
        [
            acknowledged(owed(ONE), at_ms=START_MS + 9000),
            sent(owed(ONE)),
            ReversalParked(owed(ONE).reversal_reference, "why", START_MS),
            acknowledged(owed(key(2))),
        ]
    )
    assert await journal.timeline(ONE) == before


async def test_reversals_are_owed_oldest_first(journal: Journal) -> None:
    ages = {1: 300, 2: 100, 3: 200, 4: 100}
    for number, age in ages.items():
        name = key(number)
        aged = replace(given_up(name), owed=owed(name, owed_at_ms=START_MS + age))
        await journal.commit([claim(number), aged])
    assert [o.key for o in await journal.owed()] == [key(2), key(4), key(3), key(1)]


async def test_a_parked_reversal_is_still_owed(journal: Journal) -> None:
    await journal.commit([claim(1), given_up(ONE)])
    await journal.commit(
        [ReversalParked(owed(ONE).reversal_reference, "malformed", START_MS + 800)]
    )
    assert await journal.owed() == [owed(ONE, parked="malformed")]
    counts = await journal.counts()
    assert (counts.owed, counts.parked) == (1, 1)


async def test_what_is_owed_twice_is_owed_once(journal: Journal) -> None:
    void = replace(
        reversal(7, owed(ONE, reason=ReversalReason.CANCELLED)), attempt_state=AttemptState.OWED
    )
    await journal.commit([claim(1)])
    await journal.commit([void])
    await journal.commit([given_up(ONE)])
    assert await journal.owed() == [owed(ONE, reason=ReversalReason.CANCELLED)]


async def test_the_reversal_wins_over_an_approval_that_comes_after_it(journal: Journal) -> None:
    await journal.commit([claim(1), reversal(7, owed(ONE))])
    await journal.commit([approved(ONE)])
    assert (await stored(journal)).attempts[0].state is AttemptState.OWED
    two = key(2)
    await journal.commit([claim(2), reversal(8, owed(two)), acknowledged(owed(two))])
    await journal.commit([given_up(two)])
    assert (await stored(journal, two)).attempts[0].state is AttemptState.REVERSED


# --- reversals a terminal asks for -------------------------------------------------------------


async def test_a_full_reversal_reverses_what_was_approved(journal: Journal) -> None:
    await journal.commit([claim(1), approved(ONE, amount_minor=600)])
    # The amount of a full reversal is only informative: all that was approved is reversed.
    wished = reversal(7, owed(ONE, amount=Money(1000, "EUR"), reason=ReversalReason.CANCELLED))
    assert await journal.commit([wished]) == [None]
    payment = await stored(journal)
    assert payment.attempts[0].state is AttemptState.OWED
    assert payment.answer is not None
    assert payment.answer.approved, "the answer given stays"
    assert payment.answer.reversal is ReversalStatus.OWED
    assert payment.answer.reversed_amount == Money(600, "EUR")
    assert await journal.find_reversal(key(7)) == (
        ONE,
        ReversalAnswer(ReversalStatus.OWED, Money(600, "EUR"), replayed=True, original_known=True),
    )
    await journal.commit([acknowledged(owed(ONE))])
    found = await journal.find_reversal(key(7))
    assert found is not None
    assert found[1].reversal is ReversalStatus.ACKNOWLEDGED


async def test_parts_are_reversed_one_by_one(journal: Journal) -> None:
    first, second = part(ONE, 300, wish=7), part(ONE, 200, wish=8)
    await journal.commit([claim(1), approved(ONE)])
    await journal.commit([reversal(7, first, 300)])
    await journal.commit([reversal(8, second, 200)])
    payment = await stored(journal)
    assert payment.attempts[0].state is AttemptState.APPROVED
    assert payment.answer is not None
    assert payment.answer.reversed_amount == Money(500, "EUR")
    await journal.commit([acknowledged(first)])
    payment = await stored(journal)
    assert payment.answer is not None
    assert payment.answer.reversal is ReversalStatus.OWED, "something of it is still owed"
    await journal.commit([acknowledged(second)])
    payment = await stored(journal)
    assert payment.attempts[0].state is AttemptState.APPROVED
    assert payment.answer is not None
    assert payment.answer.reversal is ReversalStatus.ACKNOWLEDGED
    assert payment.answer.reversed_amount == Money(500, "EUR")


async def test_a_wish_is_remembered_under_its_own_id(journal: Journal) -> None:
    await journal.commit([claim(1), approved(ONE), reversal(7, part(ONE, 300, wish=7), 300)])
    assert await journal.commit([reversal(7, part(ONE, 999, wish=7), 999)]) == [None]
    payment = await stored(journal)
    assert payment.answer is not None
    assert payment.answer.reversed_amount == Money(300, "EUR")
    assert await journal.find_reversal(key(8)) is None


async def test_a_wish_for_a_declined_payment_is_remembered_too(journal: Journal) -> None:
    answer = ReversalAnswer(ReversalStatus.NONE, NOTHING, replayed=False, original_known=True)
    await journal.commit([claim(1), declined(ONE)])
    await journal.commit([ReversalClaim(wish(7, ONE), False, None, None, answer, at_ms=START_MS)])
    assert await journal.find_reversal(key(7)) == (ONE, replace(answer, replayed=True))
    assert await journal.owed() == []


async def test_a_wish_for_a_payment_nobody_knows_is_a_fault_without_its_tombstone(
    journal: Journal,
) -> None:
    with pytest.raises(AssertionError):
        await journal.commit([reversal(7, owed(ONE))])
    assert await journal.find_reversal(key(7)) is None


async def test_a_payment_reversed_in_advance_is_never_claimed(journal: Journal) -> None:
    assert await journal.commit([in_advance(7, ONE)]) == [None]
    (result,) = await journal.commit([claim(1)])
    assert isinstance(result, StoredPayment)
    assert result.state is PaymentState.REVERSED_IN_ADVANCE
    assert (result.fingerprint, result.answer, result.attempts) == (b"", None, [])
    assert result == await stored(journal)
    assert await journal.find_reversal(key(7)) == (
        ONE,
        ReversalAnswer(ReversalStatus.NONE, None, replayed=True, original_known=False),
    )
    assert await events(journal) == ["reversal_asked"]


async def test_a_payment_not_sent_is_reversed_in_advance_too(journal: Journal) -> None:
    await journal.commit([claim(1), not_sent(ONE)])
    assert await journal.commit([in_advance(7, ONE)]) == [None]
    (result,) = await journal.commit([claim(1, ordinal=1)])
    assert isinstance(result, StoredPayment)
    assert result.state is PaymentState.REVERSED_IN_ADVANCE


@pytest.mark.parametrize(
    "records", [[], [approved(ONE)], [given_up(ONE)]], ids=["running", "approved", "in doubt"]
)
async def test_a_tombstone_never_covers_a_payment_that_is_there(
    journal: Journal, records: list[Record]
) -> None:
    await journal.commit([claim(1), *records])
    before = await stored(journal)
    assert await journal.commit([in_advance(7, ONE)]) == [before]
    assert await stored(journal) == before
    assert await journal.find_reversal(key(7)) is None


async def test_the_second_tombstone_finds_the_first(journal: Journal) -> None:
    await journal.commit([in_advance(7, ONE)])
    assert await journal.commit([in_advance(8, ONE)]) == [await stored(journal)]
    assert await journal.find_reversal(key(8)) is None
    again = replace(in_advance(8, ONE), tombstone=False)
    assert await journal.commit([again]) == [None]
    assert await journal.find_reversal(key(8)) is not None


async def test_a_claim_and_a_tombstone_in_one_transaction_go_by_their_order(
    journal: Journal,
) -> None:
    claimed, in_the_way = await journal.commit([claim(1), in_advance(7, ONE)])
    assert claimed == Claimed()
    assert isinstance(in_the_way, StoredPayment)
    none, tombstone = await journal.commit([in_advance(8, key(2)), claim(2)])
    assert none is None
    assert isinstance(tombstone, StoredPayment)


# --- durability and recovery -------------------------------------------------------------------


async def test_what_was_committed_is_there_in_the_next_epoch(store: Store) -> None:
    journal = await store.open()
    assert journal.epoch == 1
    await journal.commit(
        [claim(1), approved(ONE), claim(2), given_up(key(2)), in_advance(7, key(3))]
    )
    before = await journal.find([ONE, key(2), key(3)])
    journal = await store.reopen(journal)
    assert journal.epoch == 2
    assert await journal.find([ONE, key(2), key(3)]) == before
    assert await journal.owed() == [owed(key(2))]
    assert await journal.find_reversal(key(7)) is not None


async def test_another_switchs_journal_is_refused(store: Store) -> None:
    journal = await store.open()
    await journal.close()
    with pytest.raises(JournalUnusable, match="switch 'switch-1'"):
        await store.open("switch-2")
    assert (await store.open()).epoch == 2, "the refused one began no epoch"


async def test_recovery_concludes_what_ran_and_owes_what_may_have_been_taken(
    store: Store,
) -> None:
    journal = await store.open()
    two, three, four, five = key(2), key(3), key(4), key(5)
    await journal.commit([claim(number) for number in (1, 2, 3, 4, 5, 6)])
    await journal.commit([repeat(two), next_attempt(three), approved(four), not_sent(five)])
    journal = await store.reopen(journal)
    recovery = await journal.recover(START_MS + 5000)
    assert (recovery.concluded, recovery.owed) == (4, 4)
    for name, ordinal in ((ONE, 0), (two, 0), (three, 1), (key(6), 0)):
        payment = await stored(journal, name)
        assert payment.state is PaymentState.CONCLUDED
        assert payment.attempts[-1].state is AttemptState.OWED
        assert payment.attempts[-1].doubted
        assert payment.answer is not None
        assert not payment.answer.approved
        assert payment.answer.response_code == "91"
        assert payment.answer.reversal is ReversalStatus.OWED
        assert await journal.find_reference(reference_of(name, ordinal)) is not None
    assert (await stored(journal, three)).attempts[0].state is AttemptState.FAILED
    assert (await stored(journal, four)).state is PaymentState.CONCLUDED
    assert (await stored(journal, five)).state is PaymentState.NOT_SENT
    assert await journal.owed() == [
        owed(ONE, owed_at_ms=START_MS + 5000),
        owed(two, owed_at_ms=START_MS + 5000),
        owed(three, 1, ledger="zenith-ledger", owed_at_ms=START_MS + 5000),
        owed(key(6), owed_at_ms=START_MS + 5000),
    ]
    assert (await events(journal, two))[-1] == "reversal_owed"


async def test_recovery_is_one_commit_and_has_nothing_to_do_twice(store: Store) -> None:
    journal = await store.open()
    await journal.commit([claim(number) for number in range(100)])
    journal = await store.reopen(journal)
    before = journal.commits
    await journal.recover(START_MS)
    assert journal.commits == before + 1
    assert (await journal.recover(START_MS + 1)).concluded == 0
    assert len(await journal.owed()) == 100


async def test_recovery_concludes_a_payment_its_terminal_had_reversed_meanwhile(
    store: Store,
) -> None:
    journal = await store.open()
    await journal.commit([claim(1), reversal(7, owed(ONE, reason=ReversalReason.CANCELLED))])
    journal = await store.reopen(journal)
    recovery = await journal.recover(START_MS + 5000)
    assert (recovery.concluded, recovery.owed) == (1, 0)
    payment = await stored(journal)
    assert payment.state is PaymentState.CONCLUDED
    assert payment.answer is not None
    assert payment.answer.reversal is ReversalStatus.OWED
    assert await journal.owed() == [owed(ONE, reason=ReversalReason.CANCELLED)]


# --- commits -------------------------------------------------------------------------------------


async def test_calls_that_wait_at_the_same_time_share_transactions(journal: Journal) -> None:
    before = journal.commits
    results = await asyncio.gather(*(journal.commit([claim(number)]) for number in range(128)))
    assert results == 128 * [[Claimed()]]
    # One that is in flight when the others come and one for those; more on a busy machine.
    assert journal.commits - before <= 12


async def test_a_caller_that_goes_away_does_not_undo_its_commit(journal: Journal) -> None:
    gone = asyncio.ensure_future(journal.commit([claim(1)]))
    stays = asyncio.ensure_future(journal.commit([claim(2)]))
    await asyncio.sleep(0)
    gone.cancel()
    assert await stays == [Claimed()]
    assert gone.cancelled()
    assert await journal.commit([approved(ONE)]) == [None]


async def test_a_commit_is_read_by_whoever_reads_after_it(journal: Journal) -> None:
    for number in range(50):
        await journal.commit([claim(number)])
        assert await journal.find([key(number)]) != [None]


async def test_an_error_of_the_disk_puts_the_batch_in_doubt_and_stops_the_journal(
    store: Store,
) -> None:
    journal = await store.open()
    await journal.commit([claim(1)])
    store.break_disk()
    results = await asyncio.gather(
        journal.commit([claim(2)]), journal.commit([claim(3)]), return_exceptions=True
    )
    assert [type(result) for result in results] in (
        [JournalInDoubt, JournalInDoubt],
        # The first had its own transaction, and the second was not begun any more.
        [JournalInDoubt, JournalUnavailable],
    )
    assert journal.state is JournalState.STOPPED
    assert journal.stopped_because
    with pytest.raises(JournalUnavailable):
        await journal.commit([claim(4)])
    with pytest.raises(JournalUnavailable):
        await journal.find([ONE])
    with pytest.raises(JournalUnavailable):
        await journal.recover(START_MS)


async def test_a_closed_journal_takes_nothing(store: Store) -> None:
    journal = await store.open()
    waiting = asyncio.ensure_future(journal.commit([claim(1)]))
    await asyncio.sleep(0)
    await journal.close()
    assert await waiting == [Claimed()], "what waited is written"
    assert journal.state is JournalState.CLOSED
    with pytest.raises(JournalUnavailable):
        await journal.commit([claim(2)])
    with pytest.raises(JournalUnavailable):
        await journal.find([ONE])
    await journal.close()


# --- what people read ----------------------------------------------------------------------------


async def test_the_timeline_tells_the_whole_story(journal: Journal) -> None:
    await journal.commit([claim(1)])
    await journal.commit([next_attempt(ONE)])
    await journal.commit([repeat(ONE, ordinal=1, node="zenith-2")])
    await journal.commit([given_up(ONE, ordinal=1)])
    await journal.commit([sent(owed(ONE, 1), START_MS + 600), sent(owed(ONE, 1), START_MS + 650)])
    await journal.commit([acknowledged(owed(ONE, 1))])
    await journal.commit([late(ONE, 1)])
    assert [(e.at_ms - START_MS, e.event, e.detail) for e in await journal.timeline(ONE)] == [
        (1, "claimed", "10.00 EUR"),
        (1, "attempt_opened", "attempt 0: acme-ledger by acme-1"),
        (101, "attempt_closed", "attempt 0: 92"),
        (101, "attempt_opened", "attempt 1: zenith-ledger by zenith-1"),
        (150, "in_doubt", "attempt 1: stalled, repeat to zenith-2"),
        (200, "attempt_closed", "attempt 1: expired"),
        (200, "concluded", "declined, 91"),
        (500, "reversal_owed", "attempt 1: whatever was approved, reason 4021"),
        (600, "reversal_first_sent", "attempt 1: 2 times so far"),
        (700, "reversal_acknowledged", "attempt 1: 00 by acme-2"),
        (900, "late_answer", "attempt 1: 00 by acme-1, 700 ms late"),
    ]


async def test_an_operator_sees_all_of_a_payment_and_no_envelope(journal: Journal) -> None:
    await journal.commit([claim(1), approved(ONE)])
    (view,) = await journal.payments(ONE.request_id)
    asked = request(1)
    assert view.stored.timeline == await journal.timeline(ONE)
    assert replace(view.stored, timeline=[]) == await stored(journal)
    assert (view.kind, view.bin, view.last_four) == (asked.kind, asked.bin, asked.last_four)
    assert (view.merchant_id, view.country) == (asked.merchant_id, asked.country)
    assert view.merchant_category_code == asked.merchant_category_code
    assert (view.entry_mode, view.accepts_partial) == (asked.entry_mode, asked.accepts_partial)
    assert view.configuration_version == "configuration-0"
    assert view.terminal_time_ms == asked.terminal_time_ms
    assert (view.claimed_ms, view.concluded_ms) == (START_MS + 1, START_MS + 200)
    assert "sealed" not in repr(view)


async def test_what_is_open_is_counted(journal: Journal) -> None:
    assert tuple(await journal.counts()) == (0, 0, 0, None, 0)
    await journal.commit([claim(1), claim(2), claim(3), given_up(ONE)])
    assert tuple(await journal.counts()) == (2, 1, 0, START_MS + 500, 0)


# --- operators' orders and the audit chain ----------------------------------------------------


def order(*nodes: str, intent: int = 2, **expected: int) -> IntentOrder:
    """Order nodes drained."""
    return IntentOrder(
        nodes=nodes,
        intent=intent,
        actor="anna",
        authenticated=True,
        reason="maintenance",
        at_ms=START_MS,
        expires_ms=START_MS + 60_000,
        expected=tuple(expected.items()),
        origin="10.0.0.7",
    )


async def test_an_order_and_its_record_are_one_commit(store: Store) -> None:
    journal = await store.open()
    result = await journal.set_intent(order("b", "a"))
    assert result.obeyed
    assert [(i.node, i.intent, i.version) for i in result.intents] == [("b", 2, 1), ("a", 2, 1)]
    journal = await store.reopen(journal)
    assert [i.node for i in await journal.intents()] == ["a", "b"]
    assert {*await journal.intents()} == {*result.intents}
    assert await journal.audit(1, 10) == [result.audit]
    assert result.audit.number == 1
    assert result.audit.entry.subject == "b,a"
    assert '"reason":"maintenance"' in result.audit.entry.detail_json


async def test_of_two_orders_for_one_version_the_second_is_refused_and_audited(
    journal: Journal,
) -> None:
    first, second = await asyncio.gather(
        journal.set_intent(order("a", a=0)), journal.set_intent(order("a", "b", intent=3, a=0))
    )
    assert (first.obeyed, second.obeyed) == (True, False)
    assert await journal.intents() == list(first.intents) == list(second.intents)
    assert await journal.audit(0, 10) == [first.audit, second.audit]
    assert (await journal.set_intent(order("a", a=1))).intents[0].version == 2


async def test_the_audit_chain_is_gap_free_whoever_appends(store: Store) -> None:
    journal = await store.open()
    entry = (await journal.set_intent(order("a"))).audit.entry
    faulty = journal.commit([approved(ONE)])
    results = await asyncio.gather(
        *(journal.audit_append(entry) for _ in range(10)),
        faulty,
        *(journal.audit_append(entry) for _ in range(10)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, AssertionError) for result in results) == 1
    journal = await store.reopen(journal)
    await journal.audit_append(entry)
    records = await journal.audit(1, 100)
    assert [record.number for record in records] == list(range(1, 23))
    assert await journal.audit(5, 3) == records[4:7]
    verdict = await journal.verify_audit()
    assert (verdict.length, verdict.broken_at) == (22, None)
    assert verdict.head == records[-1].hash
    assert (await journal.counts()).audit_number == 22


async def test_an_empty_audit_chain_is_in_order(journal: Journal) -> None:
    assert await journal.audit(1, 10) == []
    assert (await journal.verify_audit()).broken_at is None
