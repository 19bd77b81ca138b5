"""The configuration: one TOML file, read whole, checked against itself, frozen.

Each policy's own settings are a frozen dataclass beside the policy; this room fills them. Bad input
is refused with the file, the key, what is allowed, and the key that was probably meant. Every bound
is then checked against its neighbours: a node's time-out that does not fit into the payment's is a
mistake that shows only on the worst day.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import math
import tomllib
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from switch.core.backlog import BacklogSettings
from switch.core.budget import BudgetSettings
from switch.core.choice import ChoiceSettings
from switch.core.processor import CardKey, Processor
from switch.core.response_code import meanings_with, problems_with
from switch.core.route import Route
from switch.core.routing import NodeSettings, RoutingSettings
from switch.errors import ConfigurationInvalid


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the switch listens."""

    terminals: str = "127.0.0.1:7100"
    """host:port for terminals; the host is an IP address or localhost, port 0 any free one."""
    operators: str = "127.0.0.1:7101"
    """host:port for operators."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificates, as PEM files. Without them the switch is plain text, on loopback only."""

    certificate: str = ""
    """The switch's certificate chain."""
    private_key: str = ""
    """Its private key."""
    client_authority: str = ""
    """Who signs the certificates of terminals and nodes."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long anything may take, in seconds."""

    payment_s: float = 3.0
    """The longest a payment takes, whatever its terminal would wait."""
    node_s: float = 1.0
    """How long one sending is waited for, unless its processor says otherwise."""
    conclude_margin_s: float = 0.1
    """Kept back of a payment's time for its last commit and the way to the terminal."""
    dispatch_floor_s: float = 0.05
    """With less time than this left, nothing is sent."""
    ask_again_s: float = 0.05
    """How soon a ledger that is at it, or has no free node, is asked again."""
    flight_s: float = 30.0
    """How long an unanswered sending holds its slot at most."""
    drain_s: float = 10.0
    """How long running payments are waited for when the switch is told to stop."""


@dataclass(frozen=True, slots=True)
class Identities:
    """How long a request_id is remembered, and how far ahead its time may be."""

    kept_days: int = 30
    """An older request_id is never taken for a new one."""
    future_tolerance_s: float = 300.0
    """How far a terminal's clock may be ahead."""


@dataclass(frozen=True, slots=True)
class CardKeyEntry:
    """A processor's public key."""

    key_id: str
    """The key's name; it stands in every envelope."""
    public_key: str
    """X25519, 32 bytes in base64."""
    not_after: datetime
    """No terminal is given the key after this instant, which has a time zone."""


@dataclass(frozen=True, slots=True)
class ProcessorEntry:
    """A processor's profile."""

    accepts_repeat: bool = True
    """Its ledgers keep the promises of the processor protocol, so doubt is settled by a repeat."""
    node_timeout_s: float | None = None
    """How long one sending is waited for; left out: timeouts.node_s."""
    codes: dict[str, str] = field(default_factory=dict)
    """Response codes that mean something else here: declined, technical or in_doubt."""
    card_keys: list[CardKeyEntry] = field(default_factory=list)
    """What terminals seal cards to."""


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """A node."""

    processor: str
    """Whose node it is."""
    ledger: str
    """What it stands before; nodes before one ledger may stand in for each other."""
    address: str
    """host:port"""
    tier: int = 0
    """Lower ones are asked first."""
    limit: int = 128
    """In flight at most."""
    weight: float = 1.0
    """Its share among the nodes of its tier."""


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """A route."""

    processors: list[str]
    """In order: the next is asked when the one before cannot take the payment."""
    bins: list[str] = field(default_factory=list)
    """Six digits, or a range of them, as "400000-499999"; left out: all."""
    merchants: list[str] = field(default_factory=list)
    """Merchants (MID); left out: all."""
    currencies: list[str] = field(default_factory=list)
    """ISO 4217 codes; left out: all."""


