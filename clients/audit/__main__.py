"""The audit's command line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from clients.audit.by_ledger import LEDGER_CHECKS
from clients.audit.by_payment import PAYMENT_CHECKS
from clients.audit.evidence import Unreadable
from clients.audit.finding import Finding, Order, World
from clients.audit.ledger import read_ledgers
from clients.audit.payment import assemble
from clients.audit.report import Report, report
from clients.audit.switch import read_switch
from clients.audit.terminals import read_terminals

EXIT_AGREE, EXIT_DIFFER, EXIT_UNREADABLE = 0, 1, 2


def judge(
    terminals: Sequence[Path],
    switch: Path,
    ledgers: Sequence[Path],
    orders: Sequence[Path] = (),
) -> Report:
    """Read all files and judge them. Raises Unreadable."""
    if len({path.resolve() for path in terminals}) < len(terminals):
        raise Unreadable("a terminals' journal was given twice")
    heard, journal, books = read_terminals(terminals), read_switch(switch), read_ledgers(ledgers)
    named = {attempt.ledger for attempts in journal.attempts.values() for attempt in attempts}
    if lacking := sorted(named - set(books)):
        raise Unreadable(f"the switch used ledgers that were not given: {', '.join(lacking)}")
    payments = assemble(heard, journal, books)
    world = World(heard, journal, books, payments, _read_orders(orders))
    return report(world, find_all(world))


def find_all(world: World) -> list[Finding]:
    """Return all that is wrong."""
    findings = [
        Finding(kind, str(payment.key), text)
        for payment in world.payments.values()
        for check in PAYMENT_CHECKS
        for kind, text in check(payment)
    ]
    for check_ledgers in LEDGER_CHECKS:
        findings += check_ledgers(world)
    return findings


def _read_orders(paths: Sequence[Path]) -> tuple[Order, ...]:
    orders = []
    for path in paths:
        try:
            for line in path.read_text(encoding="utf-8").splitlines():
                fields = json.loads(line)
                orders.append(
                    Order(
                        fields["node"],
                        fields["epoch"],
                        fields["session"],
                        fields["frame_number"],
                        fields.get("until_frame"),
                    )
                )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Unreadable(f"{path}: {error!r}") from error
    return tuple(orders)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="payswitch audit ledgers",
        description="Compare the ledgers of terminals, switch and processors, to the cent, "
        "read-only. The files should be at rest.",
        epilog="Exit code 0: they agree. 1: money is charged twice, lost or mismatched, or a "
        "payment is unanswered. 2: they could not be judged.",
    )
    add = parser.add_argument
    add("--terminals", nargs="+", type=Path, required=True, metavar="FILE", help="JSON lines")
    add("--switch", type=Path, required=True, metavar="FILE", help="the switch's journal")
    add("--ledger", nargs="+", type=Path, required=True, metavar="FILE", help="all processors'")
    add("--orders", nargs="+", type=Path, default=[], metavar="FILE", help="acknowledged orders")
    add("--json", action="store_true", help="one JSON object on one line")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the audit; return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        verdict = judge(options.terminals, options.switch, options.ledger, options.orders)
    except Unreadable as unreadable:
        sys.stderr.write(f"not audited: {unreadable}\n")
        if options.json:
            sys.stdout.write(json.dumps({"passed": False, "unreadable": str(unreadable)}) + "\n")
        return EXIT_UNREADABLE
    sys.stdout.write((verdict.as_json() if options.json else verdict.as_text()) + "\n")
    return EXIT_AGREE if verdict.passed else EXIT_DIFFER


if __name__ == "__main__":
    sys.exit(main())
