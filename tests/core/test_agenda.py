"""The agenda: everything comes when it is due, once, and in order."""

from hypothesis import given
from hypothesis import strategies as st

from switch.core.agenda import Agenda

INSTANTS = st.integers(0, 20).map(float)


@given(st.lists(INSTANTS), st.lists(INSTANTS))
def test_the_agenda_agrees_with_a_sorted_list(added: list[float], asked: list[float]) -> None:
    agenda: Agenda[int] = Agenda()
    twin: list[tuple[float, int]] = []
    for number, at in enumerate(added):
        agenda.add(at, number)
        twin.append((at, number))
        if asked:
            now = asked.pop()
            twin.sort()
            due = [n for at, n in twin if at <= now]
            twin = twin[len(due) :]
            assert agenda.due(now) == due
        assert agenda.next_at() == min((at for at, _ in twin), default=None)


def test_equal_instants_keep_their_order() -> None:
    agenda: Agenda[object] = Agenda()
    items = [object() for _ in range(50)]
    for item in items:
        agenda.add(1.0, item)
    assert agenda.due(1.0) == items


def test_an_item_is_due_from_its_instant_on_and_only_once() -> None:
    agenda: Agenda[str] = Agenda()
    agenda.add(2.0, "a")
    assert agenda.due(1.999) == []
    assert agenda.due(2.0) == ["a"]
    assert agenda.due(2.0) == []
    assert agenda.next_at() is None
