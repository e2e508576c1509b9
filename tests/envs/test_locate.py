"""``repodrome/Locate-v0``."""

from __future__ import annotations

from collections.abc import Callable

import gymnasium as gym
import pytest

from repodrome.envs.locate import LocateEnv
from repodrome.errors import UsageError
from repodrome.tasks.model import Limits, LocateSpec, RewardSpec, Task, ToolsSpec, VerifierSpec
from tests.envs.conftest import call, turn
from tests.fakes.plain_sandbox import PlainBackend

ID = "repodrome:repodrome/Locate-v0"


@pytest.fixture
def question(make_task: Callable[..., Task]) -> Task:
    return make_task(
        "where",
        locate=LocateSpec(gold=("readme.md:1",)),
        limits=Limits(max_turns=4, max_calls_per_turn=8),
        tools=ToolsSpec(read_only=True),
        verifier=VerifierSpec(kind="none"),
        rewards=(RewardSpec(name="retrieval"),),
    )


def test_an_answer(question: Task, backend: PlainBackend) -> None:
    env = gym.make(ID, task=question, sandbox=backend)
    observation, info = env.reset(seed=1)
    assert observation == question.instruction
    names = {tool["function"]["name"] for tool in info["tools"]}
    assert names >= {"read_file", "grep", "glob", "list_dir"}
    assert not names & {"terminal", "write_file", "edit_file", "apply_patch", "finish"}
    assert "path:first-last" in info["messages"][0]["content"]
    env.step(turn(*[call("grep", pattern="Größe")] * 8))
    _, reward, terminated, _, info = env.step("It is here:\n\nreadme.md:1")
    assert (reward, terminated) == (1.0, True)
    assert info["reward_parts"]["retrieval"]["parts"]["calls_per_turn"] == 8.0
    env.close()
    assert len(backend.started) == 1, "nothing is run, so no sandbox is started for grading"


def test_limits(question: Task, backend: PlainBackend) -> None:
    env = LocateEnv(question, sandbox=backend)
    env.reset(seed=1)
    observation, *_ = env.step(turn(*[call("list_dir")] * 9))
    assert "at most 8 calls a turn" in observation
    observation, *_ = env.step(turn(call("write_file", path="x", content="")))
    assert "there is no tool" in observation
    env.step(turn(call("list_dir")))
    _, reward, terminated, truncated, info = env.step(turn(call("list_dir")))
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info["stop_reason"] == "max_turns"
    env.close()


def test_what_is_played(question: Task, task: Task, backend: PlainBackend) -> None:
    env = LocateEnv(sandbox=backend)
    first = env.reset(seed=3)[1]["task_id"]
    assert first.startswith("locate/") and env.reset(seed=3)[1]["task_id"] == first
    with pytest.raises(UsageError, match="nothing to find"):
        env.reset(options={"task": task})
    with pytest.raises(UsageError, match="nothing to find"):
        LocateEnv(task, sandbox=backend).reset()
    env.close()
    envs = gym.make_vec(ID, num_envs=2, task=question, sandbox=backend)
    envs.reset(seed=1)
    _, rewards, *_ = envs.step(["readme.md:1", "nothing.md:1"])
    assert list(rewards) == [1.0, 0.0]
    envs.close()
