"""The episode: one task played once in one sandbox. Every other face is a thin shell on it.

Errors keep to their lanes. What the agent did wrong is an observation. What the machine did wrong
makes the episode infra-failed: :meth:`Episode.step` says so in ``stop_reason`` and
:meth:`Episode.score` in its report, never as a reward of 0. What the caller did wrong raises
:class:`~repodrome.errors.UsageError`; what we did wrong propagates.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from repodrome.envs.actions import parse_turn
from repodrome.envs.calls import CallRunner, interrupted, storable
from repodrome.envs.environment import Prepared, prepare
from repodrome.envs.events import Event, EventHandler
from repodrome.envs.limited import LimitedWorkspace
from repodrome.envs.prompt import initial_messages, observation_of, turn_messages
from repodrome.envs.rewards.base import Reward, RewardContext, RewardReport
from repodrome.envs.sandbox.base import (
    Change,
    Sandbox,
    SandboxBackend,
    SandboxSpec,
    Snapshot,
)
from repodrome.envs.trajectory import AssistantTurn, Step, StopReason, ToolResult, Trajectory
from repodrome.errors import InfraError, UsageError
from repodrome.tasks.model import RewardSpec, Task, ToolsSpec
from repodrome.tools.base import ToolContext, ToolState

if TYPE_CHECKING:
    from repodrome.tools.toolbox import Toolbox

GRACE_SECONDS = 5.0
"""How long past the episode's time a turn may take to wind up its calls."""

_TRUNCATED: frozenset[StopReason] = frozenset(
    ("max_turns", "wall_time", "max_tool_calls", "closed", "infra")
)


@dataclass(frozen=True, slots=True)
class EpisodeSnapshot:
    """An episode at one moment: the sandbox, what tools remember, the record, the limits used."""

    sandbox: Snapshot
    state: ToolState
    messages: tuple[dict[str, Any], ...]
    steps: tuple[Step, ...]
    stop_reason: StopReason | None
    final_message: str
    spent: float
    calls_used: int

    async def release(self) -> None:
        """Give the sandbox snapshot's space back; idempotent."""
        await self.sandbox.release()


@lru_cache(maxsize=256)
def _toolbox(spec: str) -> Toolbox:
    """The toolbox of a ``ToolsSpec`` given as JSON; it holds no state, so episodes share it."""
    from repodrome.tools.toolbox import Toolbox

    tools = ToolsSpec.model_validate_json(spec)
    return Toolbox.build(tools.include, tools.exclude, tools.config)


