"""What may be wrong between the ledgers as a whole, a function for each kind of lie."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from clients.audit.evidence import Key
from clients.audit.finding import Finding, Found, World
from clients.audit.ledger import NO_EFFECT, Delivery, Entry, Ledger, Session


def reversals_lost(world: World) -> Iterator[Finding]:
    """A reversal that a terminal was told is taken stands in the switch's journal."""
    for wish in world.terminals.wishes.values():
        if wish.reversal is None:
            continue
        subject = str(wish.original)
        if wish.key not in world.switch.wishes:
            yield Finding("lost_reversal", subject, f"the journal lacks reversal {wish.key}")
        elif wish.reversal != "none" and not world.switch.debts.get(wish.original):
            yield Finding("lost_reversal", subject, f"told {wish.reversal}, and nothing is owed")


def reversals_given(world: World) -> Iterator[Finding]:
    """Ledgers gave back what the switch owed, and the switch knows of it what they know."""
    debts = {
        debt.reversal_reference: (key, debt)
        for key, owed in world.switch.debts.items()
        for debt in owed
    }
    given = {
        given.reversal_reference: (name, given)
        for name, ledger in world.ledgers.items()
        for given in ledger.given
    }
    for reversal_reference, (key, debt) in debts.items():
        if not debt.outstanding and reversal_reference not in given:
            text = f"no ledger has reversal {reversal_reference.hex()}"
            yield Finding("false_acknowledgement", str(key), text)
    for reversal_reference, (name, reversal) in given.items():
        owed = debts.get(reversal_reference)
        if owed is None or owed[1].reference != reversal.reference:
            subject = f"reversal {reversal_reference.hex()}"
            yield Finding("unowed_reversal", subject, f"{name} has it, the switch does not")


def books(world: World) -> Iterator[Finding]:
    """Each ledger's books add up in themselves, and no reference stands in two of them."""
    homes: dict[bytes, str] = {}
    for name, ledger in world.ledgers.items():
        given: Counter[bytes] = Counter()
        for reversal in ledger.given:
            given[reversal.reference] += reversal.reversed_minor
        for entry in ledger.entries:
            subject = str(Key(entry.terminal_id, entry.request_id))
            home = homes.setdefault(entry.reference, name)
            if home != name:
                text = f"{entry.reference.hex()} stands at {home} and at {name}"
                yield Finding("two_ledgers", subject, text)
            if given[entry.reference] != entry.reversed_minor:
                text = f"{name}: {given[entry.reference]} by reversals, {entry.reversed_minor}"
                yield Finding("books_differ", subject, f"{text} in the books")
            del given[entry.reference]
            if entry.state not in _states(entry):
                text = f"{name}: {entry.state} with {entry.live_minor} live"
                yield Finding("books_differ", subject, text)
        for reference, minor in given.items():
            if minor:
                text = f"{name} gave back {minor} of an authorization it does not have"
                yield Finding("books_differ", f"reference {reference.hex()}", text)


def _states(entry: Entry) -> tuple[str, ...]:
    if entry.live_minor > 0:
        return ("live",)
    return ("reversed",) if entry.approved_minor else ("declined", "void", "undecided")


def deliveries(world: World) -> Iterator[Finding]:
    """Nothing arrives unknown, unmarked, once more after a restart, or over a replaced link."""
    known = {
        attempt.reference: key
        for key, attempts in world.switch.attempts.items()
        for attempt in attempts
    }
    owed = {debt.reversal_reference for debts in world.switch.debts.values() for debt in debts}
    for name, ledger in world.ledgers.items():
        sent: defaultdict[bytes, list[Delivery]] = defaultdict(list)
        for delivery in ledger.deliveries:
            if delivery.kind == "authorization":
                sent[delivery.reference].append(delivery)
            elif delivery.kind == "reversal" and delivery.reversal_reference not in owed:
                subject = f"reference {delivery.reference.hex()}"
                yield Finding("sent_before_durable", subject, f"a reversal came to {name}")
        for reference, came in sent.items():
            if reference not in known:
                subject = f"reference {reference.hex()}"
                yield Finding("sent_before_durable", subject, f"it came to {name}")
                continue
            for kind, text in _deliveries_of(came):
                yield Finding(kind, str(known[reference]), f"{name}: {text}")
        yield from _stale(ledger, known)


def _deliveries_of(came: list[Delivery]) -> Found:
    """One reference's authorizations at one ledger."""
    epochs = sorted({(delivery.switch_id, delivery.epoch) for delivery in came})
    if len(epochs) > 1:
        yield "sent_after_restart", f"sent in epochs {epochs}"
    acted = [each for each in came if each.disposition not in NO_EFFECT]
    unmarked = [delivery for delivery in acted if not delivery.repeat]
    if len(unmarked) > 1:
        yield "unmarked_repeat", f"sent {len(unmarked)} times as if for the first time"


def _stale(ledger: Ledger, known: Mapping[bytes, Key]) -> Iterator[Finding]:
    """An authorization that took effect over a link when a newer one was open already."""
    opened: defaultdict[tuple[str, str], list[Session]] = defaultdict(list)
    for session in ledger.sessions:
        opened[session.node, session.switch_id].append(session)
    for delivery in ledger.deliveries:
        if delivery.kind != "authorization" or delivery.disposition in NO_EFFECT:
            continue
        link = (delivery.epoch, delivery.session)
        for session in opened[delivery.node, delivery.switch_id]:
            newer = (session.epoch, session.session) > link
            if newer and session.opened_at < delivery.at:
                subject = str(known.get(delivery.reference, delivery.reference.hex()))
                text = f"{ledger.name}: taken from link {link} of {delivery.node}"
                yield Finding("stale_delivery", subject, f"{text}, which had been replaced")
                break


def orders_kept(world: World) -> Iterator[Finding]:
    """After an acknowledged order, no authorization is in a later frame of that link."""
    for order in world.orders:
        for ledger in world.ledgers.values():
            for delivery in ledger.deliveries:
                on_link = (delivery.node, delivery.epoch, delivery.session) == order[:3]
                late = delivery.frame_number > order.frame_number
                before = order.until_frame is None or delivery.frame_number <= order.until_frame
                if delivery.kind == "authorization" and on_link and late and before:
                    text = f"in frame {delivery.frame_number} of {order.node}, after {order}"
                    yield Finding("after_the_order", delivery.reference.hex(), text)


LEDGER_CHECKS = (reversals_lost, reversals_given, books, deliveries, orders_kept)
