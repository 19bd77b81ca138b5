"""Terminals' reversals, and the store-and-forward of what is owed."""

from __future__ import annotations

import asyncio

from switch.core.backlog import BacklogSettings
from switch.core.message import (
    Answer,
    Conclusion,
    Disposition,
    Refused,
    Reversal,
    ReversalAcknowledged,
    ReversalAnswer,
    ReversalClaim,
    ReversalParked,
    ReversalReason,
    ReversalSent,
    ReversalStatus,
)
from switch.core.sending import Sending
from switch.core.transaction import AttemptState
from switch.testing import node_answer, run_virtual
from tests.flow.test_flow import approved, in_loop, refused
from tests.flow.world import World, payment, reversal_of, separate, shared


async def reverse(w: World, *args: object, **named: object) -> ReversalAnswer:
    answer = await w.reversals.reverse(reversal_of(*args, **named))  # type: ignore[arg-type]  # as reversal_of takes them
    assert isinstance(answer, ReversalAnswer), answer
    return answer


# --- the terminal's reversal --------------------------------------------------------------------


def test_an_approved_payment_is_reversed_and_acknowledged() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1")
        await w.ask(payment())
        answer = await reverse(w, payment())
        assert answer.reversal is ReversalStatus.OWED
        assert answer.reversed_amount == (1250, "EUR")
        await asyncio.sleep(0.1)
        replayed = await w.ask(payment())
        assert isinstance(replayed, Answer)
        assert replayed.approved, "the answer to the payment is equal for ever"
        assert replayed.reversal is ReversalStatus.ACKNOWLEDGED
        assert replayed.reversed_amount == (1250, "EUR")
        assert len(w.reversals_sent()) == 1

    in_loop(shared, story)


def test_a_reversal_repeated_under_its_id_is_answered_as_before() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1")
        await w.ask(payment())
        await reverse(w, payment(), 9)
        await asyncio.sleep(0.1)
        again = await reverse(w, payment(), 9)
        assert again.replayed
        assert again.reversal is ReversalStatus.ACKNOWLEDGED
        assert len(w.reversals_sent()) == 1

    in_loop(shared, story)


def test_a_second_reversal_of_all_is_success_and_sends_nothing_more() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1")
        await w.ask(payment())
        await reverse(w, payment(), 9)
        await asyncio.sleep(0.1)
        answer = await reverse(w, payment(), 10)
        assert answer.reversed_amount == (1250, "EUR")
        assert len(w.reversals_sent()) == 1

    in_loop(shared, story)


def test_the_sum_of_partial_reversals_is_at_most_what_was_approved() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1")
        await w.ask(payment(minor=1000))
        first = await reverse(w, payment(minor=1000), 9, minor=400)
        assert first.reversed_amount == (400, "EUR")
        too_much = await w.reversals.reverse(reversal_of(payment(minor=1000), 10, minor=601))
        assert isinstance(too_much, Refused)
        assert too_much.reason == "REVERSAL_EXCEEDS_APPROVAL"
        rest = await reverse(w, payment(minor=1000), 11)
        assert rest.reversed_amount == (1000, "EUR")
        await asyncio.sleep(0.2)
        sent = w.reversals_sent()
        assert [(r.full, r.amount.amount_minor) for r in sent] == [(False, 400), (False, 600)]
        assert len({r.reversal_reference for r in sent}) == 2

    in_loop(shared, story)


def test_an_unknown_payment_is_remembered_as_reversed_and_declined_when_it_comes() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1")
        answer = await reverse(w, payment())
        assert not answer.original_known
        assert answer.reversal is ReversalStatus.NONE
        verdict = await w.ask(payment())
        assert isinstance(verdict, Answer)
        assert (verdict.approved, verdict.response_code) == (False, "17")
        assert not w.authorizations()

    in_loop(shared, story)


def test_a_payment_in_flight_is_declined_and_whatever_arrives_is_reversed() -> None:
    async def story(w: World) -> None:
        held: list[Sending] = []
        w.node_does("a1", held.append)
        w.send(payment())
        await asyncio.sleep(0.05)
        answer = await reverse(w, payment())
        assert answer.reversal is ReversalStatus.OWED
        (verdict,) = w.verdicts()
        assert isinstance(verdict, Answer)
        assert (verdict.approved, verdict.response_code) == (False, "17")
        w.answer(held[0], node_answer(held[0]))
        w.node_answers("a1")
        await asyncio.sleep(2)
        again = await w.ask(payment())
        assert isinstance(again, Answer)
        assert not again.approved
        assert again.reversal is ReversalStatus.ACKNOWLEDGED
        (claim,) = w.journal.of(ReversalClaim)
        (ended,) = w.journal.of(Conclusion)
        assert ended.owed is not None
        assert claim.owed is None

    in_loop(shared, story)


