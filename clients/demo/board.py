"""What there is to look at while a show runs; screens draw it."""

from __future__ import annotations

from dataclasses import dataclass, field

from clients.demo.chronicle import Chronicle
from clients.demo.operators import Counters, NodeView
from clients.demo.script import Cue, Script
from clients.demo.terminals import Progress


@dataclass(slots=True)
class Board:
    """The state of a show."""

    script: Script
    chronicle: Chronicle
    nodes: list[NodeView] = field(default_factory=list)
    """As the switch last said."""
    switch_answers: bool = False
    progress: Progress = field(default_factory=Progress)
    counters: Counters = field(default_factory=Counters)
    next_cue: Cue | None = None
    doing: str = "starting"
    """What goes on when no cue is next."""

    def headline(self) -> str:
        """Say what is shown, and on which terms."""
        script = self.script
        ledgers = "a ledger for each node" if script.separate_ledgers else "one shared ledger"
        return f"{script.rate:.0f} payments a second, two nodes, {ledgers}"

    def terms(self) -> str:
        """Say what is shorter here than in earnest."""
        short_s = f"{self.script.hold_down_s:g} s"
        return f"a node that comes back waits {short_s} and ramps up for {short_s}; by default 30 s"

    def upcoming(self) -> str:
        """Say what happens next, and when."""
        at_s = self.chronicle.at_s
        if self.next_cue is None or at_s is None:
            return self.doing
        return f"next: {self.next_cue.act.value} in {max(self.next_cue.at_s - at_s, 0.0):.1f} s"
