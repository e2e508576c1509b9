"""The answer reward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from repodrome.envs.grading.verdict import Verdict
from repodrome.envs.rewards.base import RewardContext
from repodrome.envs.rewards.registry import make_reward
from repodrome.envs.sandbox.base import Change, ChangedFile
from repodrome.envs.trajectory import AssistantTurn, Said, Step, Trajectory
from repodrome.errors import UsageError
from repodrome.tasks.model import RewardSpec, Source, Task

EDIT = ChangedFile(path="a.py", kind="modified", data=b"x")
CACHE = ChangedFile(path="a.pyc", kind="refused", note="a cache")


def value(
    message: str, *, said: str = "", files: tuple[ChangedFile, ...] = (), stop: Any = "finished",
    **params: Any,
) -> float:  # fmt: skip
    reward = make_reward(RewardSpec(name="answer", **{"patterns": ["cache", "lock"], **params}))
    asked = Step(
        index=0,
        turn=AssistantTurn(content=said),
        said=(Said(kind="answer", text="The cache has a lock.", rule=0),),
    )
    trajectory = Trajectory(
        task_id="t/t",
        seed=0,
        sandbox="none",
        steps=(asked,) if said else (),
        stop_reason=stop,
        final_message=message,
    )
    task = Task(id="t/t", instruction="x", folder=Path("/x"), source=Source(directory="w"))
    verdict = Verdict(kind="none", score=1.0)
    context = RewardContext(task=task, trajectory=trajectory, change=Change(files), verdict=verdict)
    return reward(context).value


@pytest.mark.parametrize(
    ("message", "options", "expected"),
    [
        ("The Cache has a LOCK.", {}, 1.0),
        ("The cache.", {}, 0.5),
        ("No idea.", {}, 0.0),
        ("No idea.", {"said": "Something."}, 0.0),
        ("A lock.", {"said": "In the cache?"}, 1.0),
        ("cache lock, or a queue", {"forbid": ["queue"]}, 0.0),
        ("cache lock", {"unchanged": True}, 1.0),
        ("cache lock", {"unchanged": True, "files": (CACHE,)}, 1.0),
        ("cache lock", {"unchanged": True, "files": (EDIT,)}, 0.0),
        ("cache lock", {"files": (EDIT,)}, 1.0),
        ("cache lock", {"stop": "max_turns"}, 0.0),
        ("x" * 50 + " cache lock", {"max_chars": 50}, 0.0),
    ],
)
def test_values(message: str, options: dict[str, Any], expected: float) -> None:
    assert value(message, **options) == expected


@pytest.mark.parametrize("params", [{"patterns": []}, {"patterns": "x"}, {"patterns": ["("]}])
def test_parameters_that_make_no_sense(params: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="answer"):
        value("", **params)
