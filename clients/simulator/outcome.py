"""The amount decides how an authorization ends: the published table.

The last four digits of ``amount_minor`` choose, in any currency. 9000 to 9999 are reserved; every
other amount is approved in full, at once, and answered once. Sample traffic that wants no surprise
keeps its last four digits below 9000.

A rule is a family of amounts: two digits name the family, the last two are its argument. What a
rule does to an *answer* (none, late, twice, wrong) it does to the first sending; a message that
bears the repeat mark is answered as the contract says, unless the rule speaks of repeats. So a
switch that repeats at another node of the ledger gets its answer there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from payswitch.processor.v1 import processor_pb2 as pb

APPROVALS = frozenset({"00", "08", "10", "11", "16", "85"})
"""Response codes (DE 39) that say approved; 10 says so for less than was asked."""

PARTIALLY_APPROVED = "10"
INSUFFICIENT_FUNDS = "51"
RESERVED = range(9000, 10000)
"""The last four digits that may have a meaning of their own."""


class Take(Enum):
    """How much the books take, whatever the answer says."""

    NOTHING = auto()
    HALF = auto()
    ALL = auto()
    HALF_IF_WELCOME = auto()
    """Half with code 10 where a partial approval is welcome; else nothing, with code 51."""


class Reply(Enum):
    """How the node answers the first sending."""

    ONCE = auto()
    NEVER = auto()
    NEVER_NOR_REPEATS = auto()
    TWICE = auto()
    TWICE_DIFFERING = auto()
    UNREADABLE = auto()
    OTHERWISE_TO_REPEATS = auto()


class Crash(Enum):
    """When the node's process ends itself with SIGKILL, at the first sending."""

    NEVER = auto()
    BEFORE_CLAIM = auto()
    AFTER_CLAIM = auto()
    AFTER_DECISION = auto()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one amount ends."""

    code: str = "00"
    take: Take = Take.ALL
    decided_after_ms: int = 0
    """On top of the issuer's ordinary latency."""
    reply: Reply = Reply.ONCE
    reply_after_ms: int = 0
    """Between the decision and the answer."""
    refusal: pb.Disposition.ValueType = pb.DISPOSITION_UNSPECIFIED
    """Answered instead of claiming the reference, unless it is known already."""
    refusal_once: bool = False
    """Refuse the ledger's first delivery of a reference only."""
    crash: Crash = Crash.NEVER

    def decision(self, amount_minor: int, partial_welcome: bool) -> tuple[str, int]:
        """Return the response code and the amount that the books take."""
        if self.take is Take.ALL:
            return self.code, amount_minor
        if self.take is Take.HALF:
            return self.code, amount_minor // 2
        if self.take is Take.HALF_IF_WELCOME and partial_welcome:
            return PARTIALLY_APPROVED, amount_minor // 2
        return self.code, 0


class Rule(NamedTuple):
    """A family of amounts and what becomes of them."""

    digits: str
    """The last four digits; two letters stand for the argument."""
    meaning: str
    outcome: Callable[[int], Outcome | None]
    """From the argument; None where the rule says nothing."""
    arguments: range

    def amounts(self) -> Iterator[tuple[int, Outcome]]:
        """List the last four digits this rule speaks of, each with its outcome."""
        for argument in self.arguments:
            outcome = self.outcome(argument)
            if outcome is not None:
                yield int(self.digits[:2]) * 100 + argument, outcome


def _answered_with(argument: int) -> Outcome | None:
    code = f"{argument:02d}"
    if code == PARTIALLY_APPROVED:
        return Outcome(code=code, take=Take.HALF)
    return Outcome(code=code, take=Take.ALL if code in APPROVALS else Take.NOTHING)


def _taken_though_answered_with(argument: int) -> Outcome | None:
    code = f"{argument:02d}"
    return None if code in APPROVALS else Outcome(code=code, take=Take.ALL)


def _only(digits: int, meaning: str, outcome: Outcome) -> Rule:
    argument = digits % 100
    return Rule(str(digits), meaning, lambda _: outcome, range(argument, argument + 1))


