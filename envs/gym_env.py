"""``repodrome/Repo-v0``: an episode as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium as gym

from repodrome.envs.episode import Episode
from repodrome.envs.member import (
    Action,
    EpisodeHandler,
    Member,
    TaskChooser,
    Transition,
    action_space,
    observation_space,
    transcript,
)
from repodrome.envs.runtime import Runtime, runtime
from repodrome.envs.sandbox.base import SandboxBackend
from repodrome.envs.tokens import Tokenizer
from repodrome.errors import UsageError
from repodrome.tasks.model import Task

if TYPE_CHECKING:
    from repodrome.envs.rewards.report import RewardLike


class RepoEnv(gym.Env[str, Any]):
    """One task (or a suite of them), played turn by turn.

    - Action: an agent turn, as JSON text, as a dict, or as plain text, which finishes; see
      :func:`repodrome.envs.actions.parse_turn`. One that can't be read is an observation and a
      cost, never an exception.
    - Observation: text. ``reset`` gives the instruction.
    - Reward: 0 until the step that ends the episode; grading runs there. With ``step_rewards`` each
      step pays what is known there (misuse), and the last one the rest: the sum is the total.
    - ``terminated``: the agent finished. ``truncated``: a limit was reached, or the machine failed.
      The limits are the task's own: what a ``TimeLimit`` wrapper truncates is not graded.
    - ``info``: ``messages`` (the present context) and ``tools`` (schemas) in chat-completions
      form, ``hints`` (``call_id`` and ``hint``: what would have helped) for the turn's failed
      calls, ``task_id``, ``segment``, ``context_tokens``, ``summary_wanted``, ``stop_reason``,
      ``infra_failed``, ``mask``; at the end ``reward_parts``, and ``segments``: every context, each
      of which has the episode's reward.

    When the machine fails, ``info["infra_failed"]`` is true, ``info["infra_error"]`` says what
    happened and ``info["mask"]`` is 0.0. The reward is 0.0 then only because Gymnasium wants a
    number: leave such an episode out of the loss.

    Args:
        task: a task, ``"suite/name"``, or the path of a task folder.
        suite: instead: a suite, from which ``reset`` draws by seed.
        sandbox: a backend or its name.
        rewards: the reward terms, as specs, names, tables or objects; default: the task's own.
        render_mode: ``"ansi"``: :meth:`render` gives the last step as text.
        prefetch: sandboxes of the task to have ready for the next resets.
        context_budget: tokens that the context may hold, 0 without bound; default: each task's own.
        tokenizer: counts them: a function of a text, or a name; default: each task's own.
        rules: a rules file that changes the terms, read again for each score.
        step_rewards: pay at each step what is known there.
        on_episode: given each :class:`Episode` when it is over and scored, in a thread of its own;
            :func:`repodrome.harness.save.save_episode` writes its trajectory file.

    Raises:
        UsageError: both ``task`` and ``suite`` were given, or an unknown render mode.
    """

    chooser: ClassVar[type[TaskChooser]] = TaskChooser
    """Chooses what each episode plays."""
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"], "render_fps": 4}  # type: ignore[misc]

    def __init__(
        self,
        task: Task | str | None = None,
        suite: str | None = None,
        sandbox: SandboxBackend | str = "bubblewrap",
        rewards: Sequence[RewardLike] | None = None,
        render_mode: str | None = None,
        prefetch: int = 0,
        context_budget: int | None = None,
        tokenizer: Tokenizer | str | None = None,
        rules: str | Path | None = None,
        step_rewards: bool = False,
        on_episode: EpisodeHandler | None = None,
    ) -> None:
        if render_mode not in (None, "ansi"):
            raise UsageError(f"render_mode {render_mode!r} isn't there; use 'ansi' or None")
        self.render_mode = render_mode
        self.observation_space = observation_space()
        self.action_space = action_space()
        self._member = Member(
            self.chooser(task, suite),
            sandbox,
            rewards,
            prefetch,
            context_budget,
            tokenizer,
            rules=rules,
            step_rewards=step_rewards,
            on_episode=on_episode,
        )
        self._runtime: Runtime | None = None

    @property
    def episode(self) -> Episode | None:
        """The episode being played; its coroutines belong to repodrome's own event loop."""
        return self._member.episode

    @property
    def training_step(self) -> int | None:
        """The trainer's step, for weights with a schedule; set it whenever it changes."""
        return self._member.training_step

    @training_step.setter
    def training_step(self, step: int | None) -> None:
        self._member.training_step = step

    def _loop(self) -> Runtime:
        """The process's runtime; started at the first reset, so that making an env is free."""
        current = runtime()
        if self._runtime is not current:
            # First use, or we were forked: the episode of the other process is not ours to touch.
            self._member.attach(current)
            self._runtime = current
            current.track(self, self._member.close)
        return current

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Start the next episode.

        Args:
            seed: of the episode; without it one is drawn from the environment's generator.
            options: ``{"task": …}`` plays that task instead; ``{"training_step": …}`` sets
                :attr:`training_step`.

        Raises:
            UsageError: unknown task, suite, reward or backend.
            InfraError: the episode could not be started.
        """
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        options = options or {}
        self.training_step = options.get("training_step", self.training_step)
        task = options.get("task")
        return self._loop().run(self._member.reset(seed, task))

    def step(self, action: Action) -> Transition:
        """Play one agent turn.

        Raises:
            UsageError: there is no episode, or it is over.
        """
        return self._loop().run(self._member.step(action))

    def render(self) -> str | None:
        """The last step as text, in render mode ``"ansi"``."""
        return transcript(self._member.episode) if self.render_mode == "ansi" else None

    def close(self) -> None:
        """Close the episode. Idempotent."""
        if self._runtime is not None:
            self._runtime.finish(self._member.close)
            self._runtime = None