@dataclass(frozen=True, slots=True)
class Document:
    """The file, key by key."""

    switch_id: str
    """The switch's name; nodes and references know it by this, so it never changes."""
    journal: str
    """ "sqlite:PATH"; a relative path starts at the configuration's folder."""
    processors: dict[str, ProcessorEntry]
    """By name."""
    nodes: dict[str, NodeEntry]
    """By name."""
    routes: list[RouteEntry]
    """The first that takes a payment is its route; the last one takes every payment."""
    insecure: bool = False
    """Allow plain text, on loopback only."""
    reflection: bool = True
    """Let gRPC tools ask the terminals' port for its schema."""
    listen: Listen = field(default_factory=Listen)
    """Where the switch listens."""
    tls: Tls = field(default_factory=Tls)
    """Certificates."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    """How long anything may take."""
    identities: Identities = field(default_factory=Identities)
    """How long ids are remembered."""
    routing: RoutingSettings = field(default_factory=RoutingSettings)
    """How nodes are judged."""
    failover_budget: BudgetSettings = field(default_factory=BudgetSettings)
    """How often a sale may be tried at a second ledger after a technical answer."""
    reversals: BacklogSettings = field(default_factory=BacklogSettings)
    """The pace at which owed reversals are sent."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the switch runs on."""

    document: Document
    version: str
    """The first 12 characters of the SHA-256 of the file."""
    journal_path: Path
    processors: dict[str, Processor]
    nodes: tuple[NodeSettings, ...]
    routes: tuple[Route, ...]
    choices: ChoiceSettings


