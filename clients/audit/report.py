"""The verdict: every counter, the totals by currency, and what explains each difference."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from clients.audit.evidence import Unreadable
from clients.audit.finding import Finding, World, counted
from clients.audit.ledger import NO_EFFECT
from clients.audit.payment import Payment
from clients.audit.switch import RESTARTED, Attempt, PaymentState
from clients.audit.terminals import Told

EXPLANATIONS_MAX = 20
INOPERATIVE = frozenset({"91", "96"})
"""What a switch says that has no answer to give."""
OWN_FAULT = frozenset({"INVALID_ARGUMENT", "ALREADY_EXISTS"})
"""Statuses of refusals that are the terminal's own doing."""
FATAL = ("double_charges", "lost", "mismatches", "unanswered")
"""What must be zero."""


@dataclass(slots=True)
class Totals:
    """One currency's money in minor units, as each ledger has it."""

    terminals_minor: int = 0
    switch_minor: int = 0
    ledgers_minor: int = 0
    owed_minor: int = 0
    """Of what stands in the ledgers, what is going to be reversed."""


@dataclass(slots=True)
class Report:
    """What the audit found."""

    counts: dict[str, int]
    kinds: dict[str, int]
    """Findings by kind."""
    currencies: dict[str, Totals]
    explanations: list[str]
    explanations_left_out: int
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether all that must be zero is."""
        return not any(self.counts[name] for name in FATAL)

    def as_json(self) -> str:
        """Return it as one line."""
        totals = {
            currency: {
                "terminals_minor": total.terminals_minor,
                "switch_minor": total.switch_minor,
                "ledgers_minor": total.ledgers_minor,
                "owed_minor": total.owed_minor,
            }
            for currency, total in sorted(self.currencies.items())
        }
        return json.dumps(
            {
                **self.counts,
                "passed": self.passed,
                "kinds": self.kinds,
                "currencies": totals,
                "explanations": self.explanations,
                "explanations_left_out": self.explanations_left_out,
                "notes": self.notes,
            }
        )

    def as_text(self) -> str:
        """Return it for people."""
        width = max(map(len, self.counts))
        lines = [f"{name.replace('_', ' '):<{width}}  {n:>12,}" for name, n in self.counts.items()]
        lines += [
            "",
            "minor units         terminals           switch  ledgers - owed             owed",
        ]
        for currency, total in sorted(self.currencies.items()):
            kept_minor = total.ledgers_minor - total.owed_minor
            lines.append(
                f"{currency:<12} {total.terminals_minor:>16,} {total.switch_minor:>16,} "
                f"{kept_minor:>15,} {total.owed_minor:>16,}"
            )
        if self.explanations:
            lines += ["", *self.explanations]
        if self.explanations_left_out:
            lines.append(f"... and {self.explanations_left_out} more")
        lines += ["", *self.notes] if self.notes else [""]
        verdict = "the three ledgers agree to the cent"
        if not self.passed:
            wrong = [f"{self.counts[name]} {name.replace('_', ' ')}" for name in FATAL]
            verdict = f"THE LEDGERS DO NOT AGREE: {', '.join(wrong)}"
        return "\n".join([*lines, verdict])


def report(world: World, findings: list[Finding]) -> Report:
    """Count, and explain. Raises Unreadable if there is nothing to judge."""
    payments = world.payments.values()
    ends = {payment.key: _end(payment) for payment in payments}
    counts = Counter(end for end in ends.values() if end)
    sent = sum(1 for payment in payments if payment.sends or payment.told)
    if not sent:
        raise Unreadable("no terminal's journal has a payment that was sent: nothing to judge")
    failures = {payment.key: why for payment in payments if (why := _failure(payment))}
    debts = [debt for owed in world.switch.debts.values() for debt in owed]
    faults = counted(findings)
    moved = _moved(world)
    explanations = [str(finding) for finding in findings]
    explanations += [f"unanswered: {key}" for key, end in ends.items() if end == "unanswered"]
    explanations += [
        f"owed: {payment.key}: {payment.owed_minor} {payment.currency} is still to be reversed"
        for payment in payments
        if payment.owed_minor
    ]
    explanations += [f"terminal failure: {key}: {why}" for key, why in failures.items()]
    return Report(
        counts={
            "sent": sent,
            "answered": counts["approved"] + counts["declined"],
            "approved": counts["approved"],
            "declined": counts["declined"],
            "refused": counts["refused"],
            "unanswered": counts["unanswered"],
            "never_sent": counts["never_sent"],
            "terminal_failures": len(failures),
            "restart_reversals": sum(1 for payment in payments if _restarted(payment)),
            "failed_over": len(moved),
            "repeated": sum(1 for p in payments if any(a.repeat_node for a in p.attempts)),
            "in_doubt": sum(1 for p in payments if any(a.doubted for a in p.attempts)),
            "late_answers": world.switch.late_answers,
            "reversals_owed": len(debts),
            "reversals_acknowledged": sum(1 for debt in debts if not debt.outstanding),
            "double_charges": faults["double_charges"],
            "lost": faults["lost"],
            "mismatches": faults["mismatches"],
        },
        kinds=dict(sorted(Counter(finding.kind for finding in findings).items())),
        currencies=_totals(payments),
        explanations=explanations[:EXPLANATIONS_MAX],
        explanations_left_out=max(0, len(explanations) - EXPLANATIONS_MAX),
        notes=list(world.terminals.notes),
    )


def _end(payment: Payment) -> str:
    """Return how a payment ended for its terminal; empty if no terminal asked for it."""
    if payment.told is not None:
        return payment.told.outcome
    if not payment.calls:
        return ""
    if not payment.sends:
        return "never_sent"
    return "unanswered" if payment.refusal is None else "refused"


def _failure(payment: Payment) -> str:
    """Return why a terminal could not do its work, through no fault of its own; empty if not."""
    if payment.told is not None:
        made_up = payment.told.code in INOPERATIVE and not _said_by_issuer(payment, payment.told)
        return f"told {payment.told.code}" if made_up and not _restarted(payment) else ""
    if payment.refusal is not None:
        status, reason = payment.refusal
        return "" if status in OWN_FAULT else f"refused: {reason}"
    return "no answer" if payment.sends else ""


def _said_by_issuer(payment: Payment, told: Told) -> bool:
    return any(entry.response_code == told.code for _, entry in payment.entries)


def _restarted(payment: Payment) -> bool:
    """Whether it was declined because the switch itself had gone away."""
    row = payment.row
    declined = row is not None and row.state == PaymentState.CONCLUDED and row.approved == 0
    return declined and any(
        RESTARTED in (attempt.doubted_why, attempt.closed_why) for attempt in payment.attempts
    )


def _moved(world: World) -> set[str]:
    """Return the payments that went to another node than the one they were first meant for."""
    delivered: dict[bytes, set[str]] = {}
    for ledger in world.ledgers.values():
        for delivery in ledger.deliveries:
            if delivery.kind == "authorization" and delivery.disposition not in NO_EFFECT:
                delivered.setdefault(delivery.reference, set()).add(delivery.node)
    return {
        str(payment.key)
        for payment in world.payments.values()
        if len(_nodes(payment.attempts, delivered)) > 1
    }


def _nodes(attempts: Iterable[Attempt], delivered: Mapping[bytes, set[str]]) -> set[str]:
    """Return the nodes that a payment was meant for or came through."""
    nodes: set[str] = set()
    for attempt in attempts:
        nodes |= {attempt.node, *delivered.get(attempt.reference, ())}
        if attempt.repeat_node:
            nodes.add(attempt.repeat_node)
    return nodes


def _totals(payments: Iterable[Payment]) -> dict[str, Totals]:
    totals: dict[str, Totals] = {}
    for payment in payments:
        total = totals.setdefault(payment.currency, Totals())
        total.terminals_minor += _known(payment)
        total.switch_minor += payment.switch_minor
        total.ledgers_minor += payment.live_minor
        total.owed_minor += payment.owed_minor
    # A payment that never became money (an unknown currency, say) has no line.
    return {currency: total for currency, total in totals.items() if total != Totals()}


def _known(payment: Payment) -> int:
    """Return what a terminal believes was taken: nothing, if it has no answer."""
    if payment.terminal_minor is not None:
        return payment.terminal_minor
    # Told of the payment but not of its reversal: it knows of the switch's word alone.
    return payment.switch_minor if payment.told is not None else 0
