"""Many episodes at once: our own ``VectorEnv``, all members on the process's one event loop.

No process and no thread a member. A member whose machine fails says so in its own info and harms
no other. Besides Gymnasium's ``reset`` and ``step``, which wait for the slowest member, there is a
face without that barrier for trainers: :meth:`RepoVectorEnv.send` and :meth:`RepoVectorEnv.recv`.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from repodrome.envs.member import (
    Action,
    EpisodeHandler,
    Member,
    TaskChooser,
    Transition,
    action_space,
    failed_info,
    observation_space,
    transcript,
)
from repodrome.envs.runtime import Runtime, runtime
from repodrome.envs.sandbox.base import SandboxBackend
from repodrome.envs.tokens import Tokenizer
from repodrome.errors import InfraError, UsageError
from repodrome.tasks.model import Task

if TYPE_CHECKING:
    from repodrome.envs.rewards.report import RewardLike

T = TypeVar("T")


class Arrival(NamedTuple):
    """One member's transition, as :meth:`RepoVectorEnv.recv` gives it."""

    member: int
    observation: str
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]


class RepoVectorEnv(VectorEnv[tuple[str, ...], Any, Any]):
    """``num_envs`` environments like :class:`~repodrome.envs.gym_env.RepoEnv`, stepped together.

    Observations are tuples of text and actions sequences of turns. When a member could not be
    started its observation is empty, its info has ``infra_failed``, and its next step truncates; a
    reset, also an automatic one, tries again.

    Args:
        num_envs: how many members.
        task, suite, sandbox, rewards, render_mode, prefetch, context_budget, tokenizer, rules,
            step_rewards, on_episode: as for ``RepoEnv``.
        group_size: so many consecutive members always play the same task and seed.
        autoreset_mode: Gymnasium's: ``NextStep`` (default), ``SameStep`` or ``Disabled``.

    Raises:
        UsageError: ``num_envs`` is no multiple of ``group_size``, or another argument is wrong.
    """

    chooser: ClassVar[type[TaskChooser]] = TaskChooser
    """Chooses what each episode plays."""

    def __init__(
        self,
        num_envs: int = 1,
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
        group_size: int = 1,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:
        if num_envs < 1 or group_size < 1 or num_envs % group_size:
            raise UsageError(
                f"num_envs={num_envs} is no multiple of group_size={group_size}; groups stay whole"
            )
        if render_mode not in (None, "ansi"):
            raise UsageError(f"render_mode {render_mode!r} isn't there; use 'ansi' or None")
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.group_size = group_size
        self._mode = AutoresetMode(autoreset_mode)
        self.metadata = {"render_modes": ["ansi"], "render_fps": 4, "autoreset_mode": self._mode}
        self.single_observation_space = observation_space()
        self.single_action_space = action_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        # Shared, so that members which play the same task share the Task object as well.
        chooser = self.chooser(task, suite)
        self._members = [
            Member(
                chooser,
                sandbox,
                rewards,
                prefetch,
                context_budget,
                tokenizer,
                rules=rules,
                step_rewards=step_rewards,
                on_episode=on_episode,
            )
            for _ in range(num_envs)
        ]
        self._seeds = [0] * num_envs
        self._rounds = [0] * num_envs
        self._over = [True] * num_envs
        self._failed: list[InfraError | None] = [None] * num_envs
        self._sent = [False] * num_envs
        self._arrived: queue.SimpleQueue[tuple[int, Future[Transition]]] = queue.SimpleQueue()
        self._runtime: Runtime | None = None

    @property
    def training_step(self) -> int | None:
        """The trainer's step, for weights with a schedule; set it whenever it changes."""
        return self._members[0].training_step

    @training_step.setter
    def training_step(self, step: int | None) -> None:
        for member in self._members:
            member.training_step = step

    # -- Gymnasium's face -----------------------------------------------------------------------

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Start an episode in every member, or in those of ``options["reset_mask"]``.

        Args:
            seed: the first group's; the next ones get the following numbers. Or one a member.
            options: ``task``: for every member; ``tasks``: one a group; ``reset_mask``: an array
                of booleans, the members to reset (the others' observation is ``""``);
                ``training_step``: sets :attr:`training_step`.

        Raises:
            UsageError: unknown task, suite, reward or backend, or options of a wrong length.
        """
        self._check_none_sent()
        options = options or {}
        self._reseed(seed)
        self.training_step = options.get("training_step", self.training_step)
        mask = options.get("reset_mask")
        chosen = range(self.num_envs) if mask is None else np.flatnonzero(mask).tolist()
        tasks = options.get("tasks")
        if tasks is not None and len(tasks) * self.group_size != self.num_envs:
            raise UsageError(
                f"options['tasks'] has {len(tasks)} entries; one a group makes "
                f"{self.num_envs // self.group_size}"
            )

        def task_of(index: int) -> Task | str | None:
            return options.get("task") if tasks is None else tasks[index // self.group_size]

        outcomes = self._loop().run(
            _together([self._reset_one(index, task_of(index)) for index in chosen])
        )
        observations = [""] * self.num_envs
        infos: dict[str, Any] = {}
        for index, (observation, info) in zip(chosen, outcomes, strict=True):
            observations[index] = observation
            infos = self._add_info(infos, info, index)
        return tuple(observations), infos

    def step(
        self, actions: Sequence[Action]
    ) -> tuple[tuple[str, ...], Any, Any, Any, dict[str, Any]]:
        """Play one turn in every member and wait for all of them.

        Raises:
            UsageError: not one action a member; a member is over and autoreset is disabled.
        """
        self._check_none_sent()
        if len(actions) != self.num_envs:
            raise UsageError(f"{len(actions)} actions for {self.num_envs} members")
        outcomes = self._loop().run(
            _together([self._play(index, action) for index, action in enumerate(actions)])
        )
        rewards = np.zeros(self.num_envs, dtype=np.float64)
        terminations = np.zeros(self.num_envs, dtype=np.bool_)
        truncations = np.zeros(self.num_envs, dtype=np.bool_)
        observations = []
        infos: dict[str, Any] = {}
        for index, (observation, reward, terminated, truncated, info) in enumerate(outcomes):
            observations.append(observation)
            rewards[index] = reward
            terminations[index] = terminated
            truncations[index] = truncated
            infos = self._add_info(infos, info, index)
        return tuple(observations), rewards, terminations, truncations, infos

    def render(self) -> tuple[str, ...] | None:
        """Each member's last step as text, in render mode ``"ansi"``."""
        if self.render_mode != "ansi":
            return None
        return tuple(transcript(member.episode) for member in self._members)

    def close_extras(self, **kwargs: Any) -> None:
        """Close every member's episode."""
        if self._runtime is not None:
            self._runtime.finish(partial(_closed, self._members))
            self._runtime = None

    # -- without a barrier ----------------------------------------------------------------------

    def send(self, index: int, action: Action) -> None:
        """Start a turn in one member; :meth:`recv` gives what came of it.

        A member that is over is reset instead, where autoreset is ``NextStep``.

        Raises:
            UsageError: that member has a turn under way, or there is no such member.
        """
        self._check_free(index)
        self._send(index, self._play(index, action))

    def send_reset(
        self, index: int, *, seed: int | None = None, task: Task | str | None = None
    ) -> None:
        """Start the next episode in one member; it arrives as a transition with reward 0.

        Raises:
            UsageError: that member has a turn under way, or there is no such member.
        """
        self._check_free(index)
        self._send(index, self._restart(index, seed, task))

    def recv(self, timeout: float | None = None) -> Arrival:
        """The next transition that is ready, of whichever member.

        Args:
            timeout: seconds to wait; None: for ever.

        Raises:
            TimeoutError: nothing came in that time.
            UsageError: nothing is under way; or what that member's turn raised.
        """
        if not any(self._sent):
            raise UsageError("nothing is under way; send() something first")
        try:
            index, future = self._arrived.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"no member was ready within {timeout} s") from None
        self._sent[index] = False
        return Arrival(index, *future.result())

    def _send(self, index: int, coroutine: Coroutine[Any, Any, Transition]) -> None:
        future = self._loop().submit(coroutine)
        self._sent[index] = True
        future.add_done_callback(lambda done: self._arrived.put((index, done)))

    def _check_free(self, index: int) -> None:
        """Before a coroutine is made, which would have to be awaited."""
        self._loop()  # refuses when closed
        if not 0 <= index < self.num_envs:
            raise UsageError(f"there is no member {index}; they are 0 to {self.num_envs - 1}")
        if self._sent[index]:
            raise UsageError(f"member {index} has a turn under way; recv() it first")

    def _check_none_sent(self) -> None:
        self._loop()  # refuses when closed
        if any(self._sent):
            raise UsageError("turns sent with send() are under way; recv() them first")

    # -- one member, on the loop ----------------------------------------------------------------

    async def _play(self, index: int, action: Action) -> Transition:
        if self._over[index]:
            if self._mode is AutoresetMode.DISABLED:
                raise UsageError(
                    f"the episode of member {index} is over and autoreset is disabled; "
                    "reset(options={'reset_mask': …}) first"
                )
            return await self._restart(index, None, None)
        failure = self._failed[index]
        if failure is not None:
            transition: Transition = "", 0.0, False, True, failed_info(failure)
        else:
            transition = await self._members[index].step(action)
        observation, reward, terminated, truncated, info = transition
        self._over[index] = terminated or truncated
        if self._over[index] and self._mode is AutoresetMode.SAME_STEP:
            fresh, fresh_info = await self._reset_one(index, None)
            fresh_info.update(final_obs=observation, final_info=info)
            return fresh, reward, terminated, truncated, fresh_info
        return transition

    async def _restart(self, index: int, seed: int | None, task: Task | str | None) -> Transition:
        if seed is not None:
            self._seeds[index], self._rounds[index] = seed, 0
        observation, info = await self._reset_one(index, task)
        return observation, 0.0, False, False, info

    async def _reset_one(self, index: int, task: Task | str | None) -> tuple[str, dict[str, Any]]:
        seed = self._next_seed(index)
        try:
            observation, info = await self._members[index].reset(seed, task)
        except InfraError as error:
            self._failed[index] = error
            self._over[index] = False
            return "", failed_info(error)
        self._failed[index] = None
        self._over[index] = False
        return observation, info

    # -- seeds ----------------------------------------------------------------------------------

    def _reseed(self, seed: int | Sequence[int | None] | None) -> None:
        if isinstance(seed, int | np.integer):
            super().reset(seed=int(seed))
            self._seeds = [int(seed) + index // self.group_size for index in range(self.num_envs)]
        elif seed is not None:
            if len(seed) != self.num_envs:
                raise UsageError(f"{len(seed)} seeds for {self.num_envs} members")
            drawn = self._drawn_seeds()
            self._seeds = [
                own if given is None else int(given) for given, own in zip(seed, drawn, strict=True)
            ]
        else:
            self._seeds = self._drawn_seeds()
        self._rounds = [0] * self.num_envs

    def _drawn_seeds(self) -> list[int]:
        groups = self.np_random.integers(2**31, size=self.num_envs // self.group_size)
        return [int(groups[index // self.group_size]) for index in range(self.num_envs)]

    def _next_seed(self, index: int) -> int:
        """Depends on the group's seed and the round alone, so that a group stays one whoever is
        first to finish an episode."""
        base, turn = self._seeds[index], self._rounds[index]
        self._rounds[index] += 1
        if turn == 0:
            return base
        return int(np.random.SeedSequence([base, turn]).generate_state(1)[0])

    def _loop(self) -> Runtime:
        if self.closed:
            raise UsageError("the vector environment is closed; make another one")
        current = runtime()
        if self._runtime is not current:
            for member in self._members:
                member.attach(current)
            self._runtime = current
            current.track(self, partial(_closed, self._members))
        return current


async def _together(coroutines: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All of them; if one raises, only once every other has ended, so that none runs on alone."""
    outcomes = await asyncio.gather(*coroutines, return_exceptions=True)
    done: list[T] = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        done.append(outcome)
    return done


async def _closed(members: Sequence[Member]) -> None:
    await _together([member.close() for member in members])