def test_a_payment_that_has_not_left_yet_is_cancelled() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1")
        w.send(payment())
        answer = await reverse(w, payment())
        assert answer.reversal is ReversalStatus.NONE
        (verdict,) = w.verdicts()
        assert isinstance(verdict, Answer)
        assert verdict.response_code == "17"
        assert not w.authorizations()
        (ended,) = w.journal.of(Conclusion)
        assert ended.state is AttemptState.NOT_SENT
        assert w.routing.nodes["a1"].in_flight == 0

    in_loop(shared, story)


def test_a_declined_payment_has_nothing_to_reverse() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1", "05")
        await w.ask(payment())
        answer = await reverse(w, payment())
        assert answer.reversal is ReversalStatus.NONE
        assert not w.reversals_sent()

    in_loop(shared, story)


def test_an_authorize_that_comes_while_its_reversal_is_decided_waits_for_it() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1")
        async with asyncio.TaskGroup() as group:
            group.create_task(w.reversals.reverse(reversal_of(payment())))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            w.send(payment())
        await asyncio.sleep(0.1)
        (verdict,) = w.verdicts()
        assert not approved(verdict)
        assert not w.authorizations()

    in_loop(shared, story)


def test_one_reversal_id_names_one_reversal() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1")
        await w.ask(payment(1))
        await w.ask(payment(2))
        await reverse(w, payment(1), 9)
        other = await w.reversals.reverse(reversal_of(payment(2), 9))
        assert isinstance(other, Refused)
        assert other.reason == "REQUEST_ID_REUSED"

    in_loop(shared, story)


def test_one_reversal_id_names_one_reversal_even_before_it_is_durable() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1")
        await w.ask(payment(2))
        w.node_does("a1", lambda _: None)
        w.send(payment(1))
        await asyncio.sleep(0.01)
        w.node_answers("a1")
        first, second, again = await asyncio.gather(
            w.reversals.reverse(reversal_of(payment(1), 9)),
            w.reversals.reverse(reversal_of(payment(2), 9)),
            w.reversals.reverse(reversal_of(payment(1), 9)),
        )
        assert isinstance(first, ReversalAnswer)
        assert refused(second) == "REQUEST_ID_REUSED"  # type: ignore[arg-type]  # a refusal
        assert isinstance(again, ReversalAnswer)
        assert again.replayed
        await asyncio.sleep(1)
        untouched = await w.ask(payment(2))
        assert isinstance(untouched, Answer)
        assert untouched.reversal is ReversalStatus.NONE
        assert {r.reference for r in w.reversals_sent()} == {
            w.authorizations()[1].message.reference
        }

    in_loop(shared, story)


def test_a_hung_node_that_finds_the_payment_reversed_contradicts_nobody() -> None:
    async def story(w: World) -> None:
        w.node_answers("a2")
        assert approved(await w.ask(payment()))
        (hung,) = w.authorizations("a1")
        w.node_answers("a1")
        await reverse(w, payment())
        await asyncio.sleep(0.1)
        w.answer(hung, node_answer(hung, disposition=Disposition.ALREADY_REVERSED))
        await asyncio.sleep(0.1)
        assert w.counters.late_answers == 1
        assert w.counters.contradictions == 0
        assert not w.flow.late_answers.distrusted

    in_loop(shared, story)


# --- store and forward ----------------------------------------------------------------------------


def test_what_is_owed_is_sent_until_it_is_acknowledged_as_a_repeat_from_the_second_time() -> None:
    async def story(w: World) -> None:
        answered = 0

        def deaf(sending: Sending) -> None:
            nonlocal answered
            if isinstance(sending.message, Reversal):
                answered += 1
                if answered == 3:
                    w.answer(sending, node_answer(sending))

        w.node_does("a1", deaf)
        w.send(payment(timeout_s=1.0))
        await asyncio.sleep(60)
        assert [r.repeat for r in w.reversals_sent()] == [False, True, True]
        assert len({r.reversal_reference for r in w.reversals_sent()}) == 1
        assert len(w.journal.of(ReversalSent)) == 3
        assert len(w.journal.of(ReversalAcknowledged)) == 1
        assert not await w.journal.owed()

    in_loop(separate, story)


def test_a_reversal_waits_for_its_own_ledger_and_goes_when_it_is_back() -> None:
    async def story(w: World) -> None:
        w.node_answers("a2")
        w.send(payment())
        await asyncio.sleep(0.01)
        w.kill("a1")
        await asyncio.sleep(5)
        assert not w.reversals_sent(), "never to another ledger"
        w.node_answers("a1")
        w.revive("a1")
        await asyncio.sleep(3)
        assert len(w.reversals_sent()) == 1
        assert not await w.journal.owed()

    in_loop(separate, story)


