"""Rewards by name: ours, and third parties' from the entry-point group ``repodrome.reward``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module

from repodrome.envs.rewards.base import Reward
from repodrome.errors import UnknownNameError, UsageError
from repodrome.tasks.model import RewardSpec

_BUILTIN = {"tests": "repodrome.envs.rewards.tests:TestsReward"}
"""Name → where the class is; imported when first asked for."""


def known_rewards() -> list[str]:
    """Every name that a task may use, sorted."""
    from importlib.metadata import entry_points

    return sorted({*_BUILTIN, *(e.name for e in entry_points(group="repodrome.reward"))})


def _factory(name: str) -> Callable[..., object]:
    if name in _BUILTIN:
        module, _, attribute = _BUILTIN[name].partition(":")
        return getattr(import_module(module), attribute)  # type: ignore[no-any-return]
    from importlib.metadata import entry_points

    for entry in entry_points(group="repodrome.reward"):
        if entry.name == name:
            return entry.load()  # type: ignore[no-any-return]
    raise UnknownNameError("reward", name, known_rewards())


def make_reward(spec: RewardSpec) -> Reward:
    """Make a task's reward with its parameters.

    Raises:
        UnknownNameError: no reward has that name.
        UsageError: a parameter is unknown or its value is refused; the message names the fix.
    """
    factory = _factory(spec.name)
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
