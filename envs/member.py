"""What the Gymnasium faces share: episode after episode, in reset/step form, on an event loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repodrome.envs.episode import Episode
from repodrome.envs.prompt import MAX_OBSERVATION_CHARS
from repodrome.envs.rewards.base import RewardReport
from repodrome.envs.runtime import Runtime
from repodrome.envs.spaces import UnicodeText
from repodrome.envs.tokens import Tokenizer
from repodrome.envs.trajectory import AssistantTurn, Segment, Step
from repodrome.errors import InfraError, UsageError
from repodrome.tasks.model import Task

if TYPE_CHECKING:
    from repodrome.envs.rewards.report import RewardLike
    from repodrome.envs.rewards.rules import RulesFile
    from repodrome.envs.rewards.steps import StepScorer

EXAMPLE_ACTION = '{"content": "", "tool_calls": [{"name": "list_dir", "arguments": {"path": "."}}]}'
"""A legal turn that changes nothing and doesn't finish."""

Action = str | Mapping[str, Any] | AssistantTurn
EpisodeHandler = Callable[[Episode], object]
Transition = tuple[str, float, bool, bool, dict[str, Any]]


def observation_space() -> UnicodeText:
    """The space of observations."""
    return UnicodeText(MAX_OBSERVATION_CHARS)


def action_space() -> UnicodeText:
    """The space of actions as text; :meth:`Member.step` takes dicts as well."""
    from repodrome.envs.actions import MAX_ACTION_CHARS

    return UnicodeText(MAX_ACTION_CHARS, example=EXAMPLE_ACTION)


class TaskChooser:
    """Which task the next episode plays: ``task``, or one of ``suite`` drawn by seed.

    Args:
        task: a task or a reference to one.
        suite: the name of a suite, or its folder.

    Raises:
        UsageError: both were given.
    """

    def __init__(self, task: Task | str | None, suite: str | None) -> None:
        if task is not None and suite is not None:
            raise UsageError("give either task= or suite=, not both")
        self._task = task
        self._suite = suite
        self._resolved: dict[str, Task] = {}

    def choose(self, seed: int, wanted: Task | str | None = None) -> Task:
        """The task for an episode with this seed; ``wanted`` beats what was given at the start.

        Raises:
            UsageError: there is none to choose from, or it isn't known.
        """
        from repodrome.tasks.suites import get_suite, resolve_task

        task = wanted if wanted is not None else self._task
        if task is None:
            if self._suite is None:
                raise UsageError(
                    'no task: give task="suite/name" or suite="name" to make(), or '
                    'reset(options={"task": …})'
                )
            # Resolved again by id, so that a task drawn twice is the same object: what was
            # prepared for it is remembered by object.
            drawn = get_suite(self._suite).draw(seed)
            return self._resolved.setdefault(f"{drawn.id} {drawn.folder}", drawn)
        if isinstance(task, str):
            if task not in self._resolved:
                self._resolved[task] = resolve_task(task)
            return self._resolved[task]
        return task


