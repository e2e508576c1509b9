"""Flags stand in the report and cost nothing, unless the task gives them a weight."""

from __future__ import annotations

from pathlib import Path

import pytest

from repodrome.envs.grading.verdict import TestStatus, Verdict
from repodrome.envs.rewards.base import RewardContext
from repodrome.envs.rewards.integrity import IntegrityReward
from repodrome.envs.rewards.report import rewards_of, score
from repodrome.envs.sandbox.base import Change, ChangedFile
from repodrome.envs.trajectory import Trajectory
from repodrome.tasks.model import RewardSpec, Source, Task


def context(*paths: str, tampering: tuple[str, ...] = (), **integrity: float) -> RewardContext:
    terms = [RewardSpec(name="tests")]
    if integrity:
        terms.append(RewardSpec(name="integrity", **integrity))
    return RewardContext(
        task=Task(
            id="t/t",
            instruction="Do it.",
            folder=Path("/nowhere"),
            source=Source(),
            rewards=tuple(terms),
        ),
        trajectory=Trajectory(task_id="t/t", seed=0, sandbox="s"),
        change=Change(tuple(ChangedFile(path, "added", b"") for path in paths)),
        verdict=Verdict(kind="pytest", fail_to_pass={"a": TestStatus.PASSED}, tampering=tampering),
    )


def test_flags_are_reported_and_cost_nothing() -> None:
    given = context("sitecustomize.py", "a.py")
    report = score(given, rewards_of(given.task))
    assert [(flag.rule, flag.what) for flag in report.flags] == [
        ("interpreter", "sitecustomize.py")
    ]
    assert report.total == 1.0


def test_flags_cost_what_the_task_says() -> None:
    given = context("sitecustomize.py", "other.pth", "-x", flags=0.2)
    assert score(given, rewards_of(given.task)).total == pytest.approx(1.0 - 2 * 0.2)
    assert IntegrityReward(flags=1.0)(given).value == -1.0


def test_honest_work_has_none() -> None:
    given = context("src/a.py", "tests/test_a.py", flags=0.2)
    report = score(given, rewards_of(given.task))
    assert report.flags == () and report.total == 1.0


def test_tampering_costs_all() -> None:
    given = context(tampering=("a must-fail test passed",), flags=0.2)
    assert IntegrityReward(flags=0.2)(given).value == -1.0
    assert (score(given, rewards_of(given.task)).total or 0.0) <= 0.0


def test_a_negative_cost_is_refused() -> None:
    with pytest.raises(ValueError, match="flags"):
        IntegrityReward(flags=-1)
