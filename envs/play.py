"""Playing turns: what a turn runs, what follows it, and when the episode is over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from repodrome.envs.actions import parse_turn
from repodrome.envs.calls import CallRunner, not_run
from repodrome.envs.environment import Prepared
from repodrome.envs.events import Event, EventHandler
from repodrome.envs.followup import hear_user, next_context
from repodrome.envs.gate import Gate
from repodrome.envs.limited import LimitedWorkspace
from repodrome.envs.record import Record
from repodrome.envs.sandbox.base import Sandbox
from repodrome.envs.search_index import EpisodeIndex
from repodrome.envs.setting import Setting
from repodrome.envs.stopwatch import Stopwatch
from repodrome.envs.trajectory import AssistantTurn, Opening, Step, ToolResult, storable
from repodrome.envs.user import SimulatedUser
from repodrome.errors import InfraError, UsageError
from repodrome.tools.base import ToolContext, ToolState

GRACE_SECONDS = 5.0
"""How long past the episode's time a turn may take to wind up its calls."""


class Play:
    """The agent's side of one episode: its turns, until one of them is the last.

    Args:
        setting: what is settled about the episode.
        prepared: what the sandbox is made of.
        sandbox: the agent's sandbox.
        gate: held while a turn works in the sandbox.
        on_event: told what happens.

    Attributes:
        record: what has happened.
        seconds: inside of turns, those that were taken back included.
    """

    def __init__(
        self,
        setting: Setting,
        prepared: Prepared,
        sandbox: Sandbox,
        gate: Gate,
        on_event: EventHandler | None,
    ) -> None:
        self.seconds = 0.0
        self._user = setting.user
        self._budget = setting.budget
        self._limits = setting.task.limits
        self._toolbox = setting.toolbox
        self._prepared = prepared
        self._sandbox = sandbox
        self._gate = gate
        self._on_event = on_event
        self._watch = Stopwatch()
        self._began: float | None = None
        record = Record(setting.budget.counter, setting.budget.schemas)
        record.open(setting.initial)
        self.go_on_from(record, ToolState())

    def go_on_from(self, record: Record, state: ToolState) -> None:
        """Let what has happened be this; both are changed from here on."""
        self.record = record
        workspace = LimitedWorkspace(
            self._sandbox, self._limits.command_timeout_sec, self._remaining
        )
        index = EpisodeIndex(self._prepared, self._sandbox, self._untimed)
        context = ToolContext(workspace=workspace, state=state, index=index)
        self._runner = CallRunner(
            self._toolbox, context, self._limits, self._remaining, record.calls, self._on_event
        )

    @property
    def state(self) -> ToolState:
        """What the tools remember."""
        return self._runner.context.state

    async def turn(self, given: AssistantTurn | Mapping[str, Any] | str) -> Step:
        """Play one turn: as :meth:`repodrome.envs.episode.Episode.step`."""
        self._gate.check("step")
        record = self.record
        if record.stop_reason is not None:
            raise UsageError(
                f"the episode is over ({record.stop_reason}); score it, or start another one"
            )
        turn = parse_turn(given, turn=len(record.steps))
        self._emit(Event("turn", turn=turn))
        self._began = self._watch.now()
        results: list[ToolResult | None] = [None] * len(turn.tool_calls)
        try:
            if record.asked:
                results = [not_run(call) for call in turn.tool_calls]
            elif turn.tool_calls and not turn.malformed:
                async with self._gate.hold("step", self._remaining() + GRACE_SECONDS, quiet=True):
                    await self._runner.run(turn.tool_calls, results)
        except asyncio.CancelledError:
            record.stop_reason = "closed"
            raise
        finally:
            # Recorded whatever happened, so that the record never hides what touched the sandbox;
            # and before anything is awaited, so that whoever waits for the gate finds it recorded.
            self._finish_turn(turn, results)
        opened = await self._follow_up()
        step = record.steps[-1]
        self._emit(Event("step", step=step))
        if opened is not None:
            self._emit(Event("segment", opening=opened))
        if record.stop_reason is not None:
            self._emit(Event("stopped", stop_reason=record.stop_reason))
        return step

    def _finish_turn(self, turn: AssistantTurn, results: Sequence[ToolResult | None]) -> None:
        began, self._began = self._began or 0.0, None
        seconds = self._watch.now() - began
        record = self.record
        record.spent += seconds
        record.calls = self._runner.used
        self.seconds += seconds
        self._note_end(turn)
        if self._budget.tokens:
            results = self._budget.fit(results, record.tokens_with(turn))
        record.add(turn, results, seconds)
        # Only now, since this turn counts as well.
        if record.stop_reason is None and len(record.steps) >= self._limits.max_turns:
            record.stop_reason = "max_turns"

    def _note_end(self, turn: AssistantTurn) -> None:
        """Decide whether the episode is over; the first reason that holds is the one."""
        record, limits = self.record, self._limits
        if record.stop_reason is not None:
            return
        if self._gate.is_shut:
            record.stop_reason = "closed"
        elif self._runner.infra is not None:
            record.stop_reason = "infra"
            record.infra_error = str(self._runner.infra)
        elif self._handed_over(turn) and (self._user is None or self._is_last_turn()):
            self._finish(turn)
        elif record.spent >= limits.timeout_sec:
            record.stop_reason = "wall_time"
        elif record.calls >= limits.max_tool_calls:
            record.stop_reason = "max_tool_calls"

    def _handed_over(self, turn: AssistantTurn) -> bool:
        """The agent finished, or answered with plain text where no summary was asked for."""
        plain = not turn.tool_calls and not turn.malformed and not self.record.asked
        return plain or self.state.finished is not None

    def _is_last_turn(self) -> bool:
        """No limit leaves room for a further turn behind the one that is played."""
        limits, record = self._limits, self.record
        return (
            len(record.steps) + 1 >= limits.max_turns
            or record.calls >= limits.max_tool_calls
            or record.spent >= limits.timeout_sec
        )

    def _finish(self, turn: AssistantTurn) -> None:
        said = self.state.finished
        self.record.final_message = turn.content if said is None else storable(said)
        self.record.stop_reason = "finished"

    async def _follow_up(self) -> Opening | None:
        """Tell the agent what it has to know beside its results; gives the context that began."""
        record = self.record
        hears = self._user is not None and not record.asked
        full = bool(record.asked) or self._budget.reached(record.tokens)
        if record.stop_reason is not None or not (hears or full):
            return None
        opened = None
        try:
            async with self._gate.hold("step", quiet=True):
                if self._user is not None and not record.asked:
                    await self._hear(self._user)
                full = bool(record.asked) or self._budget.reached(record.tokens)
                if full and record.stop_reason is None:
                    left = self._limits.max_turns - len(record.steps)
                    opened = await next_context(
                        self._budget, record, self._sandbox, self.state, turns_left=left
                    )
        except asyncio.CancelledError:
            record.stop_reason = "closed"
            raise
        except InfraError as error:
            record.stop_reason, record.infra_error = "infra", str(error)
        if self._gate.is_shut and record.stop_reason is None:
            record.stop_reason = "closed"
        return opened

    async def _hear(self, user: SimulatedUser) -> None:
        """Let the user speak; an agent that waits for a word and gets none has finished."""
        turn = self.record.steps[-1].turn
        waits = self._handed_over(turn)
        spoke = await hear_user(user, self.record, self._sandbox, self.state, handed_over=waits)
        if waits and not spoke:
            self._finish(turn)

    def _remaining(self) -> float:
        """Seconds of the agent's wall time that are left."""
        running = 0.0 if self._began is None else self._watch.now() - self._began
        return max(0.0, self._limits.timeout_sec - self.record.spent - running)

    @contextmanager
    def _untimed(self) -> Iterator[None]:
        """What is awaited in it is the machine's doing, and not of the agent's wall time."""
        with self._watch.stopped(), self._gate.paused():
            yield

    def _emit(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)
