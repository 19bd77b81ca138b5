"""The supervisor: builds the rooms, owns every task, starts and stops.

The order at start is the promise kept: the journal is opened and recovered (what was open is owed,
in one commit) before a link is opened, and the port opens last. The order at the end is its mirror:
health says no, nothing new is taken, what runs is finished, and only then do links and journal go.

A fault of ours in any task ends the process: a switch that is wrong about itself must not go on
deciding about money, and a restart is safe at every instant.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import signal
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import click

from switch.clock import SystemClock
from switch.config import Configuration, load
from switch.core.backlog import Backlog
from switch.core.budget import FailoverBudget
from switch.core.message import Refused
from switch.core.route import RouteBook
from switch.core.routing import Intent, RoutingTable
from switch.desk import OperatorDesk
from switch.dispatcher import Dispatcher, DispatcherSettings
from switch.enquiries import Enquiries
from switch.errors import ConfigurationInvalid
from switch.flow import Flow, FlowSettings
from switch.forwarder import Forwarder
from switch.observer import Observer
from switch.reversals import Reversals
from switch.rpc.health import HealthServicer, node_name
from switch.rpc.link import LinkSettings, NodeLinks
from switch.rpc.operator import OperatorServicer
from switch.rpc.server import Port, PortSettings, operator_port, terminal_port
from switch.rpc.terminal import TerminalServicer, TerminalSettings
from switch.rpc.transport import ChannelSecurity, ServerSecurity
from switch.rpc.validation import Rules, ValidationSettings
from switch.store.journal import JournalState, JournalUnusable
from switch.store.sqlite import SqliteJournal
from switch.telemetry import Counters, configure_logging, log

_JOURNAL_LOOK_S = 0.1
"""How often the journal's state is looked at."""
_COLLECT_EVERY = 50_000
"""Net allocations between two looks of the garbage collector."""
_FIRST_LINK_WITHIN_S = 1.0
"""How long the port waits for a first ready node: a terminal that comes a moment early is told to
come back in a second, which is longer than the moment."""


@dataclass(slots=True)
class _Rooms:
    """Everything that runs, wired."""

    journal: SqliteJournal
    routing: RoutingTable
    links: NodeLinks
    flow: Flow
    reversals: Reversals
    forwarder: Forwarder
    observer: Observer
    servicer: TerminalServicer
    terminals: Port
    operators: Port


class _Story:
    """What happens behind the terminals' doors: two stories and the questions about them."""

    def __init__(self, flow: Flow, reversals: Reversals, enquiries: Enquiries) -> None:
        self.accept = flow.accept
        self.reverse = reversals.reverse
        self.find = enquiries.find
        self.card_keys = enquiries.card_keys