class Episode:
    """One task played once. Make it with :meth:`start`; an async context manager that closes it.

    Attributes:
        task: what it is about.
        seed: of the episode; members of a group share it.
        backend: what made its sandbox.
        sandbox: the agent's sandbox.
        change: the agent's change, once :meth:`score` has exported it.
        timings: seconds, by phase: ``prepare``, ``start``, ``steps``, ``score``.
    """

    def __init__(
        self,
        task: Task,
        seed: int,
        backend: SandboxBackend,
        prepared: Prepared,
        sandbox: Sandbox,
        toolbox: Toolbox,
        rewards: Sequence[tuple[Reward, float]],
        on_event: EventHandler | None,
    ) -> None:
        self.task = task
        self.seed = seed
        self.backend = backend
        self.sandbox = sandbox
        self.change: Change | None = None
        self.timings: dict[str, float] = {"prepare": 0.0, "start": 0.0, "steps": 0.0, "score": 0.0}
        self._prepared = prepared
        self._toolbox = toolbox
        self._rewards = tuple(rewards)
        self._on_event = on_event
        self._messages = initial_messages(task)
        self._schemas: list[dict[str, Any]] | None = None
        self._steps: list[Step] = []
        self._stop_reason: StopReason | None = None
        self._final_message = ""
        self._infra_error = ""
        self._report: RewardReport | None = None
        self._score_lock = asyncio.Lock()
        # Only time inside step() counts: a trainer may leave an episode idle for minutes.
        self._spent = 0.0
        self._step_began: float | None = None
        self._scope: asyncio.Timeout | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing: asyncio.Task[None] | None = None
        self._runner = self._make_runner(ToolState())

    def _make_runner(self, state: ToolState) -> CallRunner:
        limits = self.task.limits
        workspace = LimitedWorkspace(self.sandbox, limits.command_timeout_sec, self._remaining)
        return CallRunner(
            self._toolbox, ToolContext(workspace=workspace, state=state), limits, self._on_event
        )

    @classmethod
    async def start(
        cls,
        task: Task | str,
        *,
        seed: int = 0,
        backend: SandboxBackend | str = "bubblewrap",
        rewards: Sequence[RewardSpec] | None = None,
        on_event: EventHandler | None = None,
    ) -> Episode:
        """Prepare the task's environment (cached) and start a sandbox with it.

        Args:
            task: the task, or a reference to it: ``suite/name`` or the path of a folder.
            seed: for everything random in the episode and its grading.
            backend: the sandbox backend, or its name.
            rewards: the reward terms; default: the task's own.
            on_event: told what happens as it happens, on the event loop; keep it quick.

        Raises:
            UsageError: unknown task, backend, tool or reward, or a bad task folder.
            InfraError: the environment could not be built or the sandbox not started.
        """
        # Imported here: together they cost more than a light user of this module should pay.
        from repodrome.envs.rewards.report import rewards_of
        from repodrome.envs.sandbox.registry import get_backend
        from repodrome.tasks.suites import resolve_task

        if isinstance(task, str):
            task = resolve_task(task)
        if isinstance(backend, str):
            backend = get_backend(backend)
        if rewards is not None:
            terms = rewards_of(task.model_copy(update={"rewards": tuple(rewards)}))
        else:
            terms = rewards_of(task)
        toolbox = _toolbox(task.tools.model_dump_json())

        def progress(line: str) -> None:
            if on_event is not None:
                on_event(Event("progress", text=line))

        began = time.monotonic()
        prepared = await prepare(task, backend, progress=progress)
        ready = time.monotonic()
        sandbox = await backend.start(prepared.spec)
        episode = cls(task, seed, backend, prepared, sandbox, toolbox, terms, on_event)
        now = time.monotonic()
        episode.timings["prepare"] = ready - began
        episode.timings["start"] = now - ready
        episode._emit(Event("started", seconds=now - began))
        return episode

    # -- what can be read at any time -----------------------------------------------------------

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation in chat-completions form; it only ever grows. Don't change it."""
        return self._messages

    @property
    def tools(self) -> list[dict[str, Any]]:
        """The schemas of the agent's tools, in chat-completions form. Don't change them."""
        if self._schemas is None:
            self._schemas = self._toolbox.schemas()
        return self._schemas

    @property
    def spec(self) -> SandboxSpec:
        """What its sandbox is made of; the same object for every episode of the task."""
        return self._prepared.spec

    @property
    def steps(self) -> Sequence[Step]:
        """The steps so far."""
        return self._steps

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the episode is over; None while it goes on."""
        return self._stop_reason

    @property
    def terminated(self) -> bool:
        """The agent has finished."""
        return self._stop_reason == "finished"

    @property
    def truncated(self) -> bool:
        """A limit, the caller or an infrastructure failure ended it."""
        return self._stop_reason in _TRUNCATED

    @property
    def infra_failed(self) -> bool:
        """The machine failed: the episode says nothing about the agent and has no reward."""
        return bool(self._infra_error)

    @property
    def infra_error(self) -> str:
        """What failed, or ``""``."""
        return self._infra_error

    @property
    def report(self) -> RewardReport | None:
        """What :meth:`score` found, once it has."""
        return self._report

    @property
    def closed(self) -> bool:
        """:meth:`close` was called."""
        return self._closing is not None

    @property
    def trajectory(self) -> Trajectory:
        """The record so far, built anew at each call."""
        return Trajectory(
            task_id=self.task.id,
            seed=self.seed,
            sandbox=self.backend.name,
            steps=tuple(self._steps),
            stop_reason=self._stop_reason,
            final_message=self._final_message,
            infra_error=self._infra_error,
        )

    # -- playing --------------------------------------------------------------------------------

    async def step(self, turn: AssistantTurn | Mapping[str, Any] | str) -> Step:
        """Play one agent turn; whatever the agent did wrong comes back as an observation.

        Cancelling it ends the episode (``stop_reason`` ``"closed"``): what the interrupted call did
        to the sandbox is not known.

        Args:
            turn: the agent's turn, in any form of :mod:`repodrome.envs.actions`.

        Raises:
            UsageError: the episode is over, closed, or another step is running.
            TypeError: ``turn`` is of no type that an agent can have produced.
        """
        self._check_open("step")
        if self._stop_reason is not None:
            raise UsageError(
                f"the episode is over ({self._stop_reason}); score it, or start another one"
            )
        turn = parse_turn(turn, turn=len(self._steps))
        self._emit(Event("turn", turn=turn))
        self._step_began = time.monotonic()
        self._idle.clear()
        results: list[ToolResult | None] = [None] * len(turn.tool_calls)
        try:
            if turn.tool_calls and not turn.malformed:
                await self._run_calls(turn, results)
        except asyncio.CancelledError:
            self._stop_reason = "closed"
            raise
        finally:
            # Recorded whatever happened, so that the record never hides what touched the sandbox.
            step = self._record(turn, results)
            self._idle.set()
        self._emit(Event("step", step=step))
        if self._stop_reason is not None:
            self._emit(Event("stopped", stop_reason=self._stop_reason))
        return step

    async def _run_calls(self, turn: AssistantTurn, results: list[ToolResult | None]) -> None:
        scope = asyncio.timeout(self._remaining() + GRACE_SECONDS)
        try:
            async with scope:
                self._scope = scope
                await self._runner.run(turn.tool_calls, results)
        except TimeoutError:
            if not scope.expired():
                raise
        finally:
            self._scope = None

    def _record(self, turn: AssistantTurn, found: list[ToolResult | None]) -> Step:
        began = self._step_began or 0.0
        self._step_began = None
        seconds = time.monotonic() - began
        self._spent += seconds
        self.timings["steps"] += seconds
        self._note_end(turn)
        code = "wall_time" if self._stop_reason == "wall_time" else "closed"
        if turn.malformed:
            found, turn = [], turn.model_copy(update={"tool_calls": ()})
        results = tuple(
            result if result is not None else interrupted(call, code)
            for call, result in zip(turn.tool_calls, found, strict=True)
        )
        observation = observation_of(turn, results)
        step = Step(
            index=len(self._steps),
            turn=turn,
            results=results,
            observation=observation,
            seconds=seconds,
        )
        self._steps.append(step)
        self._messages.extend(turn_messages(turn, results, observation))
        # Once more, now that this turn is counted.
        if self._stop_reason is None and len(self._steps) >= self.task.limits.max_turns:
            self._stop_reason = "max_turns"
        return step

    def _note_end(self, turn: AssistantTurn) -> None:
        """Decide whether the episode is over; the first reason that holds is the one."""
        state = self._runner.context.state
        if self._stop_reason is not None:
            return
        if self._closing is not None:
            self._stop_reason = "closed"
        elif self._runner.infra is not None:
            self._stop_reason = "infra"
            self._infra_error = str(self._runner.infra)
        elif state.finished is not None:
            self._final_message = storable(state.finished)
            self._stop_reason = "finished"
        elif not turn.tool_calls and not turn.malformed:
            self._final_message = turn.content
            self._stop_reason = "finished"
        elif self._spent >= self.task.limits.timeout_sec:
            self._stop_reason = "wall_time"
        elif self._runner.used >= self.task.limits.max_tool_calls:
            self._stop_reason = "max_tool_calls"

    def _remaining(self) -> float:
        """Seconds of the agent's wall time that are left."""
        running = 0.0 if self._step_began is None else time.monotonic() - self._step_began
        return max(0.0, self.task.limits.timeout_sec - self._spent - running)

    # -- scoring --------------------------------------------------------------------------------

    async def score(self) -> RewardReport:
        """Freeze the sandbox, grade the agent's change in a fresh one, and compute the rewards.

        Ends an episode that is still going on (``stop_reason`` ``"closed"``). The report is kept:
        a second call returns the same one. An infrastructure failure, then or earlier, gives a
        report with ``infra_failed`` and no total.

        Raises:
            UsageError: a step is running, or the episode was closed before it was scored.
        """
        async with self._score_lock:
            if self._report is not None:
                return self._report
            began = time.monotonic()
            report = None
            try:
                if not self._infra_error:
                    async with self._exclusive("score"):
                        report = await self._grade()
            except InfraError as error:
                self._infra_error = self._infra_error or str(error)
                report = None
            if report is None:
                report = RewardReport(total=None, infra_failed=True, infra_error=self._infra_error)
            elif report.infra_failed:
                self._infra_error = report.infra_error or "the rewards report an infra failure"
            self._report = report
            self.timings["score"] = time.monotonic() - began
            self._emit(Event("scored", report=report, seconds=self.timings["score"]))
            return report

    async def _grade(self) -> RewardReport:
        from repodrome.envs.grading.grader import grade
        from repodrome.envs.rewards.report import score

        if self._stop_reason is None:
            self._stop_reason = "closed"
            self._emit(Event("stopped", stop_reason="closed"))
        if self.change is None:
            self.change = await self.sandbox.export()
        materialised = self._prepared.materialised
        verdict = await grade(
            self.task,
            self.change,
            backend=self.backend,
            spec=self._prepared.spec,
            hidden=materialised.hidden,
            pristine=materialised.workspace,
            seed=self.seed,
            python=self._prepared.python,
        )
        context = RewardContext(
            task=self.task, trajectory=self.trajectory, change=self.change, verdict=verdict
        )
        return score(context, self._rewards)

    # -- snapshots ------------------------------------------------------------------------------

    async def snapshot(self) -> EpisodeSnapshot:
        """Remember the present moment; the episode goes on.

        Raises:
            UsageError: a step is running, or it is scored or closed.
            SandboxError: the sandbox failed.
        """
        self._check_unscored("snapshot")
        async with self._exclusive("snapshot"):
            files = await self.sandbox.snapshot()
        return EpisodeSnapshot(
            sandbox=files,
            state=self._runner.context.state.copy(),
            messages=tuple(self._messages),
            steps=tuple(self._steps),
            stop_reason=self._stop_reason,
            final_message=self._final_message,
            spent=self._spent,
            calls_used=self._runner.used,
        )

    async def restore(self, snapshot: EpisodeSnapshot) -> None:
        """Go back to a snapshot of this episode, limits used included.

        Raises:
            UsageError: a step is running, or it is scored or closed.
            SandboxError: the sandbox failed.
        """
        self._check_unscored("restore")
        async with self._exclusive("restore"):
            await self.sandbox.restore(snapshot.sandbox)
        # A new list: whoever holds the old one keeps what was said in that life of the episode.
        self._messages = list(snapshot.messages)
        self._steps = list(snapshot.steps)
        self._stop_reason = snapshot.stop_reason
        self._final_message = snapshot.final_message
        self._spent = snapshot.spent
        self._runner = self._make_runner(snapshot.state.copy())
        self._runner.used = snapshot.calls_used

    async def fork(self, *, on_event: EventHandler | None = None) -> Episode:
        """A second episode that goes on from here, in a sandbox of its own.

        Args:
            on_event: told what happens in the fork; default: nobody.

        Raises:
            UsageError: a step is running, or it is scored or closed.
            SandboxError: the sandbox failed.
        """
        self._check_unscored("fork")
        began = time.monotonic()
        async with self._exclusive("fork"):
            sandbox = await self.sandbox.fork()
        other = Episode(
            self.task,
            self.seed,
            self.backend,
            self._prepared,
            sandbox,
            self._toolbox,
            self._rewards,
            on_event,
        )
        other._messages = list(self._messages)
        other._steps = list(self._steps)
        other._stop_reason = self._stop_reason
        other._final_message = self._final_message
        other._spent = self._spent
        other._runner = other._make_runner(self._runner.context.state.copy())
        other._runner.used = self._runner.used
        other.timings["start"] = time.monotonic() - began
        return other

    # -- ending ---------------------------------------------------------------------------------

    async def close(self) -> None:
        """Kill everything and give everything back. Idempotent; may be called in mid-step.

        A step that is running ends at once, with ``stop_reason`` ``"closed"``. If the caller is
        cancelled, closing goes on behind.

        Raises:
            SandboxError: the sandbox could not be taken down.
        """
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        scope = self._scope
        if scope is not None and not scope.expired():
            # Ends the running calls without cancelling the task that awaits step().
            scope.reschedule(asyncio.get_running_loop().time())
        await self._idle.wait()
        if self._stop_reason is None:
            self._stop_reason = "closed"
        await self.sandbox.close()
        self._emit(Event("closed"))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # -- checks ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def _exclusive(self, what: str) -> AsyncIterator[None]:
        """Alone on the sandbox, and ended by :meth:`close`."""
        self._check_open(what)
        self._idle.clear()
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._scope = scope
                yield
        except TimeoutError:
            if not scope.expired():
                raise
            raise UsageError(f"can't {what}: the episode was closed meanwhile") from None
        finally:
            self._scope = None
            self._idle.set()

    def _check_open(self, what: str) -> None:
        if self._closing is not None:
            raise UsageError(f"can't {what}: the episode is closed; start another one")
        if not self._idle.is_set():
            raise UsageError(f"can't {what} while a step is running; await that first")

    def _check_unscored(self, what: str) -> None:
        self._check_open(what)
        if self.change is not None or self._report is not None or self._infra_error:
            raise UsageError(f"can't {what}: the episode was scored or has failed")

    def _emit(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)
