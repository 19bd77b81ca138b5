"""A sending: one hand-over, from its offer until it holds no slot any more."""

from switch.core.evidence import Evidence, read
from switch.core.message import Event, Inquiry, Unanswered
from switch.core.response_code import CODES
from switch.core.sending import Sending
from tests.core.examples import REFERENCE, permit, unheard


def test_a_new_sending_is_awaited_and_has_not_left() -> None:
    sending = Sending(7, Inquiry(REFERENCE), permit(), 1.5, unheard, unheard)
    assert (sending.open, sending.written, sending.landed) == (True, False, False)
    assert (sending.number, sending.deadline_at, sending.offered_at) == (7, 1.5, 0.0)


def test_its_link_gives_every_event_to_the_funnel_and_the_funnel_tells_who_awaits_it() -> None:
    told: list[tuple[Sending, Event, Evidence]] = []

    def settle(sending: Sending, event: Event) -> None:
        sending.heard(sending, event, read(event, sending.message, CODES))

    def heard(sending: Sending, event: Event, evidence: Evidence) -> None:
        told.append((sending, event, evidence))

    sending = Sending(7, Inquiry(REFERENCE), permit(), 1.5, settle, heard)
    sending.settle(sending, Unanswered.LINK_LOST)
    assert [(each[0], each[1], each[2].why) for each in told] == [
        (sending, Unanswered.LINK_LOST, "link_lost")
    ]