def load(path: Path) -> Configuration:
    """Read, check and freeze a configuration. Raises ConfigurationInvalid with every problem."""
    try:
        raw = path.read_bytes()
        data = tomllib.loads(raw.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise ConfigurationInvalid(f"{path}: {fault}") from fault
    _refuse(path, _unknown_keys(data, Document, "") + _unbounded(data, ""))
    try:
        document = msgspec.convert(data, Document)
    except msgspec.ValidationError as fault:
        raise ConfigurationInvalid(f"{path}: {str(fault).replace('`$.', '`')}") from fault
    _refuse(path, _problems(document))
    return _freeze(document, path, hashlib.sha256(raw).hexdigest()[:12])


def _refuse(path: Path, problems: list[str]) -> None:
    if problems:
        raise ConfigurationInvalid("\n".join(f"{path}: {p}" for p in problems))


def _unknown_keys(data: Any, kind: Any, where: str) -> list[str]:
    """Return a sentence for each key that its table does not have."""
    found: list[str] = []
    if is_dataclass(kind) and isinstance(data, dict):
        hints = get_type_hints(kind)
        allowed = [f.name for f in fields(kind)]
        for key, value in data.items():
            if key in hints:
                found += _unknown_keys(value, hints[key], f"{where}{key}.")
                continue
            near = difflib.get_close_matches(key, allowed, n=1)
            meant = f'; did you mean "{near[0]}"?' if near else ""
            found.append(f"unknown key {where}{key}{meant} (allowed: {', '.join(allowed)})")
    elif get_origin(kind) is dict and isinstance(data, dict):
        for key, value in data.items():
            found += _unknown_keys(value, get_args(kind)[1], f"{where}{key}.")
    elif get_origin(kind) is list and isinstance(data, list):
        for index, value in enumerate(data):
            found += _unknown_keys(value, get_args(kind)[0], f"{where}{index}.")
    return found


def _unbounded(data: Any, where: str) -> list[str]:
    """Return a sentence for each number that is none: TOML has nan and inf."""
    if isinstance(data, dict):
        return [p for key, value in data.items() for p in _unbounded(value, f"{where}{key}.")]
    if isinstance(data, list):
        return [
            p for index, value in enumerate(data) for p in _unbounded(value, f"{where}{index}.")
        ]
    if isinstance(data, float) and not math.isfinite(data):
        return [f"{where.rstrip('.')} = {data} must be a finite number"]
    return []


def _problems(document: Document) -> list[str]:
    """Return every rule the document breaks, a sentence each with its key."""
    return [
        *_timeout_problems(document),
        *_node_problems(document),
        *_route_problems(document),
        *_processor_problems(document),
        *_listen_problems(document),
        *_name_problems(document),
        *(f"routing: {p}" for p in document.routing.problems()),
        *(f"reversals: {p}" for p in document.reversals.problems()),
    ]


def _name_problems(document: Document) -> list[str]:
    names = {"switch_id": document.switch_id}
    names |= {f"nodes.{name}.ledger": node.ledger for name, node in document.nodes.items()}
    names |= {f"nodes.{name}": name for name in document.nodes}
    names |= {f"processors.{name}": name for name in document.processors}
    broken = [f"{key} must not be empty" for key, name in names.items() if not name.strip()]
    broken += [
        f'tls.{f.name} = "{path}": there is no such file'
        for f in fields(document.tls)
        if (path := getattr(document.tls, f.name)) and not Path(path).is_file()
    ]
    return broken


def _timeout_problems(document: Document) -> list[str]:
    broken = []
    t = document.timeouts
    broken += [f"timeouts.{f.name} must be above 0" for f in fields(t) if getattr(t, f.name) <= 0]
    slowest = max([t.node_s, *(p.node_timeout_s or 0 for p in document.processors.values())])
    if t.payment_s < 2 * slowest + t.conclude_margin_s:
        broken.append(
            f"timeouts.payment_s = {t.payment_s} is too short: two sendings of {slowest} s and "
            f"the conclude margin of {t.conclude_margin_s} s must fit into it"
        )
    if document.routing.breaker.permit_s <= slowest:
        broken.append(f"routing.breaker.permit_s must be above the slowest node timeout, {slowest}")
    if document.routing.stall.silence_max_s > slowest:
        broken.append(
            f"routing.stall.silence_max_s must be at most the slowest node timeout, {slowest}: "
            f"a stall that is seen after the time-outs says nothing new"
        )
    if t.flight_s < t.payment_s:
        broken.append("timeouts.flight_s must be at least timeouts.payment_s")
    if document.identities.kept_days < 1:
        broken.append("identities.kept_days must be 1 or more")
    return broken


def _node_problems(document: Document) -> list[str]:
    broken = []
    owners: dict[str, str] = {}
    if not document.nodes:
        broken.append("nodes: at least one is needed")
    for name, node in document.nodes.items():
        if node.processor not in document.processors:
            broken.append(
                f'nodes.{name}.processor = "{node.processor}" is not one of: '
                f"{', '.join(document.processors)}"
            )
        owner = owners.setdefault(node.ledger, node.processor)
        if owner != node.processor:
            broken.append(
                f'nodes.{name}.ledger = "{node.ledger}" belongs to processor "{owner}" already'
            )
        if node.limit < 2:
            broken.append(f"nodes.{name}.limit must be 2 or more")
        if node.weight <= 0:
            broken.append(f"nodes.{name}.weight must be above 0")
        if node.tier < 0:
            broken.append(f"nodes.{name}.tier must be 0 or more")
        broken += _address_problems(f"nodes.{name}.address", node.address)
    return broken


def _route_problems(document: Document) -> list[str]:
    broken = []
    for index, route in enumerate(document.routes):
        if not route.processors:
            broken.append(f"routes.{index}.processors: at least one is needed")
        broken += [
            f'routes.{index}.processors: "{name}" is not one of: {", ".join(document.processors)}'
            for name in route.processors
            if name not in document.processors
        ]
        with_nodes = {node.processor for node in document.nodes.values()}
        broken += [
            f'routes.{index}.processors: "{name}" has no node'
            for name in route.processors
            if name in document.processors and name not in with_nodes
        ]
        broken += [
            f'routes.{index}.processors: "{name}" stands there more than once'
            for name in sorted({n for n in route.processors if route.processors.count(n) > 1})
        ]
        broken += [
            f'routes.{index}.bins: "{text}" is neither six digits nor a range of them, '
            f'as "400000-499999"'
            for text in route.bins
            if _bin_range(text) is None
        ]
    last = document.routes[-1] if document.routes else None
    if last is None or last.bins or last.merchants or last.currencies:
        broken.append("routes: the last one must be the default, without bins or other conditions")
    return broken


def _processor_problems(document: Document) -> list[str]:
    broken = []
    for name, entry in document.processors.items():
        broken += [f"processors.{name}.codes: {p}" for p in problems_with(entry.codes)]
        if entry.node_timeout_s is not None and entry.node_timeout_s <= 0:
            broken.append(f"processors.{name}.node_timeout_s must be above 0")
        for key in entry.card_keys:
            if key.not_after.tzinfo is None:
                broken.append(f"processors.{name}.card_keys: not_after needs a time zone")
            if len(_key_bytes(key.public_key)) != 32:
                broken.append(
                    f"processors.{name}.card_keys: public_key of {key.key_id} must be 32 bytes "
                    f"of base64"
                )
    return broken


def _listen_problems(document: Document) -> list[str]:
    broken = _address_problems("listen.terminals", document.listen.terminals)
    broken += _address_problems("listen.operators", document.listen.operators)
    if document.tls.certificate or broken:
        return broken
    if not document.insecure:
        broken.append("tls.certificate is missing; plain text needs insecure = true")
    for key in ("terminals", "operators"):
        host = getattr(document.listen, key).rsplit(":", 1)[0].strip("[]")
        if not (host == "localhost" or ip_address(host).is_loopback):
            broken.append(f"listen.{key}: plain text is allowed on loopback only")
    return broken


def _address_problems(key: str, address: str) -> list[str]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        return [f'{key} = "{address}" is not host:port']
    if not key.startswith("listen") and int(port) == 0:
        return [f'{key} = "{address}": the port must be 1 or more']
    if key.startswith("listen"):
        try:
            ip_address(host.strip("[]"))
        except ValueError:
            if host != "localhost":
                return [f'{key} = "{address}": the host must be an IP address or localhost']
    return []


def _bin_range(text: str) -> tuple[int, int] | None:
    low, _, high = text.partition("-")
    high = high or low
    if not all(len(x) == 6 and x.isdecimal() and x.isascii() for x in (low, high)):
        return None
    return (int(low), int(high)) if int(low) <= int(high) else None


def _key_bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def _freeze(document: Document, path: Path, version: str) -> Configuration:
    scheme, _, rest = document.journal.partition(":")
    if scheme != "sqlite" or not rest:
        raise ConfigurationInvalid(
            f'{path}: journal = "{document.journal}" must be "sqlite:PATH" '
            f"(a relative path starts at the configuration's folder)"
        )
    processors = {
        name: Processor(
            name=name,
            accepts_repeat=entry.accepts_repeat,
            node_timeout_s=entry.node_timeout_s or document.timeouts.node_s,
            codes=meanings_with(entry.codes),
            card_keys=tuple(
                CardKey(
                    name,
                    key.key_id,
                    _key_bytes(key.public_key),
                    int(key.not_after.timestamp() * 1000),
                )
                for key in entry.card_keys
            ),
        )
        for name, entry in document.processors.items()
    }
    nodes = tuple(
        NodeSettings(
            name, e.processor, e.ledger, e.address, tier=e.tier, limit=e.limit, weight=e.weight
        )
        for name, e in document.nodes.items()
    )
    routes = tuple(
        Route(
            tuple(e.processors),
            tuple(r for r in map(_bin_range, e.bins) if r is not None),
            frozenset(e.merchants),
            frozenset(e.currencies),
        )
        for e in document.routes
    )
    return Configuration(
        document=document,
        version=version,
        journal_path=(path.parent / rest).resolve(),
        processors=processors,
        nodes=nodes,
        routes=routes,
        choices=ChoiceSettings(
            dispatch_floor_s=document.timeouts.dispatch_floor_s,
            ask_again_s=document.timeouts.ask_again_s,
        ),
    )