def test_what_is_owed_survives_the_process_with_its_repeat_mark() -> None:
    async def story() -> None:
        before = separate()
        async with before.running():
            before.send(payment(timeout_s=1.0))
            await asyncio.sleep(3)
            assert len(before.reversals_sent()) >= 1
        after = separate(disk=before.disk)
        after.node_answers("a1")
        async with after.running():
            await asyncio.sleep(1)
            assert [r.repeat for r in after.reversals_sent()] == [True]
            assert (
                after.reversals_sent()[0].reversal_reference
                == before.reversals_sent()[0].reversal_reference
            )
            assert not await after.journal.owed()

    run_virtual(story())


def test_after_a_crash_open_references_are_owed_and_nothing_is_sent_again() -> None:
    async def story() -> None:
        before = shared()
        async with before.running():
            before.send(*(payment(n) for n in range(5)))
            await asyncio.sleep(0.05)
            assert len(before.authorizations()) == 5
        after = shared(disk=before.disk)
        after.node_answers("a1")
        async with after.running():
            for n in range(5):
                verdict = await after.ask(payment(n))
                assert isinstance(verdict, Answer)
                assert verdict.response_code == "91"
            await asyncio.sleep(1)
            assert not after.authorizations()
            assert len(after.reversals_sent()) == 5
            assert not await after.journal.owed()

    run_virtual(story())


def test_a_poisoned_reversal_is_parked_and_blocks_nobody() -> None:
    async def story(w: World) -> None:
        def poisoned(sending: Sending) -> None:
            if isinstance(sending.message, Reversal):
                first = sending.message.amount.amount_minor == 1
                said = Disposition.MALFORMED if first else Disposition.PROCESSED
                w.answer(sending, node_answer(sending, disposition=said))

        w.node_does("a1", poisoned)
        w.send(payment(1, minor=1, timeout_s=1.0), payment(2, minor=2, timeout_s=1.0))
        await asyncio.sleep(5)
        assert len(w.journal.of(ReversalParked)) == 1
        assert len(w.journal.of(ReversalAcknowledged)) == 1
        (parked,) = await w.journal.owed()
        assert parked.parked

    in_loop(separate, story)


def test_many_are_owed_and_few_are_under_way_at_once() -> None:
    async def story(w: World) -> None:
        under_way = peak = 0

        def slow(sending: Sending) -> None:
            nonlocal under_way, peak
            if not isinstance(sending.message, Reversal):
                return
            under_way += 1
            peak = max(peak, under_way)

            def done() -> None:
                nonlocal under_way
                under_way -= 1
                w.answer(sending, node_answer(sending))

            asyncio.get_running_loop().call_later(0.02, done)

        w.node_does("a1", slow)
        w.send(*(payment(n, timeout_s=1.0) for n in range(25)))
        await asyncio.sleep(10)
        assert peak <= 4
        assert len(w.journal.of(ReversalAcknowledged)) == 25

    def make() -> World:
        return separate(backlog=BacklogSettings(parallel_max=4))

    in_loop(make, story)


def test_a_reversal_of_doubt_says_that_it_timed_out() -> None:
    async def story(w: World) -> None:
        w.send(payment(timeout_s=1.0))
        await asyncio.sleep(2)
        assert w.reversals_sent()[0].reason is ReversalReason.TIMED_OUT
        assert w.reversals_sent()[0].full

    in_loop(separate, story)


def test_reversing_another_currency_is_refused() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1")
        await w.ask(payment())
        wish = reversal_of(payment(), minor=5)
        assert wish.amount is not None
        wish.amount = wish.amount._replace(currency="USD")
        assert refused(await w.reversals.reverse(wish)) == "FIELD_INVALID"  # type: ignore[arg-type]  # a refusal

    in_loop(shared, story)


def test_an_acknowledgement_counts_however_late_it_comes() -> None:
    async def story(w: World) -> None:
        w.node_does("a1", lambda _: None)
        w.send(payment(timeout_s=1.0))
        await asyncio.sleep(0.95)
        w.node_answers("a1", after_s=1.5)
        await asyncio.sleep(20)
        assert w.forwarder.owed_count() == 0
        assert len(w.reversals_sent()) <= 2
        assert len(w.journal.of(ReversalAcknowledged)) == 1
        assert w.counters.acknowledged == 1
        assert not await w.journal.owed()

    in_loop(separate, story)
