"""One episode on its way from start to score, and into its trajectory file."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from repodrome.envs.events import Event, EventHandler
from repodrome.envs.trajectory import Opening, Step, StopReason
from repodrome.errors import ContextFullError, InfraError
from repodrome.harness.agents.base import Agent, AgentContext
from repodrome.harness.result import Result
from repodrome.harness.trajectory import (
    End,
    Header,
    TrajectoryWriter,
    scored_to_json,
)
from repodrome.tasks.model import RewardSpec, Task


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


class Run:
    """The state of one :func:`~repodrome.harness.rollout.play`: whatever ends it finds what
    happened so far.

    Args:
        result: what is known before it begins.
        writer: of the trajectory file, if one is wanted.
        begun: when, by ``time.perf_counter``.
    """

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

        def tell(line: str) -> None:
            watch(Event("progress", text=line))

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

        context = AgentContext(
            task=task, seed=self.result.seed, materialised=prepared.materialised, tell=tell
        )
        while episode.stop_reason is None:
            try:
                with self._timed("agent"):
                    turn = await agent.act(episode.messages, episode.tools, context)
            except ContextFullError as error:
                tell(str(error))
                episode.out_of_context()
                break
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
        usage = Counter(self.result.usage)
        usage.update(step.turn.usage)
        self.result = replace(self.result, steps=self.result.steps + 1, usage=dict(usage))

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
        looked_at = {} if episode is None else scored_to_json(episode.change, episode.scored)
        self._writer.end(
            End(
                stop_reason=result.stop_reason,
                terminated=result.terminated,
                truncated=result.truncated,
                final_message="" if episode is None else episode.trajectory.final_message,
                infra_error=result.infra_error,
                report=result.report,
                timings=result.timings,
                **looked_at,
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
