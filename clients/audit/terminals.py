"""The first ledger: what the terminals wrote down, as JSON lines."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from clients.audit.evidence import Key, Unreadable


class Contents(NamedTuple):
    """What makes a request this request and no other."""

    amount_minor: int
    currency: str
    kind: str
    bin: str
    last_four: str
    merchant_id: str


class Told(NamedTuple):
    """An answer as a terminal heard it: equal for ever, however often it asks."""

    outcome: str
    """approved or declined"""
    code: str
    approved_minor: int
    currency: str
    authorization_code: str

    @property
    def approved(self) -> bool:
        """Whether it is an approval."""
        return self.outcome == "approved"


@dataclass(slots=True)
class Call:
    """One call of a terminal for a payment, with all its sends."""

    contents: Contents
    sends: int = 0
    told: Told | None = None
    refused: tuple[str, str] | None = None
    """The gRPC status and the reason of the refusal it ended with."""


@dataclass(slots=True)
class Wish:
    """A terminal's reversal."""

    key: Key
    original: Key
    reversal: str | None = None
    """none, owed or acknowledged; None: it was never answered."""
    reversed_minor: int = 0
    refused: bool = False


@dataclass(slots=True)
class Terminals:
    """All terminals' journals as one."""

    calls: dict[Key, dict[str, Call]] = field(default_factory=lambda: defaultdict(dict))
    wishes: dict[Key, Wish] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_terminals(paths: Iterable[Path]) -> Terminals:
    """Read terminals' journals. Raises Unreadable."""
    terminals = Terminals()
    for path in paths:
        try:
            *lines, tail = path.read_bytes().split(b"\n")
        except OSError as error:
            raise Unreadable(f"{path}: {error.strerror}") from error
        for number, line in enumerate(lines, 1):
            try:
                _read(terminals, json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise Unreadable(f"{path}, line {number}: {error!r}") from error
        if tail:
            # A line is one write that ends in a line feed. This one was cut off by a crash, so
            # what it was to say was never acted upon.
            terminals.notes.append(f"{path}: its last line is cut off and was left out")
    return terminals


def _read(terminals: Terminals, line: dict[str, Any]) -> None:
    event, key = line["event"], Key(line["terminal_id"], line["request_id"])
    if event.startswith("reversal_"):
        _read_wish(terminals, key, event.removeprefix("reversal_"), line)
    elif event == "intended":
        contents = Contents._make(line[name] for name in Contents._fields)
        terminals.calls[key][line["call"]] = Call(contents)
    else:
        _read_call(terminals.calls[key][line["call"]], event, line)


def _read_call(call: Call, event: str, line: dict[str, Any]) -> None:
    if event == "sent":
        call.sends += 1
    elif event == "answered":
        call.told = Told(
            line["outcome"],
            line["code"],
            line["approved_amount_minor"],
            line["approved_currency"],
            line["authorization_code"],
        )
    elif event == "refused":
        call.refused = line["status"], line["reason"]
    elif event not in {"failed", "gave_up"}:
        raise ValueError(f"no event is called {event}")


def _read_wish(terminals: Terminals, key: Key, event: str, line: dict[str, Any]) -> None:
    if event == "intended":
        original = Key(key.terminal_id, line["original_request_id"])
        terminals.wishes.setdefault(key, Wish(key, original))
        return
    wish = terminals.wishes[key]
    if event == "answered":
        wish.reversal = line["reversal"]
        wish.reversed_minor = line["reversed_amount_minor"]
    elif event == "refused":
        wish.refused = True
    elif event not in {"sent", "failed", "gave_up"}:
        raise ValueError(f"no event is called reversal_{event}")
