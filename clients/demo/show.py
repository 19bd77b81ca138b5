"""The show: plays a script on a site, and writes down what happens.

What is announced must happen: a process that ends by itself, does not come back, or does not end
politely when asked is a problem of the run, and so is a switch that still owes something when the
last payment has its answer.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable

from clients.demo.board import Board
from clients.demo.chronicle import Chronicle, ms_since
from clients.demo.crowd import Crowd
from clients.demo.operators import Counters, Operators
from clients.demo.screen import REFRESHES_PER_S, Screen
from clients.demo.script import Act, Script
from clients.demo.site import PRIMARY, SWITCH, Site
from clients.demo.terminals import PATIENCE
from clients.demo.witness import LOOK_EVERY_S, Witness
from clients.process import NotReady, Process

_HEAD_START_S = 0.5
_ANSWERS_WITHIN_S = PATIENCE.total_s + 5.0
_NOTHING_OWED_WITHIN_S = 30.0


class Upset(Exception):
    """Something went otherwise than announced, and the show cannot go on."""


class Show:
    """One demonstration."""

    def __init__(
        self, script: Script, site: Site, crowd: Crowd, chronicle: Chronicle, screen: Screen
    ) -> None:
        """Bring together what is played, who plays, and where it is watched."""
        self._script = script
        self._site = site
        self._crowd = crowd
        self._chronicle = chronicle
        self._screen = screen
        self._board = Board(script, chronicle)
        self._counted_before = Counters()
        self._next_at = 0.0

    async def play(self) -> None:
        """Play from the first process to the last. Raises Upset or NotReady."""
        async with Operators(self._site.operators_address) as operators:
            self._witness = Witness(operators, self._crowd, self._chronicle)
            try:
                async with asyncio.TaskGroup() as behind:
                    drawing = behind.create_task(self._draw())
                    asking = behind.create_task(self._ask(operators))
                    await self._open()
                    listening = behind.create_task(self._crowd.listen())
                    guarding = behind.create_task(self._guard())
                    async with asyncio.TaskGroup() as self._watching:
                        await self._play_acts()
                    await self._settle()
                    for task in (asking, listening, guarding):
                        task.cancel()
                    await self._end()
                    drawing.cancel()
            except* (Upset, NotReady) as faults:
                raise _first(faults) from faults
            finally:
                self._screen.draw(self._board)

    # --- acts

    async def _open(self) -> None:
        recovered = (await self._site.open()).get("recovered", 0)
        if recovered:
            raise Upset(f"a new switch recovered {recovered} payments")
        await self._crowd.open()
        for name, process in self._site.running.items():
            self._chronicle.say(f"{name} runs, process {process.pid}")
        began_at = time.monotonic() + _HEAD_START_S
        self._chronicle.began_at = began_at
        self._crowd.begin(began_at)

    async def _play_acts(self) -> None:
        """Do what the script says, when it says so."""
        acts: dict[Act, Callable[[], Awaitable[None]]] = {
            Act.KILL_PRIMARY: self._kill_primary,
            Act.RESTART_PRIMARY: self._restart_primary,
            Act.KILL_SWITCH: self._kill_switch,
            Act.STOP_SALES: self._stop_sales,
        }
        began_at = self._chronicle.began_at
        assert began_at is not None, "the show is not open"
        await _until(began_at)
        self._chronicle.note("sales_began")
        cues = list(self._script.cues())
        for cue, following in zip(cues, [*cues[1:], None], strict=True):
            self._board.next_cue = cue
            await _until(began_at + cue.at_s)
            self._board.next_cue = following
            self._next_at = began_at + (following or cue).at_s
            await acts[cue.act]()

    async def _kill_primary(self) -> None:
        process, killed_at = self._site.kill(PRIMARY), time.monotonic()
        self._chronicle.say(f"the primary is killed (kill -9 {process.pid})")
        self._expect_killed(PRIMARY, process)
        event = self._chronicle.note("primary_killed", unusable_ms=None, breaker_opened_ms=None)
        self._watching.create_task(self._witness.see_fall(event, killed_at, self._next_at))

    async def _restart_primary(self) -> None:
        started_at = time.monotonic()
        process = await self._site.start(PRIMARY)
        self._chronicle.say(f"the primary is restarted, process {process.pid}")
        ready_ms = ms_since(started_at)
        event = self._chronicle.note("primary_restarted", ready_ms=ready_ms, leads_ms=None)
        self._watching.create_task(self._witness.see_return(event, started_at, self._next_at))

    async def _kill_switch(self) -> None:
        process, killed_at = self._site.kill(SWITCH), time.monotonic()
        self._counted_before = self._board.counters
        self._chronicle.say(f"the switch is killed (kill -9 {process.pid}) and started at once")
        self._expect_killed(SWITCH, process)
        self._chronicle.note("switch_killed")
        self._crowd.mark()
        restarted = await self._site.start(SWITCH)
        recovered = restarted.ready.get("recovered", 0)
        self._chronicle.say(
            f"the switch is back, process {restarted.pid}; payments found open: {recovered}"
        )
        event = self._chronicle.note(
            "switch_restarted",
            ready_ms=ms_since(killed_at),
            first_answer_ms=None,
            recovered=recovered,
        )
        self._watching.create_task(
            self._witness.see_first_answer(event, killed_at, _ANSWERS_WITHIN_S)
        )

    async def _stop_sales(self) -> None:
        self._chronicle.note("sales_stopped")
        self._chronicle.say("no new sales; terminals wait for their last answers")

    async def _settle(self) -> None:
        """Wait until every terminal has its answer and the switch owes nothing."""
        chronicle = self._chronicle
        assert chronicle.began_at is not None, "the show is not open"
        self._board.doing = "waiting for the last answers"
        if not await _within(_ANSWERS_WITHIN_S, self._crowd.finished()):
            chronicle.problems.append(f"terminals still waited after {_ANSWERS_WITHIN_S:.0f} s")
            return
        chronicle.seconds = round(time.monotonic() - chronicle.began_at, 3)
        chronicle.note("all_answered")
        chronicle.say("every terminal has its answer")
        self._board.doing = "waiting until the switch owes nothing"
        if not await _within(_NOTHING_OWED_WITHIN_S, self._witness.see_nothing_owed()):
            owed = f"{self._board.counters.owed} reversals after {_NOTHING_OWED_WITHIN_S:.0f} s"
            chronicle.problems.append(f"the switch still owed {owed}")
            return
        chronicle.note("nothing_owed")
        chronicle.say("the switch owes nothing")

    async def _end(self) -> None:
        self._board.doing = "ending every process politely"
        await self._crowd.leave()
        codes = await self._site.close()
        self._chronicle.note("ended")
        self._chronicle.problems += [
            f"{name} ended with {code} when it was asked to end"
            for name, code in codes.items()
            if code
        ]
        self._board.doing = "reading the three ledgers"

    def _expect_killed(self, name: str, process: Process) -> None:
        if process.exit_code != -signal.SIGKILL:
            self._chronicle.problems.append(f"{name} ended with {process.exit_code}, not SIGKILL")

    # --- behind

    async def _draw(self) -> None:
        """Draw a few times a second."""
        while True:
            self._board.progress = self._crowd.total
            self._screen.draw(self._board)
            await asyncio.sleep(1 / REFRESHES_PER_S)

    async def _ask(self, operators: Operators) -> None:
        """Ask what operators see, a few times a second."""
        while True:
            nodes, counters = await asyncio.gather(operators.nodes(), operators.counters())
            self._board.switch_answers = nodes is not None
            self._board.nodes = nodes or self._board.nodes
            if counters is not None:
                self._board.counters = counters.after(self._counted_before)
            await asyncio.sleep(1 / REFRESHES_PER_S)

    async def _guard(self) -> None:
        """Stop the show at once when a process ends that nobody has ended."""
        while True:
            for name in self._site.dead():
                process = self._site.running[name]
                if name not in self._crowd.names or process.exit_code != 0:
                    why = f"{name} ended by itself, with {process.exit_code}"
                    raise Upset(f"{why}: see {process.log}")
            await asyncio.sleep(LOOK_EVERY_S)


async def _until(instant: float) -> None:
    await asyncio.sleep(max(instant - time.monotonic(), 0.0))


async def _within(seconds: float, wanted: Awaitable[None]) -> bool:
    try:
        await asyncio.wait_for(wanted, seconds)
    except TimeoutError:
        return False
    return True


def _first(fault: BaseException) -> BaseException:
    return _first(fault.exceptions[0]) if isinstance(fault, BaseExceptionGroup) else fault
