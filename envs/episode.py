"""The episode: one task played once in one sandbox. Every other face is a thin shell on it.

Errors keep to their lanes. What the agent did wrong is an observation. What the machine did wrong
makes the episode infra-failed: :meth:`Episode.step` says so in ``stop_reason`` and
:meth:`Episode.score` in its report, never as a reward of 0. What the caller did wrong raises
:class:`~repodrome.errors.UsageError`; what we did wrong propagates.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from repodrome.envs.actions import parse_turn
from repodrome.envs.calls import CallRunner, not_run
from repodrome.envs.context import ContextBudget, budget_for
from repodrome.envs.environment import Prepared, prepare
from repodrome.envs.events import Event, EventHandler
from repodrome.envs.followup import hear_user, next_context
from repodrome.envs.gate import Gate
from repodrome.envs.limited import LimitedWorkspace
from repodrome.envs.prompt import initial_messages, segments_of
from repodrome.envs.record import Record
from repodrome.envs.rewards.base import RewardContext, RewardReport
from repodrome.envs.sandbox.base import (
    Change,
    Sandbox,
    SandboxBackend,
    SandboxSpec,
    Snapshot,
)
from repodrome.envs.search_index import EpisodeIndex
from repodrome.envs.tokens import Tokenizer
from repodrome.envs.trajectory import (
    AssistantTurn,
    Opening,
    Segment,
    Step,
    StopReason,
    ToolResult,
    Trajectory,
    storable,
)
from repodrome.envs.user import SimulatedUser, user_of
from repodrome.errors import InfraError, UsageError
from repodrome.tasks.model import Task, ToolsSpec
from repodrome.tools.base import ToolContext, ToolState

if TYPE_CHECKING:
    from pathlib import Path

    from repodrome.envs.rewards.plan import RewardPlan
    from repodrome.envs.rewards.report import RewardLike
    from repodrome.envs.rewards.rules import RulesFile
    from repodrome.envs.rewards.steps import StepScorer
    from repodrome.tools.toolbox import Toolbox

GRACE_SECONDS = 5.0
"""How long past the episode's time a turn may take to wind up its calls."""

_TRUNCATED: frozenset[StopReason] = frozenset(
    ("max_turns", "wall_time", "max_tool_calls", "closed", "infra")
)


@dataclass(frozen=True, slots=True)
class EpisodeSnapshot:
    """An episode at one moment: the sandbox, what tools remember, what has happened."""

    sandbox: Snapshot
    state: ToolState
    record: Record

    async def release(self) -> None:
        """Give the sandbox snapshot's space back; idempotent."""
        await self.sandbox.release()


@lru_cache(maxsize=256)
def _perturbed(spec: str, key: str) -> Toolbox:
    """What members of a group share."""
    return _toolbox(spec).perturbed(ToolsSpec.model_validate_json(spec).perturb, key)


@lru_cache(maxsize=256)
def _toolbox(spec: str) -> Toolbox:
    """The toolbox of a ``ToolsSpec`` given as JSON; it holds no state, so episodes share it."""
    from repodrome.tools.presentation import Presentation
    from repodrome.tools.toolbox import Toolbox

    tools = ToolsSpec.model_validate_json(spec)
    presentation = Presentation(
        rename=tools.rename, describe=tools.describe, checks=tools.checks, hints=tools.hints
    )
    return Toolbox.build(
        tools.include,
        tools.exclude,
        tools.config,
        read_only=tools.read_only,
        presentation=presentation,
    )


def toolbox_for(task: Task, seed: int) -> Toolbox:
    """The tools of an episode, as its agent sees them.

    Raises:
        UsageError: the task names a tool, parameter or setting that isn't there.
    """
    spec = task.tools.model_dump_json()
    return _perturbed(spec, f"{seed} {task.id}") if task.tools.perturb else _toolbox(spec)