class Supervisor:
    """Owns the tasks of one switch."""

    def __init__(self, configuration: Configuration) -> None:
        """Prepare; ``run`` does everything."""
        self._configuration = configuration
        self._clock = SystemClock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._failed = False

    async def run(self) -> int:
        """Run until told to stop; return the exit code."""
        document = self._configuration.document
        journal = await SqliteJournal.open(
            self._configuration.journal_path, document.switch_id, at_ms=self._clock.utc_ms()
        )
        try:
            recovery = await journal.recover(self._clock.utc_ms())
            rooms = await self._build(journal)
            try:
                await self._start(rooms)
                self._say_ready(rooms, recovery.owed)
                await self._stopping.wait()
            finally:
                await self._stop(rooms)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await journal.close()
        return 1 if self._failed else 0

    def stop(self) -> None:
        """Drain and end."""
        self._stopping.set()

    # --- tasks ------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run ``work`` as a task of the switch; a fault in it ends the switch."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fail(task.get_name(), fault)

    def report(self, where: str, fault: BaseException) -> None:
        """Take a fault of ours at a caller's door: the caller was told INTERNAL.

        No caller may be able to end the switch by what it sends, so only a broken assertion does:
        that one says that we are wrong about money.
        """
        if isinstance(fault, AssertionError):
            self._fail(where, fault)
        else:
            log().error("fault", where=where, exc_info=fault)

    def _fail(self, where: str, fault: BaseException) -> None:
        """Say a fault of ours, and stop deciding about money."""
        log().critical("fault", where=where, exc_info=fault)
        self._failed = True
        self._stopping.set()

    # --- start and stop ---------------------------------------------------------------------

    async def _build(self, journal: SqliteJournal) -> _Rooms:
        settings = self._configuration
        document = settings.document
        clock, counters, chance = self._clock, Counters(), random.SystemRandom()
        now = clock.now()
        routing = RoutingTable(settings.nodes, document.routing, chance, now)
        standing = {order.node: order for order in await journal.intents()}
        for order in standing.values():
            if order.node in routing.nodes and order.in_force(clock.utc_ms()):
                routing.set_intent(order.node, Intent(order.intent), now)
        dispatcher = Dispatcher(
            settings.processors, clock, DispatcherSettings(document.timeouts.flight_s)
        )
        forwarder = Forwarder(
            settings=document.reversals,
            backlog=Backlog(document.reversals, chance),
            processors=settings.processors,
            journal=journal,
            routing=routing,
            dispatcher=dispatcher,
            clock=clock,
            counters=counters,
        )
        routes = RouteBook(settings.routes)
        flow = Flow(
            switch_id=document.switch_id,
            configuration_version=settings.version,
            settings=FlowSettings(conclude_margin_s=document.timeouts.conclude_margin_s),
            choices=settings.choices,
            routes=routes,
            processors=settings.processors,
            routing=routing,
            budget=FailoverBudget(document.failover_budget, now),
            journal=journal,
            dispatcher=dispatcher,
            clock=clock,
            counters=counters,
            owe=forwarder.owe,
        )
        enquiries = Enquiries(journal, routes, settings.processors, clock)
        reversals = Reversals(flow, journal, clock, forwarder.owe)
        health = HealthServicer()
        for name in routing.nodes:
            health.set(node_name(name), False)
        observer = Observer(
            routing,
            dispatcher,
            clock,
            flow.late_answers,
            lambda node, usable: health.set(node_name(node), usable),
        )
        links = NodeLinks(
            [LinkSettings(node, self._channel_security()) for node in settings.nodes],
            switch_id=document.switch_id,
            epoch=journal.epoch,
            observer=observer,
            clock=clock,
            randomness=chance,
            spawn=self.spawn,
        )
        dispatcher.connect(links)
        observer.connect(links)
        servicer = TerminalServicer(
            _Story(flow, reversals, enquiries),
            Rules(
                ValidationSettings(
                    timeout_max_s=document.timeouts.payment_s,
                    retention_s=document.identities.kept_days * 86_400.0,
                    future_tolerance_s=document.identities.future_tolerance_s,
                )
            ),
            clock,
            self.spawn,
            TerminalSettings(),
        )
        desk = OperatorDesk(
            switch_id=document.switch_id,
            journal=journal,
            routing=routing,
            links=links,
            flow=flow,
            counters=counters,
            clock=clock,
            standing=standing,
        )
        security = self._server_security()
        return _Rooms(
            journal,
            routing,
            links,
            flow,
            reversals,
            forwarder,
            observer,
            servicer,
            terminal_port(
                PortSettings(document.listen.terminals, security, document.reflection),
                servicer,
                health,
                self.report,
            ),
            operator_port(
                PortSettings(document.listen.operators, security),
                OperatorServicer(desk, self.spawn),
                HealthServicer(),
                self.report,
            ),
        )

    async def _start(self, rooms: _Rooms) -> None:
        self.spawn(self._watch_journal(rooms), "journal watch")
        for name, pump in (
            ("intend", rooms.flow.intend()),
            ("conclude", rooms.flow.conclude()),
            ("look up", rooms.flow.look_up()),
            ("late answers", rooms.flow.late_answers.run()),
            ("reversals", rooms.reversals.run()),
            ("forwarder", rooms.forwarder.run()),
        ):
            self.spawn(pump, name)
        rooms.links.start()
        until = self._clock.now() + _FIRST_LINK_WITHIN_S
        while self._clock.now() < until and not any(
            node.usable(self._clock.now()) for node in rooms.routing.nodes.values()
        ):
            await self._clock.sleep(0.01)
        await rooms.operators.start()
        await rooms.terminals.start()
        # What is alive now lives as long as the process: the collector need not look at it again.
        # And what ends lies in no circle, so it need not look often.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_COLLECT_EVERY)

    async def _watch_journal(self, rooms: _Rooms) -> None:
        """Say aloud that the journal has stopped, and let callers look elsewhere."""
        while rooms.journal.state is JournalState.OPEN:
            await self._clock.sleep(_JOURNAL_LOOK_S)
        if rooms.journal.state is JournalState.STOPPED:
            log().critical("journal_stopped", why=rooms.journal.stopped_because)
            rooms.terminals.health.stop()

    def _say_ready(self, rooms: _Rooms, recovered: int) -> None:
        listen = self._configuration.document.listen
        ready = {
            "ready": True,
            "terminals": _address(listen.terminals, rooms.terminals.number),
            "operators": _address(listen.operators, rooms.operators.number),
            "epoch": rooms.journal.epoch,
            "recovered": recovered,
        }
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        if self._configuration.document.insecure:
            log().warning("insecure", meaning="plain text, on loopback only; never in production")

    async def _stop(self, rooms: _Rooms) -> None:
        """Drain: what runs is finished before anything is taken away."""
        rooms.terminals.health.stop()
        rooms.flow.refuse_all(Refused("SHUTTING_DOWN", "the switch is going down"))
        until = self._clock.now() + self._configuration.document.timeouts.drain_s
        while rooms.flow.running_count() and self._clock.now() < until and not self._failed:
            await self._clock.sleep(0.01)
        rooms.servicer.finish()
        await rooms.terminals.stop(grace_s=1.0)
        await rooms.operators.stop(grace_s=0.5)
        await rooms.links.close(grace_s=1.0)

    def _server_security(self) -> ServerSecurity:
        tls = self._configuration.document.tls
        if not tls.certificate:
            return ServerSecurity(insecure=self._configuration.document.insecure)
        return ServerSecurity(
            private_key=_pem(tls.private_key),
            certificate_chain=_pem(tls.certificate),
            client_authorities=_pem(tls.client_authority),
        )

    def _channel_security(self) -> ChannelSecurity:
        tls = self._configuration.document.tls
        if not tls.certificate:
            return ChannelSecurity(insecure=self._configuration.document.insecure)
        return ChannelSecurity(
            authorities=_pem(tls.client_authority),
            private_key=_pem(tls.private_key),
            certificate_chain=_pem(tls.certificate),
        )


def _pem(path: str) -> bytes | None:
    return Path(path).read_bytes() if path else None


def _address(configured: str, port: int) -> str:
    return f"{configured.rsplit(':', 1)[0]}:{port}"


async def _serve(configuration: Configuration) -> int:
    supervisor = Supervisor(configuration)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop)
    return await supervisor.run()


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def serve(file: Path) -> None:
    """Run the switch on the configuration FILE until it is told to stop (SIGTERM drains)."""
    try:
        configuration = load(file)
        configure_logging()
        sys.exit(asyncio.run(_serve(configuration)))
    except (ConfigurationInvalid, JournalUnusable) as problem:
        raise click.ClickException(str(problem)) from problem


@click.group()
def config() -> None:
    """Check or show a configuration."""


@config.command()
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Say what is wrong with the configuration FILE, or that nothing is."""
    try:
        found = load(file)
    except ConfigurationInvalid as problem:
        raise click.ClickException(str(problem)) from problem
    click.echo(f"{file}: version {found.version}, {len(found.nodes)} nodes, nothing wrong")


@click.command()
def version() -> None:
    """Show the version."""
    click.echo(installed_version("payswitch"))
