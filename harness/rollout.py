"""Playing episodes: one, or several side by side, each written to a trajectory file as it goes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from repodrome.envs.events import Event, EventHandler
from repodrome.envs.sandbox.base import Change
from repodrome.errors import InfraError, SandboxError, UsageError
from repodrome.harness.agents.base import Agent, AgentContext
from repodrome.harness.result import Result as Result
from repodrome.harness.run import Run
from repodrome.harness.run import Scoring as Scoring
from repodrome.harness.trajectory import (
    Header,
    TrajectoryWriter,
    task_hash,
    task_to_json,
)
from repodrome.tasks.model import Task, ToolsSpec
from repodrome.version import __version__


@dataclass(frozen=True, slots=True)
class Job:
    """One episode to play; ``agent`` makes a fresh agent for it, set up with ``agent_config``."""

    task: Task
    agent: Callable[[], Agent]
    seed: int = 0
    task_ref: str = ""
    agent_config: Mapping[str, Any] = field(default_factory=dict)


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
    agent_config: Mapping[str, Any] | None = None,
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
        agent_config: what the agent was set up with, for the trajectory.
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
        task_ref=task_ref or reference(task),
        task_hash=await to_thread.run_sync(task_hash, task),
        seed=seed,
        agent=agent.name,
        agent_config=dict(agent_config or {}),
        sandbox=backend,
        all_tools=agent.all_tools,
        renamed=toolbox_for(played, seed).renamed,
        context_budget=context_budget,
        tokenizer=tokenizer,
        repodrome=__version__,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    writer = None if out is None else TrajectoryWriter(out / file_name(header), header)
    result = Result(
        task=task.id,
        agent=agent.name,
        sandbox=backend,
        seed=seed,
        trajectory=None if writer is None else writer.path,
    )
    run = Run(result=result, writer=writer, begun=begun)
    try:
        await run.play(played, agent, header, on_event, scoring)
    except get_cancelled_exc_class():
        # Written before the sandbox is closed: whoever cancels may not wait for that.
        run.write_end()
        raise
    except UsageError:
        if writer is not None and run.result.steps == 0:
            writer.discard()  # nothing was played
        else:
            run.write_end()
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


def reference(task: Task) -> str:
    """An id where it can be looked up, else the folder."""
    return str(task.folder) if task.id.startswith("folder/") else task.id


def file_name(header: Header) -> str:
    """A new name for the trajectory file."""
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
                agent_config=job.agent_config,
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
