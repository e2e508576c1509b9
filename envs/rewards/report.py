"""Putting the terms together: what an episode is worth."""

from __future__ import annotations

import math
from collections.abc import Iterable

from repodrome.envs.rewards.base import Reward, RewardContext, RewardPart, RewardReport
from repodrome.envs.rewards.registry import make_reward
from repodrome.errors import UsageError
from repodrome.tasks.model import Task


def rewards_of(task: Task) -> list[tuple[Reward, float]]:
    """A task's rewards and their weights.

    Raises:
        UnknownNameError: no reward has that name.
        UsageError: a parameter or weight is wrong.
    """
    made = []
    for spec in task.rewards:
        if not math.isfinite(spec.weight):
            raise UsageError(f"reward {spec.name!r}: weight is {spec.weight}; give a finite number")
        made.append((make_reward(spec), spec.weight))
    return made


def score(context: RewardContext, rewards: Iterable[tuple[Reward, float]]) -> RewardReport:
    """Score an episode: the sum of weight times value.

    An auxiliary term that would raise the total counts only where every execution reward is above
    0: style can't buy back a failure, but misuse still costs. Evidence of tampering voids a
    positive total.

    Args:
        context: the record.
        rewards: terms and weights, as from :func:`rewards_of`.

    Raises:
        ValueError: a reward gave what is no finite number.
    """
    scored = [(reward, weight, reward(context)) for reward, weight in rewards]
    executed = [result.value for reward, _, result in scored if not reward.auxiliary]
    succeeded = not executed or min(executed) > 0
    parts = []
    for reward, weight, result in scored:
        if not math.isfinite(result.value):
            raise ValueError(f"reward {reward.name!r} gave {result.value}, which is no score")
        parts.append(
            RewardPart(
                name=reward.name,
                weight=weight,
                value=result.value,
                gated=reward.auxiliary and not succeeded and weight * result.value > 0,
                parts=result.parts,
                notes=result.notes,
            )
        )
    total = math.fsum(part.weight * part.value for part in parts if not part.gated)
    if context.verdict.tampering:
        total = min(total, 0.0)
    return RewardReport(total=total, rewards=tuple(parts), verdict=context.verdict)
