"""What is seen of the nodes: from the links' reports to the routing table, and back as facts.

The links report, the core judges, and this room carries between them: it asks for the echoes a
half-open breaker wants, tells the dispatcher of a node that fell silent, and logs what changed.
"""

from __future__ import annotations

from collections.abc import Callable

from switch.clock import Clock, Wake
from switch.core.message import NodeAnswer
from switch.core.routing import RoutingTable
from switch.dispatcher import Dispatcher
from switch.late_answers import LateAnswers
from switch.ports import EchoSource
from switch.telemetry import log


class Observer:
    """Feeds the routing table with what the links see."""

    def __init__(
        self,
        routing: RoutingTable,
        dispatcher: Dispatcher,
        clock: Clock,
        late_answers: LateAnswers,
        tell_usable: Callable[[str, bool], None],
    ) -> None:
        """Wire the ports; ``tell_usable`` hears whether a node may be used, when that changes."""
        self._routing = routing
        self._dispatcher = dispatcher
        self._clock = clock
        self._late_answers = late_answers
        self._tell_usable = tell_usable
        self._usable = dict.fromkeys(routing.nodes, False)
        self._echoes: EchoSource | None = None
        self._wake = Wake(clock, self.look)

    def connect(self, echoes: EchoSource) -> None:
        """Name who sends echoes; until then none are asked for."""
        self._echoes = echoes

    def look(self) -> None:
        """Let time pass for the nodes, and act on what changed."""
        now = self._clock.now()
        self._wake.at(self._routing.due(now))
        for fact in self._routing.take_facts():
            log().warning(fact.name, node=fact.node, why=fact.why)
            if fact.name == "stalled":
                self._dispatcher.stalled(fact.node)
        for name, node in self._routing.nodes.items():
            if self._echoes is not None and node.wants_echo(now):
                self._echoes.request_echo(name)
            usable = node.usable(now)
            if usable is not self._usable[name]:
                self._usable[name] = usable
                self._tell_usable(name, usable)

    # --- the links' reports ----------------------------------------------------------------------

    def link_ready(self, node: str, accepts_repeat: bool) -> None:
        """A link is ready for business."""
        seen = self._routing.nodes[node]
        seen.link_ready(self._clock.now())
        log().info("link_ready", node=node, accepts_repeat=accepts_repeat)
        if not accepts_repeat:
            self._late_answers.distrusted.add(seen.settings.ledger)
        self.look()

    def link_refused(self, node: str, why: str) -> None:
        """A node is not the one that is configured."""
        log().error("link_refused", node=node, why=why)

    def link_draining(self, node: str) -> None:
        """A link takes no new items and finishes what is in flight."""
        self._routing.nodes[node].link_draining(self._clock.now())
        self.look()

    def link_lost(self, node: str, why: str) -> None:
        """A link has ended; what it held is settled after this."""
        self._routing.nodes[node].link_lost(self._clock.now())
        log().warning("link_lost", node=node, why=why)
        self.look()

    def echo_answered(self, node: str) -> None:
        """A node has answered an echo over its link."""
        self._routing.nodes[node].echo_answered(self._clock.now())
        self.look()

    def health_checked(self, node: str, ok: bool) -> None:
        """A node's health service has answered, or has not."""
        self._routing.nodes[node].health_checked(ok, self._clock.now())
        self.look()

    def late_answer(self, node: str, said: NodeAnswer) -> None:
        """A node has answered what nothing in flight asked."""
        self._late_answers.stranger(node, said)
