"""Scoring an episode: the change is graded in a fresh sandbox, then the rewards are computed."""

from __future__ import annotations

import asyncio

from repodrome.envs.environment import Prepared
from repodrome.envs.rewards.base import RewardContext, RewardReport
from repodrome.envs.sandbox.base import Change
from repodrome.envs.setting import Setting
from repodrome.envs.trajectory import Trajectory


async def score_change(
    setting: Setting,
    prepared: Prepared,
    change: Change,
    trajectory: Trajectory,
    training_step: int | None,
) -> tuple[RewardReport, RewardContext]:
    """Grade what an agent changed and compute the rewards.

    Returns:
        The report, and all that the rewards looked at.

    Raises:
        InfraError: the sandbox, a linter or a judge failed.
        UsageError: a reward can't be made.
    """
    from repodrome.envs.grading.grader import grade
    from repodrome.envs.rewards.record import read_pristine, reference_lines

    materialised = prepared.materialised
    verdict = await grade(
        setting.task,
        change,
        backend=setting.backend,
        spec=prepared.spec,
        hidden=materialised.hidden,
        pristine=materialised.workspace,
        seed=setting.seed,
        python=prepared.python,
        reference=materialised.reference,
    )
    context = RewardContext(
        task=setting.task,
        trajectory=trajectory,
        change=change,
        verdict=verdict,
        pristine=read_pristine(materialised.workspace, change),
        reference_lines=reference_lines(setting.task, materialised),
    )
    return await asyncio.to_thread(setting.plan.score, context, training_step)