class Member:
    """One environment's worth of episodes. Every method runs on one event loop.

    Args:
        chooser: what to play.
        sandbox: a backend or its name.
        rewards: the reward terms; default: each task's own.
        prefetch: sandboxes of the same task to have ready after a reset.
        context_budget, tokenizer: as for :meth:`Episode.start`.
        rules: a rules file that changes the terms.
        step_rewards: pay at each step what is known there, and the rest at the end.
        on_episode: given each episode when it is over and scored, in a thread of its own.

    Attributes:
        training_step: the trainer's step; episodes are scored with what it is at their end.
    """

    def __init__(
        self,
        chooser: TaskChooser,
        sandbox: Any,
        rewards: Sequence[RewardLike] | None,
        prefetch: int = 0,
        context_budget: int | None = None,
        tokenizer: Tokenizer | str | None = None,
        rules: RulesFile | Path | str | None = None,
        step_rewards: bool = False,
        on_episode: EpisodeHandler | None = None,
    ) -> None:
        self._context_budget = context_budget
        self._tokenizer = tokenizer
        self._chooser = chooser
        self._sandbox = sandbox
        self._rewards = rewards
        self._rules = rules
        self._step_rewards = step_rewards
        self._on_episode = on_episode
        self._scorer: StepScorer | None = None
        self.training_step: int | None = None
        self._prefetch = prefetch
        self._prefetching: asyncio.Task[None] | None = None
        self._closed = False
        self.episode: Episode | None = None

    def attach(self, runtime: Runtime) -> None:
        """Begin to use a runtime: at its end it closes the backend that was asked for by name."""
        self.episode = None
        self._closed = False
        if isinstance(self._sandbox, str):
            from repodrome.envs.sandbox.registry import get_backend

            runtime.on_close(get_backend(self._sandbox).close)

    async def reset(self, seed: int, task: Task | str | None = None) -> tuple[str, dict[str, Any]]:
        """Close the old episode and start the next.

        Raises:
            UsageError: no such task, reward or backend.
            InfraError: it could not be started; resetting again tries again.
        """
        chosen = self._chooser.choose(seed, task)
        # Side by side: neither needs the other, and together they take the time of one.
        ending = asyncio.ensure_future(self._end_episode())
        try:
            episode = await Episode.start(
                chosen,
                seed=seed,
                backend=self._sandbox,
                rewards=self._rewards,
                context_budget=self._context_budget,
                tokenizer=self._tokenizer,
                rules=self._rules,
                training_step=self.training_step,
            )
        finally:
            await asyncio.shield(ending)
        if self._closed or self.episode is not None:
            # From another thread, while we were starting.
            await episode.close()
            what = "closed" if self._closed else "reset"
            raise UsageError(f"the environment was {what} during its reset")
        self.episode = episode
        self._scorer = episode.step_scorer() if self._step_rewards else None
        if self._prefetch and (self._prefetching is None or self._prefetching.done()):
            self._prefetching = asyncio.create_task(self._have_ready(episode))
        return episode.messages[-1]["content"], self._info(episode)

    async def _have_ready(self, episode: Episode) -> None:
        try:
            await episode.backend.prefetch(episode.spec, self._prefetch)
        except InfraError:
            # Only a hint: the next reset meets the same trouble and reports it.
            return

    async def step(self, action: Action) -> Transition:
        """Play one turn; the one that ends the episode is graded and carries the reward.

        Raises:
            UsageError: there is no episode, or it is over.
            TypeError: the action is of no type that an agent can have produced.
        """
        episode = self.episode
        if episode is None:
            raise UsageError("reset the environment before stepping it")
        step = await episode.step(action)
        paid, parts = self._pay(step)
        if episode.stop_reason is None:
            return step.observation, paid, False, False, {**self._info(episode), **parts}
        episode.training_step = self.training_step
        report = await self._report(episode)
        info = {**self._info(episode), "segments": [_segment(one) for one in episode.segments]}
        if report is None:
            return step.observation, 0.0, False, True, {**info, "mask": 0.0}
        if self._on_episode is not None:
            await asyncio.to_thread(self._on_episode, episode)
        if episode.infra_failed:
            # Gymnasium wants a number; "mask" says that it means nothing.
            info["infra_error"] = episode.infra_error
            return step.observation, 0.0, False, True, info
        info |= parts
        info["reward_parts"] = _parts_by_name(report)
        info["rules"] = report.rules
        reward = 0.0 if report.total is None else float(report.total)
        if self._scorer is not None:
            reward -= self._scorer.paid - paid  # what earlier steps got
        return step.observation, reward, episode.terminated, episode.truncated, info

    def _pay(self, step: Step) -> tuple[float, dict[str, Any]]:
        """The reward of this step alone, and its parts for ``info``."""
        if self._scorer is None:
            return 0.0, {}
        parts = self._scorer.add(step)
        return sum(parts.values()), {"step_rewards": parts}

    async def _report(self, episode: Episode) -> RewardReport | None:
        """Its score; None when it was closed from elsewhere, so that nothing is left to grade."""
        if episode.closed:
            return None
        try:
            return await episode.score()
        except UsageError:
            if episode.closed:
                return None
            raise

    def _info(self, episode: Episode) -> dict[str, Any]:
        """New objects at every call, since users keep them; nothing that depends on the clock."""
        return {
            "task_id": episode.task.id,
            "messages": list(episode.messages),
            "segment": episode.segment,
            "context_tokens": episode.tokens,
            "summary_wanted": episode.summary_wanted,
            "tools": list(episode.tools),
            "hints": _hints(episode),
            "stop_reason": episode.stop_reason,
            "infra_failed": episode.infra_failed,
            "mask": 0.0 if episode.infra_failed else 1.0,
        }

    async def close(self) -> None:
        """Close the episode; idempotent, also in mid-step."""
        self._closed = True
        if self._prefetching is not None:
            self._prefetching.cancel()
        await self._end_episode()

    async def _end_episode(self) -> None:
        episode, self.episode = self.episode, None
        if episode is not None:
            try:
                await episode.close()
            except InfraError:
                # Its sandbox is lost already; that must not stop the next episode.
                return


def _segment(segment: Segment) -> dict[str, Any]:
    return {
        "messages": list(segment.messages),
        "tokens": segment.tokens,
        "trigger": segment.trigger,
        "summary": segment.summary,
    }


def _hints(episode: Episode) -> list[dict[str, str]]:
    """Those of the last step; a list, since vector environments would merge dicts of members."""
    if not episode.steps:
        return []
    return [{"call_id": one, "hint": hint} for one, hint in episode.steps[-1].hints.items()]


def failed_info(error: InfraError) -> dict[str, Any]:
    """The info of a member whose episode could not even be started."""
    return {
        "task_id": "",
        "messages": [],
        "segment": 0,
        "context_tokens": 0,
        "summary_wanted": False,
        "tools": [],
        "hints": [],
        "stop_reason": "infra",
        "infra_failed": True,
        "mask": 0.0,
        "infra_error": str(error),
    }


def transcript(episode: Episode | None) -> str:
    """The last step as text, for ``ansi`` rendering; before the first one, the instruction."""
    if episode is None:
        return ""
    lines = [f"── {episode.task.id} · turn {len(episode.steps)}"]
    if not episode.steps:
        lines.append(episode.task.instruction.strip())
    else:
        step = episode.steps[-1]
        if step.turn.content:
            lines.append(step.turn.content)
        for call in step.turn.tool_calls:
            lines.append(f"▸ {call.name} {call.arguments}")
        lines.append(step.observation)
    if episode.stop_reason is not None:
        lines.append(f"── {episode.stop_reason}")
    # What the agent wrote must not drive the terminal of whoever looks at it.
    text = "\n".join(lines)
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)


def _parts_by_name(report: RewardReport) -> dict[str, dict[str, Any]]:
    """The report's terms; a second one of the same name has its number behind it."""
    found: dict[str, dict[str, Any]] = {}
    seen = Counter[str]()
    for part in report.rewards:
        seen[part.name] += 1
        number = seen[part.name]
        found[part.name if number == 1 else f"{part.name} ({number})"] = {
            "value": part.value,
            "weight": part.weight,
            "gated": part.gated,
            "parts": dict(part.parts),
        }
    return found
