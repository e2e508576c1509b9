"""The Gymnasium environment."""

from __future__ import annotations

import os
import pickle
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

import repodrome
from repodrome.envs.gym_env import RepoEnv
from repodrome.envs.runtime import runtime
from repodrome.envs.spaces import UnicodeText
from repodrome.errors import SandboxError, UnknownNameError, UsageError
from repodrome.tasks.model import Limits, Task
from tests.envs.conftest import call, text, turn
from tests.fakes.plain_sandbox import PlainBackend

ID = "repodrome:repodrome/Repo-v0"


def test_check_env(task: Task, backend: PlainBackend) -> None:
    env = gym.make(ID, task=task, sandbox=backend)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
    env.close()
    assert not backend.live or len(backend.live) <= 1  # check_env leaves one of its own open


def test_an_episode(task: Task, backend: PlainBackend) -> None:
    env = gym.make(ID, task=task, sandbox=backend, render_mode="ansi")
    observation, info = env.reset(seed=1)
    assert observation == task.instruction and info["task_id"] == "test/sample"
    assert info["messages"][1]["content"] == task.instruction and info["stop_reason"] is None
    observation, reward, terminated, truncated, info = env.step(
        text(call("write_file", path="done.txt", content="🎵"))
    )
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert "done.txt" in env.render()  # type: ignore[operator]
    observation, reward, terminated, truncated, info = env.step("Fertig 🎵")
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["stop_reason"] == "finished" and info["mask"] == 1.0
    assert info["reward_parts"]["tests"]["value"] == 1.0
    assert "episode" not in info
    env.close()
    env.close()
    assert not backend.live


def test_dicts_malformed_and_truncation(
    make_task: Callable[..., Task], backend: PlainBackend
) -> None:
    env = RepoEnv(make_task(limits=Limits(max_turns=2)), sandbox=backend)
    env.reset(seed=1)
    observation, *_ = env.step(turn(call("read_file", path="readme.md")))
    assert "Größe 🎵" in observation and observation in env.observation_space
    observation, reward, terminated, truncated, info = env.step("{")
    assert "could not be read" in observation
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info["stop_reason"] == "max_turns"
    env.close()


def test_infra_failures(task: Task, backend: PlainBackend) -> None:
    env = RepoEnv(task, sandbox=backend)
    backend.start_fails = 1
    with pytest.raises(SandboxError):
        env.reset(seed=1)
    env.reset(seed=1)
    _, reward, terminated, truncated, info = env.step(turn(call("terminal", command="fault:infra")))
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info["infra_failed"] and info["mask"] == 0.0 and "lost" in info["infra_error"]
    assert "reward_parts" not in info
    env.close()


def test_choosing_tasks(make_task: Callable[..., Task], backend: PlainBackend) -> None:
    one, two = make_task("one"), make_task("two")
    env = RepoEnv(one, sandbox=backend, prefetch=3)
    assert env.reset(seed=1)[1]["task_id"] == "test/one"
    assert env.reset(seed=1, options={"task": two})[1]["task_id"] == "test/two"
    assert env.reset(seed=1)[1]["task_id"] == "test/one"
    env.close()
    assert backend.prefetched and set(backend.prefetched) == {3}
    with pytest.raises(UsageError, match="no task"):
        RepoEnv(sandbox=backend).reset()
    with pytest.raises(UsageError, match="not both"):
        RepoEnv("a/b", suite="a")
    with pytest.raises(UnknownNameError):
        RepoEnv("builtin/no-such-task", sandbox=backend).reset()
    with pytest.raises(UsageError, match="reset"):
        RepoEnv(one, sandbox=backend).step("x")


def test_many_resets_leave_nothing_behind(task: Task, backend: PlainBackend) -> None:
    env = RepoEnv(task, sandbox=backend)
    env.reset(seed=1)

    def held() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    for seed in range(20):
        env.reset(seed=seed)
    before = held()
    for seed in range(1000):
        env.reset(seed=seed)
    assert held() == before and len(backend.live) == 1
    env.close()


def test_resets_from_several_threads_leave_one_episode(task: Task, backend: PlainBackend) -> None:
    env = RepoEnv(task, sandbox=backend)
    env.reset(seed=1)
    said: list[str] = []

    def reset() -> None:
        try:
            said.append(env.reset(seed=2)[0])
        except UsageError as error:
            said.append(str(error))

    threads = [threading.Thread(target=reset) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert task.instruction in said and len(backend.live) == 1
    env.close()
    assert not backend.live


def test_a_forked_child_has_a_loop_of_its_own(task: Task, backend: PlainBackend) -> None:
    env = RepoEnv(task, sandbox=backend)
    env.reset(seed=1)
    parents = runtime()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            assert runtime() is not parents
            env.reset(seed=2)
            code = 0 if env.step("done")[2] else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert env.step("done")[2]
    env.close()


def test_runtime_refuses_to_wait_for_itself() -> None:
    async def inner() -> None:
        async def nothing() -> None: ...

        with pytest.raises(RuntimeError, match="await"):
            runtime().run(nothing())

    runtime().run(inner())


def test_space() -> None:
    space = UnicodeText(5, example="ab")
    assert space.sample() == "ab" and "Größe" in space and "🎵" * 5 in space
    assert "123456" not in space and 5 not in space and "\ud800" not in space
    assert space == pickle.loads(pickle.dumps(space)) and space != UnicodeText(6)
    space.seed(3)
    batched = batch_space(space, 2)
    assert batched.sample() == ("ab", "ab") and ("ä", "🎵") in batched
    out: Any = create_empty_array(space, 2)
    assert concatenate(space, ["ä", "🎵"], out) == ("ä", "🎵")
    assert list(iterate(batched, ("ä", "🎵"))) == ["ä", "🎵"]
    assert space.from_jsonable(space.to_jsonable(["ä"])) == ["ä"]


def test_exported_names() -> None:
    for name in repodrome.__all__:
        assert getattr(repodrome, name) is not None
    assert set(repodrome.__all__) <= set(dir(repodrome))
    assert set(repodrome.__all__) == {"__version__", *repodrome._HOMES}
    with pytest.raises(AttributeError):
        _ = repodrome.no_such_name


def test_rewards_as_names_with_weights(task: Task, backend: PlainBackend) -> None:
    env = gym.make(ID, task=task, sandbox=backend, rewards=[("tests", 2.0), "misuse", "tests"])
    env.reset(seed=1)
    *_, info = env.step("done")
    assert info["reward_parts"]["tests"]["weight"] == 2.0
    assert info["reward_parts"]["tests (2)"]["weight"] == 1.0
    env.close()
    for wrong, fix in (("tests", r"rewards=\['tests'\]"), ([("tests", "x")], "give a number")):
        env = gym.make(ID, task=task, sandbox=backend, rewards=wrong)
        with pytest.raises(UsageError, match=fix):
            env.reset(seed=1)
        env.close()
