"""The retrieval reward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from repodrome.envs.grading.verdict import Verdict
from repodrome.envs.rewards.base import RewardContext, RewardResult
from repodrome.envs.rewards.registry import make_reward
from repodrome.envs.sandbox.base import Change
from repodrome.envs.trajectory import AssistantTurn, Step, ToolCall, Trajectory
from repodrome.errors import UsageError
from repodrome.tasks.model import LocateSpec, RewardSpec, Source, Task


def score(gold: list[str], answer: str, *, steps: tuple[Step, ...] = (), **params: Any) -> Any:
    task = Task(
        id="t/t",
        instruction="Where?",
        folder=Path("/x"),
        source=Source(directory="w"),
        locate=LocateSpec(gold=tuple(gold)),
    )
    trajectory = Trajectory(
        task_id="t/t", seed=0, sandbox="none", steps=steps, final_message=answer
    )
    verdict = Verdict(kind="none", score=1.0)
    context = RewardContext(task=task, trajectory=trajectory, change=Change(), verdict=verdict)
    result: RewardResult = make_reward(RewardSpec(name="retrieval", **params))(context)
    return result


GOLD = ["a.py:1-10", "b.py:5-14"]


@pytest.mark.parametrize(
    ("answer", "files", "lines"),
    [
        ("a.py:1-10\nb.py:5-14", 1.0, 1.0),
        ("", 0.0, 0.0),
        ("c.py:1-10", 0.0, 0.0),
        # P = 1, R = 1/2: 1.25 * 0.5 / (0.25 + 0.5)
        ("a.py:1-10", 0.625 / 0.75, 0.625 / 0.75),
        # P = 1/2, R = 1: 1.25 * 0.5 / (0.125 + 1)
        ("a.py:1-20\nb.py:5-24", 1.0, 0.625 / 1.125),
        ("a.py\nb.py", 1.0, 0.0),
        # overlapping ranges count once
        ("a.py:1-6\na.py:4-10\nb.py:5-14\na.py:2", 1.0, 1.0),
    ],
)
def test_values(answer: str, files: float, lines: float) -> None:
    result = score(GOLD, answer)
    assert result.parts["files"] == pytest.approx(files)
    assert result.parts["lines"] == pytest.approx(lines)
    assert result.value == pytest.approx((files + lines) / 2)


def test_naming_everything_pays_little() -> None:
    everything = "\n".join(f"f{number}.py:1-1000" for number in range(50)) + "\na.py:1-1000"
    assert score(GOLD, everything).value < 0.05


def test_without_gold_lines_files_count() -> None:
    assert score(["a.py"], "a.py:3").value == 1.0
    assert "lines" not in score(["a.py"], "a.py:3").parts


def test_beta_weighs_recall() -> None:
    half, double = score(GOLD, "a.py:1-10", beta=0.5), score(GOLD, "a.py:1-10", beta=2.0)
    assert half.value > double.value
    with pytest.raises(UsageError, match="beta"):
        score(GOLD, "", beta=0)


def test_how_the_search_went() -> None:
    def step(*patterns: str) -> Step:
        calls = tuple(
            ToolCall(id=str(place), name="grep", arguments={"pattern": pattern})
            for place, pattern in enumerate(patterns)
        )
        return Step(index=0, turn=AssistantTurn(tool_calls=calls))

    parts = score(
        GOLD,
        "",
        steps=(step("a", "b", "c"), step("a"), Step(index=2, turn=AssistantTurn(content="x"))),
    ).parts
    assert parts["calls_per_turn"] == 2.0
    assert parts["duplicate_calls"] == 0.25