class Episode:
    """One task played once. Make it with :meth:`start`; an async context manager that closes it.

    Attributes:
        task: what it is about.
        seed: of the episode; members of a group share it.
        backend: what made its sandbox.
        sandbox: the agent's sandbox.
        change: the agent's change, once :meth:`score` has exported it.
        training_step: the trainer's step, on which weights may depend; looked at by :meth:`score`.
        scored: all that the rewards looked at, once :meth:`score` has a report.
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
        plan: RewardPlan,
        on_event: EventHandler | None,
        budget: ContextBudget,
        user: SimulatedUser | None,
        initial: Sequence[Mapping[str, Any]],
    ) -> None:
        self.task = task
        self.seed = seed
        self.backend = backend
        self.sandbox = sandbox
        self.change: Change | None = None
        self.timings: dict[str, float] = {"prepare": 0.0, "start": 0.0, "steps": 0.0, "score": 0.0}
        self._prepared = prepared
        self._toolbox = toolbox
        self.training_step: int | None = None
        self.scored: RewardContext | None = None
        self._plan = plan
        self._on_event = on_event
        self._budget = budget
        self._user = user
        self._schemas: list[dict[str, Any]] | None = None
        self._report: RewardReport | None = None
        self._score_lock = asyncio.Lock()
        self._step_began: float | None = None
        self._gate = Gate()
        self._closing: asyncio.Task[None] | None = None
        self._record = Record(budget.counter, budget.schemas)
        self._record.open(initial)
        self._runner = self._make_runner(ToolState())

    def _make_runner(self, state: ToolState) -> CallRunner:
        limits = self.task.limits
        workspace = LimitedWorkspace(self.sandbox, limits.command_timeout_sec, self._remaining)
        index = EpisodeIndex(self._prepared, self.sandbox)
        context = ToolContext(workspace=workspace, state=state, index=index)
        used = self._record.calls
        return CallRunner(self._toolbox, context, limits, self._remaining, used, self._on_event)

    @classmethod
    async def start(
        cls,
        task: Task | str,
        *,
        seed: int = 0,
        backend: SandboxBackend | str = "bubblewrap",
        context_budget: int | None = None,
        tokenizer: Tokenizer | str | None = None,
        rewards: Sequence[RewardLike] | None = None,
        rules: RulesFile | Path | str | None = None,
        training_step: int | None = None,
        user: SimulatedUser | None = None,
        on_event: EventHandler | None = None,
    ) -> Episode:
        """Prepare the task's environment (cached) and start a sandbox with it.

        Args:
            task: the task, or a reference to it: ``suite/name`` or the path of a folder.
            seed: for everything random in the episode and its grading.
            backend: the sandbox backend, or its name.
            context_budget: tokens that the context may hold, 0 without bound; default: the task's.
            tokenizer: counts them: a function of a text, or a name; default: the task's.
            rewards: the reward terms, as specs, names, tables or objects; default: the task's own.
            rules: a rules file, which changes them; read again when the episode is scored.
            training_step: the trainer's step, for weights with a schedule.
            user: who is asked after each turn; default: the task's own simulated user, if any.
            on_event: told what happens as it happens, on the event loop; keep it quick.

        Raises:
            UsageError: unknown task, backend, tool, reward or tokenizer, a bad task folder, or a
                context budget that the task's prompt doesn't fit into.
            InfraError: the environment could not be built or the sandbox not started.
        """
        # Imported here: together they cost more than a light user of this module should pay.
        from repodrome.envs.rewards.plan import RewardPlan
        from repodrome.envs.rewards.rules import rules_file
        from repodrome.envs.sandbox.registry import get_backend
        from repodrome.tasks.suites import resolve_task

        if isinstance(task, str):
            task = resolve_task(task)
        if isinstance(backend, str):
            backend = get_backend(backend)
        toolbox = toolbox_for(task, seed)
        initial = initial_messages(task, toolbox.name_of("finish"))
        if user is None:
            user = user_of(task)
        budget = budget_for(task.context, toolbox, initial, context_budget, tokenizer)
        plan = RewardPlan(task, rewards, rules_file(rules))
        plan.terms()  # a wrong name is said now, not after an hour of play

        def progress(line: str) -> None:
            if on_event is not None:
                on_event(Event("progress", text=line))

        began = time.monotonic()
        prepared = await prepare(task, backend, progress=progress)
        ready = time.monotonic()
        sandbox = await backend.start(prepared.spec)
        episode = cls(
            task, seed, backend, prepared, sandbox, toolbox, plan, on_event, budget, user, initial
        )
        episode.training_step = training_step
        now = time.monotonic()
        episode.timings["prepare"] = ready - began
        episode.timings["start"] = now - ready
        episode._emit(Event("segment", opening=episode._record.openings[0]))
        episode._emit(Event("started", seconds=now - began))
        return episode

    # -- what can be read at any time -----------------------------------------------------------

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The present context in chat-completions form. Don't change it.

        It only ever grows, until the context budget is reached: then the next one begins, as a list
        of its own. :attr:`segments` has all of them.
        """
        return self._record.messages

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Every context so far, the present one last; each has the episode's final reward."""
        return segments_of(self._record.openings, self._record.steps)

    @property
    def segment(self) -> int:
        """The index of the present context."""
        return len(self._record.openings) - 1

    @property
    def tokens(self) -> int:
        """The size of the present context, tool schemas included."""
        return self._record.tokens

    @property
    def summary_wanted(self) -> bool:
        """The context is full: the next turn is to be a summary, as plain text."""
        return self._record.asked > 0

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
        return self._record.steps

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the episode is over; None while it goes on."""
        return self._record.stop_reason

    @property
    def terminated(self) -> bool:
        """The agent has finished."""
        return self._record.stop_reason == "finished"

    @property
    def truncated(self) -> bool:
        """A limit, the caller or an infrastructure failure ended it."""
        return self._record.stop_reason in _TRUNCATED

    @property
    def infra_failed(self) -> bool:
        """The machine failed: the episode says nothing about the agent and has no reward."""
        return bool(self._record.infra_error)

    @property
    def infra_error(self) -> str:
        """What failed, or ``""``."""
        return self._record.infra_error

    @property
    def report(self) -> RewardReport | None:
        """What :meth:`score` found, once it has."""
        return self._report

    @property
    def closed(self) -> bool:
        """:meth:`close` was called."""
        return self._gate.is_shut

    @property
    def trajectory(self) -> Trajectory:
        """The record so far, built anew at each call."""
        return Trajectory(
            task_id=self.task.id,
            seed=self.seed,
            sandbox=self.backend.name,
            steps=tuple(self._record.steps),
            openings=tuple(self._record.openings),
            stop_reason=self._record.stop_reason,
            final_message=self._record.final_message,
            infra_error=self._record.infra_error,
            renamed=self._toolbox.renamed,
        )

    # -- playing --------------------------------------------------------------------------------

    async def step(self, turn: AssistantTurn | Mapping[str, Any] | str) -> Step:
        """Play one agent turn; whatever the agent did wrong comes back as an observation.

        Where :attr:`summary_wanted`, the turn is taken for the summary and nothing is run.

        Cancelling it ends the episode (``stop_reason`` ``"closed"``): what the interrupted call did
        to the sandbox is not known.

        Args:
            turn: the agent's turn, in any form of :mod:`repodrome.envs.actions`.

        Raises:
            UsageError: the episode is over, closed, or another step is running.
            TypeError: ``turn`` is of no type that an agent can have produced.
        """
        self._gate.check("step")
        if self._record.stop_reason is not None:
            raise UsageError(
                f"the episode is over ({self._record.stop_reason}); score it, or start another one"
            )
        turn = parse_turn(turn, turn=len(self._record.steps))
        self._emit(Event("turn", turn=turn))
        self._step_began = time.monotonic()
        results: list[ToolResult | None] = [None] * len(turn.tool_calls)
        try:
            if self._record.asked:
                results = [not_run(call) for call in turn.tool_calls]
            elif turn.tool_calls and not turn.malformed:
                async with self._gate.hold("step", self._remaining() + GRACE_SECONDS, quiet=True):
                    await self._runner.run(turn.tool_calls, results)
        except asyncio.CancelledError:
            self._record.stop_reason = "closed"
            raise
        finally:
            # Recorded whatever happened, so that the record never hides what touched the sandbox;
            # and before anything is awaited, so that whoever waits for the gate finds it recorded.
            self._finish_step(turn, results)
        opened = await self._follow_up()
        step = self._record.steps[-1]
        self._emit(Event("step", step=step))
        if opened is not None:
            self._emit(Event("segment", opening=opened))
        if self._record.stop_reason is not None:
            self._emit(Event("stopped", stop_reason=self._record.stop_reason))
        return step

    def _finish_step(self, turn: AssistantTurn, results: Sequence[ToolResult | None]) -> None:
        began, self._step_began = self._step_began or 0.0, None
        seconds = time.monotonic() - began
        record = self._record
        record.spent += seconds
        record.calls = self._runner.used
        self.timings["steps"] += seconds
        self._note_end(turn)
        if self._budget.tokens:
            results = self._budget.fit(results, record.tokens_with(turn))
        record.add(turn, results, seconds)
        # Only now, since this turn counts as well.
        if record.stop_reason is None and len(record.steps) >= self.task.limits.max_turns:
            record.stop_reason = "max_turns"

    def _note_end(self, turn: AssistantTurn) -> None:
        """Decide whether the episode is over; the first reason that holds is the one."""
        record, limits = self._record, self.task.limits
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
        plain = not turn.tool_calls and not turn.malformed and not self._record.asked
        return plain or self._runner.context.state.finished is not None

    def _is_last_turn(self) -> bool:
        """No limit leaves room for a further turn behind the one that is played."""
        limits, record = self.task.limits, self._record
        return (
            len(record.steps) + 1 >= limits.max_turns
            or record.calls >= limits.max_tool_calls
            or record.spent >= limits.timeout_sec
        )

    def _finish(self, turn: AssistantTurn) -> None:
        state = self._runner.context.state
        said = turn.content if state.finished is None else storable(state.finished)
        self._record.final_message = said
        self._record.stop_reason = "finished"

    async def _follow_up(self) -> Opening | None:
        """Tell the agent what it has to know beside its results; gives the context that began."""
        record = self._record
        hears = self._user is not None and not record.asked
        full = bool(record.asked) or self._budget.reached(record.tokens)
        if record.stop_reason is not None or not (hears or full):
            return None
        state, turn = self._runner.context.state, record.steps[-1].turn
        opened = None
        try:
            async with self._gate.hold("step", quiet=True):
                if self._user is not None and not record.asked:
                    waits = self._handed_over(turn)
                    spoke = await hear_user(
                        self._user, record, self.sandbox, state, handed_over=waits
                    )
                    if waits and not spoke:
                        self._finish(turn)
                full = bool(record.asked) or self._budget.reached(record.tokens)
                if full and record.stop_reason is None:
                    left = self.task.limits.max_turns - len(record.steps)
                    opened = await next_context(
                        self._budget, record, self.sandbox, state, turns_left=left
                    )
        except asyncio.CancelledError:
            record.stop_reason = "closed"
            raise
        except InfraError as error:
            record.stop_reason, record.infra_error = "infra", str(error)
        if self._gate.is_shut and record.stop_reason is None:
            record.stop_reason = "closed"
        return opened

    def _remaining(self) -> float:
        """Seconds of the agent's wall time that are left."""
        running = 0.0 if self._step_began is None else time.monotonic() - self._step_began
        return max(0.0, self.task.limits.timeout_sec - self._record.spent - running)

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
                if not self._record.infra_error:
                    async with self._gate.hold("score"):
                        report = await self._grade()
            except InfraError as error:
                self._record.infra_error = self._record.infra_error or str(error)
                report = None
            if report is None:
                report = RewardReport(
                    total=None, infra_failed=True, infra_error=self._record.infra_error
                )
            elif report.infra_failed:
                self._record.infra_error = (
                    report.infra_error or "the rewards report an infra failure"
                )
            self._report = report
            self.timings["score"] = time.monotonic() - began
            self._emit(Event("scored", report=report, seconds=self.timings["score"]))
            return report

    async def _grade(self) -> RewardReport:
        from repodrome.envs.grading.grader import grade
        from repodrome.envs.rewards.record import read_pristine, reference_lines

        if self._record.stop_reason is None:
            self._record.stop_reason = "closed"
            self._emit(Event("stopped", stop_reason="closed"))
        if self.change is None:
            self.change = (await self.sandbox.export()).without_caches()
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
            task=self.task,
            trajectory=self.trajectory,
            change=self.change,
            verdict=verdict,
            pristine=read_pristine(materialised.workspace, self.change),
            reference_lines=reference_lines(self.task, materialised),
        )
        report, self.scored = await asyncio.to_thread(self._plan.score, context, self.training_step)
        return report

    def step_scorer(self) -> StepScorer:
        """What tells the reward of each step from here on; feed it the steps as they are played."""
        from repodrome.envs.rewards.steps import StepScorer

        terms, _ = self._plan.terms(self.training_step)
        pairs = [(term.reward, term.weight) for term in terms]
        return StepScorer(self.task, pairs, self._record.steps, self._toolbox.renamed)

    # -- snapshots ------------------------------------------------------------------------------

    async def snapshot(self) -> EpisodeSnapshot:
        """Remember the present moment; the episode goes on.

        Raises:
            UsageError: a step is running, or it is scored or closed.
            SandboxError: the sandbox failed.
        """
        self._check_unscored("snapshot")
        async with self._gate.hold("snapshot"):
            files = await self.sandbox.snapshot()
        return EpisodeSnapshot(
            sandbox=files,
            state=self._runner.context.state.copy(),
            record=self._record.copy(),
        )

    async def restore(self, snapshot: EpisodeSnapshot) -> None:
        """Go back to a snapshot of this episode, limits used included.

        Raises:
            UsageError: a step is running, or it is scored or closed.
            SandboxError: the sandbox failed.
        """
        self._check_unscored("restore")
        async with self._gate.hold("restore"):
            await self.sandbox.restore(snapshot.sandbox)
        self._record = snapshot.record.copy()
        self._runner = self._make_runner(snapshot.state.copy())

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
        async with self._gate.hold("fork"):
            sandbox = await self.sandbox.fork()
        other = Episode(
            self.task,
            self.seed,
            self.backend,
            self._prepared,
            sandbox,
            self._toolbox,
            self._plan,
            on_event,
            self._budget,
            self._user,
            self._record.openings[0].messages,
        )
        other.training_step = self.training_step
        other._record = self._record.copy()
        other._runner = other._make_runner(self._runner.context.state.copy())
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
        self._gate.shut()
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        await self._gate.empty()
        if self._record.stop_reason is None:
            self._record.stop_reason = "closed"
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

    def _check_unscored(self, what: str) -> None:
        self._gate.check(what)
        if self.change is not None or self._report is not None or self._record.infra_error:
            raise UsageError(f"can't {what}: the episode was scored or has failed")

    def _emit(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)
