"""Rewards step by step: what is known at a step is paid there, the rest at the end.

The sum over an episode's steps is its total, so that a trainer with credit per step and one with a
total per episode reward the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from repodrome.envs.rewards.base import Reward, Stepwise
from repodrome.envs.trajectory import Step
from repodrome.tasks.model import Task


class StepScorer:
    """Follows one episode; the rewards that can tell before the end are ``Stepwise``.

    Args:
        task: the task.
        rewards: terms and weights.
        steps: what was played before.
        renamed: as in :class:`~repodrome.envs.trajectory.Trajectory`.

    Attributes:
        paid: sum of what :meth:`add` returned.
    """

    def __init__(
        self,
        task: Task,
        rewards: Iterable[tuple[Reward, float]],
        steps: Iterable[Step] = (),
        renamed: Mapping[str, str] | None = None,
    ) -> None:
        self._watchers = [
            (reward.name, weight, reward.watch(task, renamed or {}))
            for reward, weight in rewards
            if isinstance(reward, Stepwise)
        ]
        self._last = [0.0] * len(self._watchers)
        self.paid = 0.0
        for step in steps:
            self.add(step)

    def add(self, step: Step) -> dict[str, float]:
        """What this step earns or costs: reward's name → weighted change of its value."""
        found: dict[str, float] = {}
        for place, (name, weight, watch) in enumerate(self._watchers):
            value = weight * watch(step)
            # An auxiliary gain waits for the end: it may yet be gated.
            value = min(0.0, value)
            found[name] = found.get(name, 0.0) + value - self._last[place]
            self._last[place] = value
        self.paid += sum(found.values())
        return found
