"""Playing episodes: one, or several side by side, each written to a trajectory file as it goes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from repodrome.envs.events import Event, EventHandler
from repodrome.envs.rewards.base import RewardReport
from repodrome.envs.sandbox.base import Change
from repodrome.envs.trajectory import Opening, Step, StopReason
from repodrome.errors import InfraError, SandboxError, UsageError
from repodrome.harness.agents.base import Agent, AgentContext
from repodrome.harness.trajectory import (
    End,
    Header,
    TrajectoryWriter,
    change_to_json,
    pristine_to_json,
    task_hash,
    task_to_json,
)
from repodrome.tasks.model import RewardSpec, Task, ToolsSpec
from repodrome.version import __version__


@dataclass(frozen=True, slots=True)
class Result:
    """How one episode went.

    Attributes:
        task: the task's id.
        report: None when the episode was never scored.
        infra_failed: the machine failed; there is no reward, which is not a reward of 0.
        steps: agent turns.
        segments: contexts; 1 unless a context budget was reached.
        timings: seconds: ``start`` (set-up and reset), ``agent`` (waiting for its turns),
            ``tools``, ``score`` and ``total``.
        trajectory: the file, None where none was asked for.
    """

    task: str
    agent: str
    sandbox: str
    seed: int
    report: RewardReport | None = None
    stop_reason: StopReason | None = None
    terminated: bool = False
    truncated: bool = False
    infra_failed: bool = False
    infra_error: str = ""
    steps: int = 0
    segments: int = 0
    timings: dict[str, float] = field(default_factory=dict)
    trajectory: Path | None = None

    @property
    def reward(self) -> float | None:
        """The total; None when infra-failed or not scored."""
        if self.infra_failed or self.report is None:
            return None
        return self.report.total

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        report = self.report
        return {
            "task": self.task,
            "agent": self.agent,
            "sandbox": self.sandbox,
            "seed": self.seed,
            "reward": self.reward,
            "rewards": [] if report is None else [part.model_dump() for part in report.rewards],
            "stop_reason": self.stop_reason,
            "terminated": self.terminated,
            "truncated": self.truncated,
            "infra_failed": self.infra_failed,
            "infra_error": self.infra_error,
            "steps": self.steps,
            "segments": self.segments,
            "timings": {phase: round(seconds, 4) for phase, seconds in self.timings.items()},
            "trajectory": None if self.trajectory is None else str(self.trajectory),
        }


@dataclass(frozen=True, slots=True)
class Scoring:
    """How episodes are scored, where the task is not to decide.

    Attributes:
        rewards: the terms in place of the task's own.
        rules: a rules file.
        training_step: for weights with a schedule.
    """

    rewards: tuple[RewardSpec, ...] | None = None
    rules: Path | None = None
    training_step: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One episode to play; ``agent`` makes a fresh agent for it."""

    task: Task
    agent: Callable[[], Agent]
    seed: int = 0
    task_ref: str = ""


def task_for(task: Task, *, all_tools: bool) -> Task:
    """The task as an agent plays it, with standard tools where :attr:`Agent.all_tools` is set."""
    if not all_tools:
        return task
    return task.model_copy(update={"tools": ToolsSpec()})


