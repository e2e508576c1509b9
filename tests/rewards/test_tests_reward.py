"""The tests reward, its registry, and the report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from repodrome.envs.grading.verdict import TestStatus, Verdict
from repodrome.envs.rewards.base import Reward, RewardContext, RewardResult
from repodrome.envs.rewards.registry import make_reward
from repodrome.envs.rewards.report import rewards_of, score
from repodrome.envs.sandbox.base import Change
from repodrome.envs.trajectory import Trajectory
from repodrome.errors import UnknownNameError, UsageError
from repodrome.tasks.model import RewardSpec, Source, Task

P, F, S = TestStatus.PASSED, TestStatus.FAILED, TestStatus.SKIPPED


def context(**verdict: Any) -> RewardContext:
    task = Task(id="t/t", instruction="x", folder=Path("/x"), source=Source(directory="w"))
    return RewardContext(
        task=task,
        trajectory=Trajectory(task_id="t/t", seed=0, sandbox="none"),
        change=Change(),
        verdict=Verdict(kind="pytest", **verdict),
    )


@dataclass(frozen=True)
class Fixed:
    name: str
    auxiliary: bool
    value: float

    def __call__(self, context: RewardContext) -> RewardResult:
        return RewardResult(value=self.value)


@pytest.mark.parametrize(
    ("verdict", "strict", "fractional"),
    [
        ({"fail_to_pass": {"a": P, "b": P}, "pass_to_pass": {"c": P}}, 1.0, 1.0),
        ({"fail_to_pass": {"a": P, "b": F}, "pass_to_pass": {"c": P}}, 0.0, 0.5),
        ({"fail_to_pass": {"a": P, "b": S}, "pass_to_pass": {}}, 0.0, 0.5),
        ({"fail_to_pass": {"a": P, "b": P}, "pass_to_pass": {"c": F}}, 0.0, 0.0),
        ({"fail_to_pass": {"a": P}, "tampering": ("x",)}, 0.0, 0.0),
        ({"score": 1.0}, 1.0, 1.0),
        ({"score": 0.25}, 0.0, 0.25),
        ({}, 0.0, 0.0),
    ],
)
def test_values(verdict: dict[str, Any], strict: float, fractional: float) -> None:
    given = context(**verdict)
    assert make_reward(RewardSpec(name="tests"))(given).value == strict
    made = make_reward(RewardSpec.model_validate({"name": "tests", "mode": "fractional"}))
    assert made(given).value == fractional


def test_errors_name_the_fix() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'tests'"):
        make_reward(RewardSpec(name="test"))
    with pytest.raises(UsageError, match="did you mean 'mode'"):
        make_reward(RewardSpec.model_validate({"name": "tests", "mod": "strict"}))
    with pytest.raises(UsageError, match="'strict' or 'fractional'"):
        make_reward(RewardSpec.model_validate({"name": "tests", "mode": "lenient"}))


def test_report_gates_auxiliary_gains_but_not_costs() -> None:
    failed = context(fail_to_pass={"a": F})
    passed = context(fail_to_pass={"a": P})
    [(tests, weight)] = rewards_of(failed.task)
    good: Reward = Fixed("style", True, 1.0)
    bad: Reward = Fixed("misuse", True, -1.0)
    terms = [(tests, weight), (good, 0.1), (bad, 0.2)]
    assert score(failed, terms).total == pytest.approx(-0.2)
    assert [p.gated for p in score(failed, terms).rewards] == [False, True, False]
    assert score(passed, terms).total == pytest.approx(0.9)


def test_tampering_voids_a_positive_total() -> None:
    caught = context(fail_to_pass={"a": P}, tampering=("a must-fail test passed",))
    assert score(caught, [(Fixed("other", False, 1.0), 1.0)]).total == 0.0
    assert score(caught, [(Fixed("other", False, -1.0), 1.0)]).total == -1.0