RULES: tuple[Rule, ...] = (
    Rule(
        "90cc",
        "Decided with response code `cc`: 00, 08, 11, 16 and 85 approve in full, 10 approves half "
        "(whether that is welcome or not), every other code takes no money.",
        _answered_with,
        range(100),
    ),
    Rule(
        "91cc",
        "Answered with response code `cc`, **yet the books take the money**: what a 68, 91, 96 or "
        "99 may hide. Not for codes that approve.",
        _taken_though_answered_with,
        range(100),
    ),
    Rule(
        "92tt",
        "Approved after `tt` tenths of a second; until then the reference is undecided.",
        lambda tenths: Outcome(decided_after_ms=100 * tenths),
        range(1, 100),
    ),
    Rule(
        "93ss",
        "Never answered; approved in the books after `ss` seconds. Repeats are answered.",
        lambda seconds: Outcome(reply=Reply.NEVER, decided_after_ms=1000 * seconds),
        range(100),
    ),
    Rule(
        "94ss",
        "Never answered, **nor are its repeats**; approved in the books after `ss` seconds. "
        "Inquiries and reversals are answered.",
        lambda seconds: Outcome(reply=Reply.NEVER_NOR_REPEATS, decided_after_ms=1000 * seconds),
        range(100),
    ),
    Rule(
        "95tt",
        "Approved at once, answered `tt` tenths of a second later. Repeats are answered at once.",
        lambda tenths: Outcome(reply_after_ms=100 * tenths),
        range(1, 100),
    ),
    _only(
        9601,
        "NOT_PROCESSED; nothing is claimed.",
        Outcome(refusal=pb.DISPOSITION_NOT_PROCESSED),
    ),
    _only(
        9602,
        "NOT_PROCESSED the first time the ledger is asked for this reference, approved afterwards.",
        Outcome(refusal=pb.DISPOSITION_NOT_PROCESSED, refusal_once=True),
    ),
    _only(
        9603,
        "KEY_UNKNOWN; nothing is claimed.",
        Outcome(refusal=pb.DISPOSITION_KEY_UNKNOWN),
    ),
    _only(
        9604,
        "MALFORMED; nothing is claimed.",
        Outcome(refusal=pb.DISPOSITION_MALFORMED),
    ),
    _only(
        9606,
        "Approved in the books; the answer is unreadable (its disposition is not set).",
        Outcome(reply=Reply.UNREADABLE),
    ),
    _only(
        9701,
        "The node's process kills itself when it reads the item; nothing is claimed.",
        Outcome(crash=Crash.BEFORE_CLAIM),
    ),
    _only(
        9702,
        "The node's process kills itself once the reference is claimed; approved in the books "
        "a second after the claim.",
        Outcome(crash=Crash.AFTER_CLAIM, decided_after_ms=1000),
    ),
    _only(
        9703,
        "Approved in the books; then the node's process kills itself instead of answering.",
        Outcome(crash=Crash.AFTER_DECISION),
    ),
    _only(
        9801,
        "Approved, and answered twice in the same words.",
        Outcome(reply=Reply.TWICE),
    ),
    _only(
        9802,
        "Approved; a second answer says declined (05).",
        Outcome(reply=Reply.TWICE_DIFFERING),
    ),
    _only(
        9803,
        "Approved, and answered a second and a half later; **a repeat is answered with a decline "
        "(05)**: the ledger's promise is broken.",
        Outcome(reply=Reply.OTHERWISE_TO_REPEATS, reply_after_ms=1500),
    ),
    _only(
        9901,
        "Decided with response code 1A (stronger authentication required).",
        Outcome(code="1A", take=Take.NOTHING),
    ),
    _only(
        9902,
        "Half is approved (10) where a partial approval is welcome; else declined (51).",
        Outcome(code=INSUFFICIENT_FUNDS, take=Take.HALF_IF_WELCOME),
    ),
)
"""The published table; docs/reference/simulator.md is made from it."""

ORDINARY = Outcome()
"""Approved in full, answered once."""

_BY_DIGITS: dict[int, Outcome] = {
    digits: outcome for rule in RULES for digits, outcome in rule.amounts()
}


def outcome_of(amount_minor: int) -> Outcome:
    """Return how an authorization for this amount ends."""
    return _BY_DIGITS.get(amount_minor % 10_000, ORDINARY)


def table() -> str:
    """Render the rules as a Markdown table."""
    lines = ["| last four digits | what becomes of the authorization |", "|---|---|"]
    lines += [f"| `{rule.digits}` | {rule.meaning} |" for rule in RULES]
    lines.append("| any other | Approved in full (00), answered once. |")
    return "\n".join(lines) + "\n"