async def play(
    task: Task,
    agent: Agent,
    *,
    backend: str = "bubblewrap",
    seed: int = 0,
    out: Path | None = None,
    task_ref: str = "",
    context_budget: int | None = None,
    tokenizer: str | None = None,
    on_event: EventHandler | None = None,
    scoring: Scoring | None = None,
) -> Result:
    """Play one episode to its end and score it.

    Cancelling it closes the sandbox, and leaves a trajectory of what happened so far.

    Args:
        out: directory for the trajectory file; None writes none.
        task_ref: what names the task for a replay; default: its id, or its folder.
        context_budget, tokenizer: in place of the task's own, as for ``Episode.start``.
        on_event: is told what happens, while it happens.
        scoring: the rewards; default: the task's own.

    Raises:
        UsageError: the agent can't play this task, or the trajectory can't be written.
    """
    from anyio import CancelScope, get_cancelled_exc_class, to_thread

    from repodrome.envs.toolsets import toolbox_for

    begun = time.perf_counter()
    played = task_for(task, all_tools=agent.all_tools)
    if scoring is not None and scoring.rewards is not None:
        played = played.model_copy(update={"rewards": scoring.rewards})
    header = Header(
        task_id=task.id,
        task=task_to_json(played),
        task_ref=task_ref or _reference(task),
        task_hash=await to_thread.run_sync(task_hash, task),
        seed=seed,
        agent=agent.name,
        sandbox=backend,
        all_tools=agent.all_tools,
        renamed=toolbox_for(played, seed).renamed,
        context_budget=context_budget,
        tokenizer=tokenizer,
        repodrome=__version__,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    writer = None if out is None else TrajectoryWriter(out / _file_name(header), header)
    result = Result(
        task=task.id,
        agent=agent.name,
        sandbox=backend,
        seed=seed,
        trajectory=None if writer is None else writer.path,
    )
    run = _Run(result=result, writer=writer, begun=begun)
    try:
        await run.play(played, agent, header, on_event, scoring)
    except get_cancelled_exc_class():
        # Written before the sandbox is closed: whoever cancels may not wait for that.
        run.write_end()
        raise
    except UsageError:
        if writer is not None and run.result.steps == 0:
            writer.discard()  # nothing was played
        raise
    except InfraError as error:
        run.fail(error)
    finally:
        with CancelScope(shield=True):
            await run.close()
    run.write_end()
    return run.result


async def change_of(
    task: Task, agent: Agent, *, backend: str = "bubblewrap", seed: int = 0
) -> Change:
    """What an agent does to the workspace, ungraded.

    Raises:
        UsageError: the agent can't play this task.
        InfraError: the machine failed.
    """
    from repodrome.envs.environment import prepare
    from repodrome.envs.episode import Episode

    played = task_for(task, all_tools=agent.all_tools)
    async with await Episode.start(played, seed=seed, backend=backend) as episode:
        prepared = await prepare(played, episode.backend)
        context = AgentContext(task=played, seed=seed, materialised=prepared.materialised)
        while episode.stop_reason is None:
            turn = await agent.act(episode.messages, episode.tools, context)
            step = await episode.step(turn)
            context = replace(context, last=step, summary_wanted=episode.summary_wanted)
        if episode.infra_failed:
            raise SandboxError(episode.infra_error)
        return await episode.sandbox.export()


class _Run:
    """The state of one :func:`play`, so that whatever ends it finds what happened so far."""

    def __init__(self, *, result: Result, writer: TrajectoryWriter | None, begun: float) -> None:
        self.result = result
        self._writer = writer
        self._begun = begun
        self._timings = {"start": 0.0, "agent": 0.0, "tools": 0.0, "score": 0.0}
        self._episode: Any = None

    async def play(
        self,
        task: Task,
        agent: Agent,
        header: Header,
        on_event: EventHandler | None,
        scoring: Scoring | None,
    ) -> None:
        """Start, play and score."""
        from repodrome.envs.environment import prepare
        from repodrome.envs.episode import Episode

        def watch(event: Event) -> None:
            if event.step is not None:  # on disk before anybody is shown it
                self._note(event.step)
            if event.opening is not None:
                self._note_segment(event.opening)
            if on_event is not None:
                on_event(event)

        with self._timed("start"):
            scoring = scoring or Scoring()
            episode = await Episode.start(
                task,
                seed=header.seed,
                backend=header.sandbox,
                context_budget=header.context_budget,
                tokenizer=header.tokenizer,
                rules=scoring.rules,
                training_step=scoring.training_step,
                on_event=watch,
            )
            self._episode = episode
            prepared = await prepare(task, episode.backend)  # remembered: the episode made it
        context = AgentContext(task=task, seed=self.result.seed, materialised=prepared.materialised)
        while episode.stop_reason is None:
            with self._timed("agent"):
                turn = await agent.act(episode.messages, episode.tools, context)
            with self._timed("tools"):
                step = await episode.step(turn)
            context = replace(context, last=step, summary_wanted=episode.summary_wanted)
        with self._timed("score"):
            report = await episode.score()
        self.result = replace(
            self.result,
            report=report,
            infra_failed=report.infra_failed,
            infra_error=report.infra_error,
        )

    def _note(self, step: Step) -> None:
        if self._writer is not None:
            self._writer.step(step)
        self.result = replace(self.result, steps=self.result.steps + 1)

    def _note_segment(self, opening: Opening) -> None:
        if self._writer is not None:
            self._writer.segment(opening)
        self.result = replace(self.result, segments=self.result.segments + 1)

    def fail(self, error: InfraError) -> None:
        """The machine failed outside a step: the episode never started, or can't be closed."""
        self.result = replace(
            self.result, stop_reason="infra", infra_failed=True, infra_error=str(error)
        )

    async def close(self) -> None:
        """Close the sandbox; a result that was scored before stands even if that fails."""
        if self._episode is None:
            return
        try:
            await self._episode.close()
        except InfraError as error:
            if self.result.report is None:
                self.fail(error)

    def write_end(self) -> None:
        """Complete the result, and write the trajectory's last line."""
        self._timings["total"] = time.perf_counter() - self._begun
        episode, result = self._episode, self.result
        stop: StopReason = "closed" if episode is None else episode.stop_reason or "closed"
        self.result = result = replace(
            result,
            timings=dict(self._timings),
            stop_reason=result.stop_reason or stop,
            terminated=episode is not None and episode.terminated,
            truncated=episode is not None and episode.truncated,
        )
        if self._writer is None:
            return
        if episode is not None:
            for step in episode.steps[result.steps :]:  # one that was cut short
                self._note(step)
        change = None if episode is None else episode.change
        scored = None if episode is None else episode.scored
        self._writer.end(
            End(
                stop_reason=result.stop_reason,
                terminated=result.terminated,
                truncated=result.truncated,
                final_message="" if episode is None else episode.trajectory.final_message,
                infra_error=result.infra_error,
                report=result.report,
                change=None if change is None else change_to_json(change),
                pristine=None if scored is None else pristine_to_json(scored.pristine),
                reference_lines=None if scored is None else scored.reference_lines,
                evidence={} if scored is None else dict(scored.evidence),
                timings=result.timings,
            )
        )

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        """Add the seconds inside to one phase."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._timings[phase] += time.perf_counter() - begun


def _reference(task: Task) -> str:
    """An id where it can be looked up, else the folder."""
    return str(task.folder) if task.id.startswith("folder/") else task.id


def _file_name(header: Header) -> str:
    words = [header.task_id.replace("/", "."), header.agent.partition(":")[0], f"s{header.seed}"]
    stem = "-".join(re.sub(r"[^A-Za-z0-9._]+", "_", word) for word in words)
    return f"{stem}-{uuid4().hex[:8]}.jsonl"


async def play_many(
    jobs: Sequence[Job],
    *,
    backend: str = "bubblewrap",
    out: Path | None = None,
    context_budget: int | None = None,
    tokenizer: str | None = None,
    concurrency: int = 2,
    on_event: Callable[[int, Event], None] | None = None,
    on_result: Callable[[int, Result], None] | None = None,
    scoring: Scoring | None = None,
) -> list[Result]:
    """Play several episodes, at most ``concurrency`` at once; results in the order of the jobs.

    An infra failure of one leaves the others alone.

    Raises:
        UsageError: an agent can't play its task; the others are cancelled.
    """
    from anyio import CapacityLimiter, create_task_group

    results: list[Result | None] = [None] * len(jobs)
    room = CapacityLimiter(concurrency)
    failure: list[Exception] = []

    async def one(number: int, job: Job) -> None:
        def tell(event: Event) -> None:
            if on_event is not None:
                on_event(number, event)

        async with room:
            result = await play(
                job.task,
                job.agent(),
                backend=backend,
                seed=job.seed,
                out=out,
                task_ref=job.task_ref,
                context_budget=context_budget,
                tokenizer=tokenizer,
                on_event=tell,
                scoring=scoring,
            )
        results[number] = result
        if on_result is not None:
            on_result(number, result)

    if len(jobs) == 1:  # no task group around it: errors keep their own type and traceback
        await one(0, jobs[0])
    else:
        try:
            async with create_task_group() as group:
                for number, job in enumerate(jobs):
                    group.start_soon(one, number, job)
        except* UsageError as errors:
            failure.append(_first(errors))
        if failure:
            raise failure[0]
    return [result for result in results if result is not None]


def _first(group: BaseExceptionGroup[Any]) -> Exception:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error
