"""The life of an attempt: one table, and nothing decided outside it.

An attempt is one reference's life at one ledger, over one or more sendings. Outcomes belong to the
reference, never to a sending: once any sending of a reference is in doubt the reference is in
doubt, until a final answer for it or an acknowledged reversal. So "not sent" or a technical code on
a repeat resolves nothing, and the table says so in the row REPEATING.

Rules the table obeys, each checked by a property in the tests:

* INTENDED is the only state from which an attempt may end as NOT_SENT: nothing has left.
* The reversal wins. From OWED no answer leads anywhere but OWED; only the ledger's acknowledgement
  leaves it (I6), and REVERSED is left by nothing.
* A repeat and a reversal are never open together: REPEATING and OWED are different states (I5).
* Final states keep their outcome. A later answer that says the same is harmless; one that differs
  is a contradiction: the ledger broke its promise, and what it may have taken is owed back.

An event that cannot happen in a state is absent, and ``advance`` asserts: a hole in the table is a
fault of ours and must not be answered as if it were the world's.

Rejected: states on the sending (two sendings of one reference then disagree about one sum of
money), and a state machine library (the table is sixty lines and is printed into the docs).
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class AttemptState(IntEnum):
    """Where an attempt is. The numbers are stored: they never change their meaning."""

    INTENDED = 1
    """Durable, nothing has left (or all that was offered came back unsent)."""
    SENT = 2
    """The first sending is open."""
    REPEATING = 3
    """In doubt, and the way out is to repeat: durable before the repeat is sent."""
    APPROVED = 4
    """Final: the issuer approved."""
    DECLINED = 5
    """Final: the issuer declined."""
    FAILED = 6
    """Final: a technical answer to a first sending; no money was taken."""
    NOT_SENT = 7
    """Final: nothing ever left."""
    OWED = 8
    """A reversal is owed: in doubt and given up, or asked for by the terminal."""
    REVERSED = 9
    """Final: the ledger acknowledged the reversal."""


class AttemptEvent(IntEnum):
    """What happens to an attempt."""

    HAND_OVER = 1
    """A sending was offered to a link."""
    RECALL = 2
    """A sending provably had no effect: never left, or NOT_PROCESSED."""
    APPROVE = 3
    """The ledger answered: approved."""
    DECLINE = 4
    """The ledger answered: declined."""
    FAIL = 5
    """The ledger answered with a technical code that takes no money."""
    REPEAT = 6
    """In doubt; a node of the same ledger will be asked again."""
    GIVE_UP = 7
    """In doubt; there is no way to ask again, so the reversal is owed."""
    CLOSE = 8
    """Nothing left, and no node will be tried."""
    VOID = 9
    """The terminal (or an operator) reverses all of it."""
    ACKNOWLEDGE = 10
    """The ledger acknowledged the reversal."""


class Step(NamedTuple):
    """What an event does in a state."""

    state: AttemptState
    late: bool = False
    """Nobody waits for this answer any more: it is recorded, and changes no answer given."""
    contradicts: bool = False
    """The ledger says now what it did not say before: alarm, and stop trusting its repeats."""


_S = AttemptState
_E = AttemptEvent

TABLE: dict[tuple[AttemptState, AttemptEvent], Step] = {
    (_S.INTENDED, _E.HAND_OVER): Step(_S.SENT),
    (_S.INTENDED, _E.CLOSE): Step(_S.NOT_SENT),
    (_S.INTENDED, _E.VOID): Step(_S.NOT_SENT),
    # Only at recovery: whether anything left before the crash cannot be known.
    (_S.INTENDED, _E.GIVE_UP): Step(_S.OWED),
    (_S.SENT, _E.RECALL): Step(_S.INTENDED),
    (_S.SENT, _E.APPROVE): Step(_S.APPROVED),
    (_S.SENT, _E.DECLINE): Step(_S.DECLINED),
    (_S.SENT, _E.FAIL): Step(_S.FAILED),
    (_S.SENT, _E.REPEAT): Step(_S.REPEATING),
    (_S.SENT, _E.GIVE_UP): Step(_S.OWED),
    (_S.SENT, _E.VOID): Step(_S.OWED),
    (_S.REPEATING, _E.HAND_OVER): Step(_S.REPEATING),
    (_S.REPEATING, _E.RECALL): Step(_S.REPEATING),
    (_S.REPEATING, _E.FAIL): Step(_S.REPEATING),
    (_S.REPEATING, _E.REPEAT): Step(_S.REPEATING),
    (_S.REPEATING, _E.APPROVE): Step(_S.APPROVED),
    (_S.REPEATING, _E.DECLINE): Step(_S.DECLINED),
    (_S.REPEATING, _E.GIVE_UP): Step(_S.OWED),
    (_S.REPEATING, _E.VOID): Step(_S.OWED),
    (_S.APPROVED, _E.APPROVE): Step(_S.APPROVED, late=True),
    (_S.APPROVED, _E.RECALL): Step(_S.APPROVED, late=True),
    (_S.APPROVED, _E.FAIL): Step(_S.APPROVED, late=True),
    (_S.APPROVED, _E.DECLINE): Step(_S.APPROVED, late=True, contradicts=True),
    (_S.APPROVED, _E.VOID): Step(_S.OWED),
    (_S.DECLINED, _E.DECLINE): Step(_S.DECLINED, late=True),
    (_S.DECLINED, _E.RECALL): Step(_S.DECLINED, late=True),
    (_S.DECLINED, _E.FAIL): Step(_S.DECLINED, late=True),
    (_S.DECLINED, _E.APPROVE): Step(_S.OWED, late=True, contradicts=True),
    (_S.FAILED, _E.RECALL): Step(_S.FAILED, late=True),
    (_S.FAILED, _E.FAIL): Step(_S.FAILED, late=True),
    (_S.FAILED, _E.DECLINE): Step(_S.FAILED, late=True),
    (_S.FAILED, _E.APPROVE): Step(_S.OWED, late=True, contradicts=True),
    (_S.NOT_SENT, _E.RECALL): Step(_S.NOT_SENT, late=True),
    (_S.NOT_SENT, _E.FAIL): Step(_S.NOT_SENT, late=True),
    (_S.NOT_SENT, _E.DECLINE): Step(_S.NOT_SENT, late=True),
    (_S.NOT_SENT, _E.APPROVE): Step(_S.OWED, late=True, contradicts=True),
    (_S.OWED, _E.APPROVE): Step(_S.OWED, late=True),
    (_S.OWED, _E.DECLINE): Step(_S.OWED, late=True),
    (_S.OWED, _E.FAIL): Step(_S.OWED, late=True),
    (_S.OWED, _E.RECALL): Step(_S.OWED, late=True),
    (_S.OWED, _E.VOID): Step(_S.OWED),
    (_S.OWED, _E.ACKNOWLEDGE): Step(_S.REVERSED),
    (_S.REVERSED, _E.APPROVE): Step(_S.REVERSED, late=True),
    (_S.REVERSED, _E.DECLINE): Step(_S.REVERSED, late=True),
    (_S.REVERSED, _E.FAIL): Step(_S.REVERSED, late=True),
    (_S.REVERSED, _E.RECALL): Step(_S.REVERSED, late=True),
    (_S.REVERSED, _E.VOID): Step(_S.REVERSED),
    (_S.REVERSED, _E.ACKNOWLEDGE): Step(_S.REVERSED),
}

OPEN = frozenset({_S.INTENDED, _S.SENT, _S.REPEATING})
"""States a crash may leave behind; recovery turns each into an owed reversal."""

FINAL = frozenset({_S.APPROVED, _S.DECLINED, _S.FAILED, _S.NOT_SENT, _S.REVERSED})
"""States in which nothing more is owed."""


def advance(state: AttemptState, event: AttemptEvent) -> Step:
    """Return what ``event`` does in ``state``; an impossible pair is a fault of ours."""
    step = TABLE.get((state, event))
    assert step is not None, f"{event.name} cannot happen in {state.name}"
    return step


def diagram() -> str:
    """Return the table as a Mermaid state diagram, for the docs."""
    edges: dict[tuple[str, str], list[str]] = {}
    for (state, event), step in TABLE.items():
        if state is not step.state:
            edges.setdefault((state.name, step.state.name), []).append(event.name)
    lines = ["stateDiagram-v2", f"    [*] --> {_S.INTENDED.name}"]
    lines += [f"    {a} --> {b}: {', '.join(events)}" for (a, b), events in edges.items()]
    lines += [f"    {state.name} --> [*]" for state in AttemptState if state in FINAL]
    return "\n".join(lines) + "\n"
