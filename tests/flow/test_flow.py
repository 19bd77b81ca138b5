"""The story of a payment, run unchanged under virtual time."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from switch.core.message import (
    Answer,
    Authorization,
    Claim,
    Conclusion,
    Disposition,
    LateAnswer,
    OpenAttempt,
    OpenRepeat,
    Refused,
    ReversalStatus,
    Unanswered,
)
from switch.core.payment import Attempt, Payment
from switch.core.processor import Processor
from switch.core.response_code import meanings_with
from switch.core.routing import NodeSettings
from switch.core.sending import Sending
from switch.core.transaction import AttemptState
from switch.errors import JournalInDoubt, JournalUnavailable
from switch.store.memory import MemoryDisk
from switch.testing import VirtualLoop, node_answer, run_virtual
from tests.flow.world import COMMIT_S, World, payment, separate, shared

Story = Callable[[World], Awaitable[None]]


def in_loop(make: Callable[[], World], story: Story) -> World:
    """Make a world inside the virtual loop, run a story in it, and return it."""

    async def run() -> World:
        world = make()
        async with world.running():
            await story(world)
        return world

    return run_virtual(run())


def approved(verdict: Answer | Refused) -> bool:
    return isinstance(verdict, Answer) and verdict.approved


def refused(verdict: Answer | Refused) -> str:
    assert isinstance(verdict, Refused), verdict
    return verdict.reason


# --- the plain life -----------------------------------------------------------------------------


def test_a_payment_is_written_down_before_it_is_sent_and_before_its_terminal_is_told() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1")
        began = w.clock.now()
        verdict = await w.ask(payment())
        assert approved(verdict)
        assert [type(r) for r in w.journal.durable] == [Claim, Conclusion]
        assert w.clock.now() - began >= 2 * COMMIT_S

    in_loop(shared, story)


def test_an_approval_carries_what_the_issuer_said() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1")
        verdict = await w.ask(payment(minor=4711))
        assert isinstance(verdict, Answer)
        assert (verdict.response_code, verdict.authorization_code) == ("00", "A12345")
        assert verdict.approved_amount == (4711, "EUR")
        assert verdict.reversal is ReversalStatus.NONE
        assert not verdict.replayed

    in_loop(shared, story)


@pytest.mark.parametrize("code", ["05", "51", "14", "43", "1A"])
def test_a_decline_is_told_and_never_tried_elsewhere(code: str) -> None:
    async def story(w: World) -> None:
        w.node_answers("a1", code)
        verdict = await w.ask(payment())
        assert isinstance(verdict, Answer)
        assert not verdict.approved
        assert verdict.response_code == code
        assert len(w.authorizations()) == 1

    in_loop(separate, story)


def test_a_frame_costs_two_commits_whatever_it_holds() -> None:
    async def story(w: World) -> None:
        held: list[object] = []
        w.node_does("a1", held.append)
        w.send(*(payment(n) for n in range(30)))
        await asyncio.sleep(COMMIT_S * 1.5)
        assert len(held) == 30
        began = w.clock.now()
        for sending in w.authorizations("a1"):
            w.answer(sending, node_answer(sending))
        await asyncio.sleep(COMMIT_S * 1.5)
        assert len(w.told) == 30
        assert w.clock.now() - began < 2 * COMMIT_S

    in_loop(shared, story)


# --- duplicates ---------------------------------------------------------------------------------


def test_two_hundred_twins_are_one_upstream_message_and_equal_answers() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1")
        w.send(*(payment() for _ in range(100)))
        for _ in range(100):
            w.send(payment())
        await asyncio.sleep(1)
        assert len(w.authorizations()) == 1
        answers = [v for v in w.verdicts() if isinstance(v, Answer)]
        assert len(answers) == 200
        assert sum(not a.replayed for a in answers) == 1
        assert (
            len({(a.response_code, a.authorization_code, a.approved_amount) for a in answers}) == 1
        )

    in_loop(shared, story)


def test_a_twin_with_another_amount_is_refused_and_has_no_effect() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1")
        other = payment(minor=9999)
        other.fingerprint = b"another fingerp!"
        w.send(payment(), other)
        await asyncio.sleep(1)
        assert approved(w.verdicts()[0])
        assert refused(w.verdicts()[1]) == "REQUEST_ID_REUSED"
        assert len(w.authorizations()) == 1

    in_loop(shared, story)


def test_a_concluded_payment_is_replayed_from_the_journal() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1")
        first = await w.ask(payment())
        second = await w.ask(payment())
        assert isinstance(first, Answer)
        assert isinstance(second, Answer)
        assert second.replayed
        assert second.response_code == first.response_code
        assert second.authorization_code == first.authorization_code
        assert second.approved_amount == first.approved_amount
        assert len(w.authorizations()) == 1
        assert w.routing.nodes["a1"].in_flight == 0

    in_loop(shared, story)


def test_the_same_id_with_another_request_is_refused_after_the_fact_too() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1")
        await w.ask(payment())
        other = payment(minor=1)
        other.fingerprint = b"another fingerp!"
        assert refused(await w.ask(other)) == "REQUEST_ID_REUSED"
        assert len(w.authorizations()) == 1

    in_loop(shared, story)


def test_a_known_payment_is_answered_even_when_no_node_is_ready() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1")
        await w.ask(payment(1))
        w.kill("a1")
        w.kill("a2")
        assert approved(await w.ask(payment(1)))
        assert refused(await w.ask(payment(2))) == "NO_NODE_READY"

    in_loop(shared, story)


# --- not sent -----------------------------------------------------------------------------------


def test_what_never_left_goes_to_the_backup_as_a_first_sending() -> None:
    async def story(w: World) -> None:
        w.node_answers("a2")
        w.node_does("a1", lambda s: None)
        original = w.links.offer

        def dying(sending: object) -> None:
            original(sending)  # type: ignore[arg-type]  # the same sending
            w.links.offer = original  # type: ignore[method-assign]  # once only
            w.kill("a1")

        w.links.offer = dying  # type: ignore[method-assign]  # the link ends under the item
        assert approved(await w.ask(payment()))
        (again,) = w.authorizations("a2")
        assert isinstance(again.message, Authorization)
        assert not again.message.repeat
        assert not w.journal.of(OpenRepeat)
        assert w.counters.in_doubt == 0

    in_loop(shared, story)


def test_a_node_that_has_not_processed_it_is_followed_by_the_backup() -> None:
    async def story(w: World) -> None:
        w.node_does(
            "a1",
            lambda s: w.answer(s, node_answer(s, disposition=Disposition.NOT_PROCESSED)),
        )
        w.node_answers("a2")
        assert approved(await w.ask(payment()))
        assert [s.message.repeat for s in w.authorizations()] == [False, False]  # type: ignore[union-attr]  # authorizations

    in_loop(shared, story)


def test_at_another_ledger_what_never_left_takes_a_new_reference_durable_first() -> None:
    async def story(w: World) -> None:
        w.node_does(
            "a1",
            lambda s: w.answer(s, node_answer(s, disposition=Disposition.NOT_PROCESSED)),
        )
        w.node_answers("a2")
        assert approved(await w.ask(payment()))
        first, second = (s.message.reference for s in w.authorizations())
        assert first != second
        (opened,) = w.journal.of(OpenAttempt)
        assert opened.closed_state is AttemptState.NOT_SENT
        assert opened.reference == second

    in_loop(separate, story)


def test_a_payment_that_reached_nobody_ends_durably_not_sent_and_may_run_again() -> None:
    async def story(w: World) -> None:
        for node in ("a1", "a2"):
            w.node_does(
                node,
                lambda s: w.answer(s, node_answer(s, disposition=Disposition.NOT_PROCESSED)),
            )
        assert refused(await w.ask(payment())) == "NO_NODE_READY"
        (ended,) = w.journal.of(Conclusion)
        assert ended.state is AttemptState.NOT_SENT
        w.node_answers("a1")
        assert approved(await w.ask(payment()))
        references = [s.message.reference for s in w.authorizations()]
        assert references[0] == references[1] != references[2]

    in_loop(shared, story)


def test_an_unknown_envelope_key_is_answered_reseal_and_the_same_id_runs_again() -> None:
    async def story(w: World) -> None:
        w.node_does(
            "a1", lambda s: w.answer(s, node_answer(s, disposition=Disposition.KEY_UNKNOWN))
        )
        assert refused(await w.ask(payment())) == "RESEAL"
        w.node_answers("a1")
        assert approved(await w.ask(payment()))

    in_loop(shared, story)


def test_a_request_without_a_fitting_envelope_is_refused() -> None:
    async def story(w: World) -> None:
        assert refused(await w.ask(payment(envelopes={}))) == "NO_ENVELOPE"

    in_loop(shared, story)


def test_a_full_switch_refuses_with_a_delay_and_sends_nothing() -> None:
    async def story(w: World) -> None:
        w.send(*(payment(n) for n in range(100)))
        await asyncio.sleep(0.1)
        reasons = [v.reason for v in w.verdicts() if isinstance(v, Refused)]
        assert set(reasons) == {"OVERLOADED"}
        assert len(w.authorizations()) + len(reasons) == 100
        for node in w.routing.nodes.values():
            assert node.in_flight <= node.settings.limit

    in_loop(shared, story)


def test_too_little_time_is_refused_before_anything_is_written() -> None:
    async def story(w: World) -> None:
        assert refused(await w.ask(payment(timeout_s=0.12))) == "DEADLINE_TOO_SHORT"
        assert not w.journal.durable

    in_loop(shared, story)


def test_an_attempt_whose_node_falls_before_the_commit_leaves_no_trace() -> None:
    def make() -> World:
        return World(
            [
                NodeSettings("a1", "acme", "left", "-", tier=0, limit=32),
                NodeSettings("a2", "acme", "right", "-", tier=1, limit=32),
                NodeSettings("a3", "acme", "right", "-", tier=2, limit=32),
            ],
            {"acme": Processor("acme")},
        )

    async def story(w: World) -> None:
        w.node_does(
            "a1",
            lambda s: w.answer(s, node_answer(s, disposition=Disposition.NOT_PROCESSED)),
        )
        w.node_answers("a3")
        # The pump is in the commit of the second payment when the first comes back unprocessed;
        # the place it is given then is lost before the pump gets to it.
        w.send(payment(1))
        await asyncio.sleep(COMMIT_S * 0.9)
        w.send(payment(2))
        await asyncio.sleep(COMMIT_S * 0.6)
        w.kill("a2")
        await asyncio.sleep(1)
        assert all(approved(v) for v in w.verdicts())
        assert len(w.verdicts()) == 2
        opened = {r.reference for r in w.journal.of(OpenAttempt)}
        assert {s.message.reference for s in w.authorizations("a3")} == opened

    in_loop(make, story)


# --- in doubt -----------------------------------------------------------------------------------


def test_a_lost_link_is_followed_at_once_by_a_repeat_at_the_backup() -> None:
    async def story(w: World) -> None:
        w.node_answers("a2")
        w.send(*(payment(n) for n in range(8)))
        await asyncio.sleep(0.01)
        began = w.clock.now()
        w.kill("a1")
        await asyncio.sleep(0.05)
        assert [approved(v) for v in w.verdicts()] == [True] * 8
        assert all(at - began < 0.05 for _, _, at in w.told)
        assert all(s.message.repeat for s in w.authorizations("a2"))  # type: ignore[union-attr]  # authorizations
        assert {s.message.reference for s in w.authorizations("a1")} == {
            s.message.reference for s in w.authorizations("a2")
        }
        assert w.counters.in_doubt == 8
        assert w.counters.repeated == 8
        assert w.counters.owed == 0

    in_loop(shared, story)


def test_without_another_node_of_the_ledger_doubt_is_answered_91_and_owed() -> None:
    async def story(w: World) -> None:
        w.node_answers("a2")
        w.send(payment())
        await asyncio.sleep(0.01)
        w.kill("a1")
        await asyncio.sleep(0.05)
        (verdict,) = w.verdicts()
        assert isinstance(verdict, Answer)
        assert (verdict.approved, verdict.response_code) == (False, "91")
        assert verdict.reversal is ReversalStatus.OWED
        assert not w.authorizations("a2"), "a blind second authorization"
        (owed,) = await w.journal.owed()
        assert owed.ledger == "left"
        assert owed.full

    in_loop(separate, story)


def test_a_processor_that_takes_no_repeats_gets_none() -> None:
    def make() -> World:
        return World(
            [
                NodeSettings("a1", "acme", "main", "-", tier=0),
                NodeSettings("a2", "acme", "main", "-", tier=1),
            ],
            {"acme": Processor("acme", accepts_repeat=False)},
        )

    async def story(w: World) -> None:
        w.node_answers("a2")
        w.send(payment())
        await asyncio.sleep(0.01)
        w.kill("a1")
        await asyncio.sleep(0.05)
        (verdict,) = w.verdicts()
        assert isinstance(verdict, Answer)
        assert verdict.response_code == "91"
        assert not w.authorizations("a2")

    in_loop(make, story)


def test_a_silent_node_is_given_its_timeout_and_then_repeated_at_the_backup() -> None:
    async def story(w: World) -> None:
        w.node_answers("a2")
        verdict = await w.ask(payment())
        assert approved(verdict)
        assert [s.permit.node.settings.name for s in w.authorizations()] == ["a1", "a2"]

    in_loop(shared, story)


def test_an_item_in_doubt_holds_its_slot_until_the_link_is_lost() -> None:
    async def story(w: World) -> None:
        w.node_answers("a2")
        await w.ask(payment())
        assert w.routing.nodes["a1"].in_flight == 1
        w.kill("a1")
        assert w.routing.nodes["a1"].in_flight == 0

    in_loop(shared, story)


def test_an_item_in_doubt_gives_its_slot_back_after_the_bounded_flight_time() -> None:
    async def story(w: World) -> None:
        w.node_answers("a2")
        await w.ask(payment())
        await asyncio.sleep(31)
        assert w.routing.nodes["a1"].in_flight == 0
        assert w.links.forgotten

    in_loop(shared, story)


def test_when_nobody_answers_the_terminal_gets_91_in_time_and_the_reversal_is_owed() -> None:
    async def story(w: World) -> None:
        began = w.clock.now()
        verdict = await w.ask(payment(timeout_s=3.0))
        assert isinstance(verdict, Answer)
        assert verdict.response_code == "91"
        assert w.clock.now() - began <= 3.0
        assert len(await w.journal.owed()) == 1

    in_loop(shared, story)


def test_the_first_final_answer_wins_and_the_second_is_recorded_as_late() -> None:
    async def story(w: World) -> None:
        w.send(payment())
        await asyncio.sleep(1.1)
        first, again = w.authorizations()
        w.answer(first, node_answer(first))
        await asyncio.sleep(0.01)
        assert approved(w.verdicts()[0])
        w.answer(again, node_answer(again))
        await asyncio.sleep(0.01)
        (late,) = w.journal.of(LateAnswer)
        assert not late.contradicts
        assert len(w.told) == 1
        assert w.counters.owed == 0

    in_loop(shared, story)


def test_a_late_approval_after_91_changes_nothing_and_the_reversal_stays_owed() -> None:
    async def story(w: World) -> None:
        w.send(payment())
        await asyncio.sleep(3)
        (sending,) = w.authorizations("a1")
        (told,) = w.verdicts()
        assert isinstance(told, Answer)
        assert told.response_code == "91"
        w.answer(sending, node_answer(sending))
        await asyncio.sleep(0.01)
        again = await w.ask(payment())
        assert isinstance(again, Answer)
        assert again.response_code == "91"
        assert len(w.journal.of(LateAnswer)) == 1
        assert again.reversal is ReversalStatus.OWED

    in_loop(separate, story)


def test_not_processed_on_a_repeat_resolves_nothing() -> None:
    async def story(w: World) -> None:
        w.node_does(
            "a2", lambda s: w.answer(s, node_answer(s, disposition=Disposition.NOT_PROCESSED))
        )
        w.send(payment(timeout_s=3.0))
        await asyncio.sleep(0.01)
        w.kill("a1")
        await asyncio.sleep(4)
        (verdict,) = w.verdicts()
        assert isinstance(verdict, Answer)
        assert verdict.response_code == "91"
        assert len(await w.journal.owed()) == 1

    in_loop(shared, story)


def test_a_ledger_in_progress_is_asked_again_until_it_knows() -> None:
    async def story(w: World) -> None:
        asked = 0

        def unsure(sending: object) -> None:
            nonlocal asked
            asked += 1
            code = "00" if asked > 3 else "09"
            w.answer(sending, node_answer(sending, code))  # type: ignore[arg-type]  # a sending

        w.node_does("a1", unsure)
        assert approved(await w.ask(payment()))
        assert asked == 4
        assert [s.message.repeat for s in w.authorizations()] == [False, True, True, True]  # type: ignore[union-attr]  # authorizations

    in_loop(shared, story)


def test_a_stalled_node_is_left_at_once_and_its_link_stays_open() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1", after_s=0.005)
        w.node_answers("a2", after_s=0.005)
        for n in range(20):
            await w.ask(payment(n))
        w.node_does("a1", lambda s: None)
        w.send(*(payment(100 + n) for n in range(12)))
        began = w.clock.now()
        await asyncio.sleep(0.4)
        assert [approved(v) for v in w.verdicts()] == [True] * 12
        assert all(at - began <= 0.32 for _, _, at in w.told)
        assert w.routing.nodes["a1"].in_flight == 12

    in_loop(shared, story)


async def expired_without_a_stand_in(w: World) -> Sending:
    """Let the only sending of a payment expire while the backup is away; return the sending."""
    w.kill("a2")
    w.send(payment())
    await asyncio.sleep(1.02)
    (sending,) = w.authorizations()
    assert not sending.open
    assert not w.told
    return sending


def test_the_only_sending_says_late_that_it_was_not_processed_and_that_resolves_the_doubt() -> None:
    async def story(w: World) -> None:
        sending = await expired_without_a_stand_in(w)
        w.answer(sending, node_answer(sending, disposition=Disposition.NOT_PROCESSED))
        await asyncio.sleep(0.5)
        (verdict,) = w.verdicts()
        assert refused(verdict) == "NO_NODE_READY"
        (ended,) = w.journal.of(Conclusion)
        assert ended.state is AttemptState.NOT_SENT
        assert ended.owed is None

    in_loop(shared, story)


def test_the_only_sending_answers_late_with_a_technical_code_and_nothing_is_owed() -> None:
    async def story(w: World) -> None:
        sending = await expired_without_a_stand_in(w)
        w.answer(sending, node_answer(sending, "92"))
        await asyncio.sleep(0.5)
        (verdict,) = w.verdicts()
        assert isinstance(verdict, Answer)
        assert verdict.response_code == "92"
        assert w.counters.owed == 0

    in_loop(shared, story)


def test_a_technical_code_on_a_repeat_resolves_nothing() -> None:
    async def story(w: World) -> None:
        w.node_answers("a2", "92")
        w.send(payment())
        await asyncio.sleep(0.01)
        w.kill("a1")
        await asyncio.sleep(4)
        (verdict,) = w.verdicts()
        assert isinstance(verdict, Answer)
        assert verdict.response_code == "91"
        assert w.counters.owed == 1
        assert len(w.authorizations("a2")) < 100, "a node that cannot help is given a moment"

    in_loop(shared, story)


def test_one_repeat_is_under_way_at_a_time_however_often_doubt_is_looked_at() -> None:
    async def story(w: World) -> None:
        w.kill("a2")
        w.send(payment())
        await asyncio.sleep(1.02)
        w.revive("a2")
        w.kill("a1")
        await asyncio.sleep(0.5)
        assert len(w.authorizations("a2")) == 1

    in_loop(shared, story)


# --- technical answers --------------------------------------------------------------------------


def test_no_such_issuer_is_tried_at_another_ledger() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1", "15")
        w.node_answers("a2")
        assert approved(await w.ask(payment()))
        (opened,) = w.journal.of(OpenAttempt)
        assert opened.closed_state is AttemptState.FAILED
        assert w.counters.owed == 0

    in_loop(separate, story)


def test_a_malfunction_is_in_doubt_unless_the_profile_says_otherwise() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1", "96")
        w.node_answers("a2")
        verdict = await w.ask(payment())
        assert isinstance(verdict, Answer)
        assert verdict.response_code == "91"
        assert not w.authorizations("a2")

    in_loop(separate, story)

    def trusted() -> World:
        return World(
            [
                NodeSettings("a1", "acme", "left", "-", tier=0),
                NodeSettings("a2", "acme", "right", "-", tier=1),
            ],
            {"acme": Processor("acme", codes=meanings_with({"96": "technical"}))},
        )

    async def trusting(w: World) -> None:
        w.node_answers("a1", "96")
        w.node_answers("a2")
        assert approved(await w.ask(payment()))

    in_loop(trusted, trusting)


def test_at_most_two_ledgers_are_reached_for_one_payment() -> None:
    def make() -> World:
        return World(
            [NodeSettings(f"a{n}", "acme", f"ledger{n}", "-", tier=n) for n in range(4)],
            {"acme": Processor("acme")},
        )

    async def story(w: World) -> None:
        for n in range(4):
            w.node_answers(f"a{n}", "15")
        verdict = await w.ask(payment())
        assert isinstance(verdict, Answer)
        assert verdict.response_code == "15"
        assert len(w.authorizations()) == 2

    in_loop(make, story)


def test_after_a_technical_answer_its_code_is_told_if_no_other_ledger_takes_the_payment() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1", "15")
        w.node_does(
            "a2", lambda s: w.answer(s, node_answer(s, disposition=Disposition.NOT_PROCESSED))
        )
        for _ in range(2):
            verdict = await w.ask(payment())
            assert isinstance(verdict, Answer)
            assert (verdict.approved, verdict.response_code) == (False, "15")
        assert len(w.authorizations()) == 2

    in_loop(separate, story)


# --- partial approvals --------------------------------------------------------------------------


def test_a_part_is_approved_to_a_terminal_that_takes_parts() -> None:
    async def story(w: World) -> None:
        w.node_does("a1", lambda s: w.answer(s, node_answer(s, "10", approved_minor=500)))
        verdict = await w.ask(payment(minor=1250))
        assert isinstance(verdict, Answer)
        assert verdict.approved
        assert verdict.approved_amount == (500, "EUR")

    in_loop(shared, story)


def test_a_part_is_declined_and_owed_back_to_a_terminal_that_takes_none() -> None:
    async def story(w: World) -> None:
        w.node_does("a1", lambda s: w.answer(s, node_answer(s, "10", approved_minor=500)))
        verdict = await w.ask(payment(minor=1250, accepts_partial=False))
        assert isinstance(verdict, Answer)
        assert not verdict.approved
        assert verdict.reversal is ReversalStatus.OWED
        (ended,) = w.journal.of(Conclusion)
        assert ended.owed is not None, "decline and reversal stand in one commit"

    in_loop(shared, story)


def test_an_approval_of_more_than_was_asked_is_unreadable_and_owed_back() -> None:
    async def story(w: World) -> None:
        w.node_does("a1", lambda s: w.answer(s, node_answer(s, "00", approved_minor=99_999)))
        verdict = await w.ask(payment())
        assert isinstance(verdict, Answer)
        assert verdict.response_code == "91"

    in_loop(separate, story)


# --- contradictions -----------------------------------------------------------------------------


def test_a_ledger_that_contradicts_itself_is_owed_back_and_trusted_no_more() -> None:
    async def story(w: World) -> None:
        w.node_answers("a2", "05")
        w.send(payment(1))
        await asyncio.sleep(1.2)
        (first,) = w.authorizations("a1")
        assert not approved(w.verdicts()[0])
        w.answer(first, node_answer(first))
        await asyncio.sleep(0.05)
        (late,) = w.journal.of(LateAnswer)
        assert late.contradicts
        assert late.owed is not None
        assert w.counters.contradictions == 1
        w.send(payment(2))
        await asyncio.sleep(1.2)
        second = w.verdicts()[-1]
        assert isinstance(second, Answer)
        assert second.response_code == "91"

    in_loop(shared, story)


def test_two_different_approvals_of_one_reference_are_a_contradiction() -> None:
    async def story(w: World) -> None:
        w.node_answers("a2")
        assert approved(await w.ask(payment()))
        (first,) = w.authorizations("a1")
        w.answer(first, node_answer(first, authorization_code="ZZZZZZ"))
        await asyncio.sleep(0.1)
        assert w.counters.contradictions == 1
        (late,) = w.journal.of(LateAnswer)
        assert late.contradicts

    in_loop(shared, story)


def test_an_answer_from_a_processor_that_is_configured_no_more_is_recorded() -> None:
    disk = MemoryDisk()

    async def before(w: World) -> None:
        w.send(payment(timeout_s=1.0))
        await asyncio.sleep(2)

    first = in_loop(lambda: separate(disk=disk), before)
    (sending,) = first.authorizations()

    def renamed() -> World:
        nodes = [NodeSettings("b1", "beta", "other", "-", limit=32)]
        return World(nodes, {"beta": Processor("beta")}, disk=disk)

    async def after(w: World) -> None:
        w.flow.late_answers.stranger("b1", node_answer(sending))
        await asyncio.sleep(0.1)
        assert len(w.journal.of(LateAnswer)) == 1
        w.node_answers("b1")
        assert approved(await w.ask(payment(2)))
        assert w.forwarder.owed_count() == 1, "owed to a ledger that is gone: kept, and harmless"

    in_loop(renamed, after)


# --- the journal fails --------------------------------------------------------------------------


def test_nothing_is_sent_when_the_journal_cannot_be_written() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1")
        w.journal.fail_with = JournalUnavailable("down")
        assert refused(await w.ask(payment())) == "JOURNAL_UNAVAILABLE"
        assert not w.authorizations()
        assert w.routing.nodes["a1"].in_flight == 0

    in_loop(shared, story)


def test_an_outcome_that_could_not_be_written_is_told_as_unknown() -> None:
    async def story(w: World) -> None:
        def answer_and_fail(sending: object) -> None:
            w.journal.fail_with = JournalInDoubt("fsync")
            w.answer(sending, node_answer(sending))  # type: ignore[arg-type]  # a sending

        w.node_does("a1", answer_and_fail)
        assert refused(await w.ask(payment())) == "OUTCOME_UNKNOWN"

    in_loop(shared, story)


def test_whoever_was_told_that_the_journal_failed_is_told_nothing_more() -> None:
    async def story(w: World) -> None:
        w.send(payment())
        await asyncio.sleep(0.01)
        w.journal.fail_with = JournalInDoubt("fsync")
        (first,) = w.authorizations()
        await asyncio.sleep(1.02)
        assert [refused(v) for v in w.verdicts()] == ["OUTCOME_UNKNOWN"]
        w.answer(first, node_answer(first))
        await asyncio.sleep(0.1)
        assert len(w.told) == 1

    in_loop(shared, story)


# --- time ---------------------------------------------------------------------------------------


def test_a_jump_of_the_wall_clock_changes_no_decision() -> None:
    async def story(w: World) -> None:
        w.node_answers("a2")
        w.send(payment())
        await asyncio.sleep(0.01)
        w.clock.jump_wall_clock(-3_600_000)
        await asyncio.sleep(1.2)
        assert approved(w.verdicts()[0])
        w.clock.jump_wall_clock(7_200_000)
        assert approved(await w.ask(payment()))

    in_loop(shared, story)


@pytest.mark.parametrize("away_s", [2.0, 31.0])
def test_a_process_that_was_stopped_for_a_while_forgets_no_payment(away_s: float) -> None:
    async def story(w: World) -> None:
        w.send(payment())
        await asyncio.sleep(0.01)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.virtual_s += away_s
        await asyncio.sleep(0.5)
        (verdict,) = w.verdicts()
        assert isinstance(verdict, Answer)
        assert verdict.response_code == "91"
        assert w.counters.owed == 1
        assert w.flow.running_count() == 0

    in_loop(separate, story)


def test_expired_while_unwritten_is_not_sent() -> None:
    async def story(w: World) -> None:
        w.node_answers("a2")
        w.links._write = lambda: None  # type: ignore[method-assign]  # a link that never gets to write
        verdict = await w.ask(payment())
        assert refused(verdict) == "NO_NODE_READY"
        assert w.counters.in_doubt == 0
        assert all(s.landed for s in w.authorizations())

    in_loop(shared, story)


def test_events_after_a_sending_has_landed_are_ignored() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1")
        await w.ask(payment())
        (sending,) = w.authorizations()
        sending.settle(sending, Unanswered.LINK_LOST)
        await asyncio.sleep(0.01)
        assert len(w.journal.durable) == 2

    in_loop(shared, story)


def test_what_has_ended_is_freed_at_once_and_not_by_the_collector() -> None:
    async def story(w: World) -> None:
        w.node_answers("a1")
        gc.collect()
        gc.disable()
        try:
            for n in range(50):
                await w.ask(payment(n))
            # The deadline of a sending is its last trace.
            await asyncio.sleep(1.5)
            w.links.history.clear()
            alive = Counter(
                type(o) for o in gc.get_objects() if isinstance(o, Payment | Attempt | Sending)
            )
        finally:
            gc.enable()
        # The pumps still hold their last batch, which is the last payment.
        assert all(count <= 1 for count in alive.values()), alive

    in_loop(shared, story)
