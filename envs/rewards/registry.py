"""Rewards by name: ours, and third parties' from the entry-point group ``repodrome.reward``."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from repodrome.envs.rewards.base import Reward
from repodrome.errors import UnknownNameError, UsageError
from repodrome.plugins import load_part
from repodrome.tasks.model import RewardSpec

GROUP = "repodrome.reward"
_BUILTIN = {"tests": "repodrome.envs.rewards.tests:TestsReward"}
"""Name → where the class is; imported when first asked for."""


def make_reward(spec: RewardSpec) -> Reward:
    """Make a task's reward with its parameters.

    Raises:
        UnknownNameError: no reward has that name.
        UsageError: a parameter is unknown or its value is refused; the message names the fix.
    """
    factory: Callable[..., object] = load_part("reward", spec.name, GROUP, _BUILTIN)
    known = list(inspect.signature(factory).parameters)
    unknown = [p for p in spec.params if p not in known]
    if unknown:
        near = UnknownNameError("parameter", unknown[0], known)
        raise UsageError(f"reward {spec.name!r}: {near}")
    try:
        reward = factory(**spec.params)
    except (TypeError, ValueError) as error:
        raise UsageError(f"reward {spec.name!r} refuses its parameters: {error}") from error
    if not isinstance(reward, Reward):
        raise UsageError(
            f"reward {spec.name!r} is no reward: it needs 'name', 'auxiliary' and __call__"
        )
    return reward
