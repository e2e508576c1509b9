"""The vector environment: one loop, unicode, groups, faults that stay where they are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics

from repodrome.envs.vector import RepoVectorEnv
from repodrome.errors import UsageError
from repodrome.tasks.model import Limits, Task
from tests.envs.conftest import call, text, turn
from tests.fakes.plain_sandbox import PlainBackend

LOOK = text(call("terminal", command="true"))
READ = text(call("read_file", path="readme.md"))
DO = turn(call("write_file", path="done.txt", content=""))


def make(task: Task, backend: PlainBackend, num_envs: int = 3, **kwargs: Any) -> RepoVectorEnv:
    env = gym.make_vec(
        "repodrome:repodrome/Repo-v0", num_envs=num_envs, task=task, sandbox=backend, **kwargs
    )
    assert isinstance(env, RepoVectorEnv)
    return env


def test_steps_and_autoreset(task: Task, backend: PlainBackend) -> None:
    threads = threading.active_count()
    env = make(task, backend)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    observations, infos = env.reset(seed=5)
    assert observations in env.observation_space and "🎵" in observations[2]
    assert [e.episode.seed for e in env._members if e.episode] == [5, 6, 7]
    assert infos["messages"][1][0]["role"] == "system" and infos["_task_id"].all()
    observations, rewards, *_ = env.step([READ, DO, READ])
    assert "Größe 🎵" in observations[0] and rewards.tolist() == [0, 0, 0]
    observations, rewards, terminated, _, infos = env.step([LOOK, "fertig", LOOK])
    assert rewards.tolist() == [0, 1, 0] and terminated.tolist() == [False, True, False]
    assert infos["stop_reason"].tolist() == [None, "finished", None]
    assert infos["reward_parts"]["tests"]["value"][1] == 1.0
    observations, rewards, terminated, *_ = env.step([LOOK, "ignored", LOOK])
    assert observations[1] == task.instruction and not terminated.any() and not rewards.any()
    # One loop thread, and the few of asyncio's executor; none a member.
    assert threading.active_count() - threads <= 8
    env.close()
    assert not backend.live


def test_same_step_and_disabled(task: Task, backend: PlainBackend) -> None:
    env = make(task, backend, 2, autoreset_mode=AutoresetMode.SAME_STEP)
    env.reset(seed=1)
    observations, _, terminated, _, infos = env.step(["done", LOOK])
    assert terminated.tolist() == [True, False] and observations[0] == task.instruction
    assert infos["final_info"]["stop_reason"][0] == "finished"
    assert infos["_final_obs"].tolist() == [True, False]
    env.close()
    env = make(task, backend, 2, autoreset_mode="Disabled")
    env.reset(seed=1)
    env.step(["done", LOOK])
    with pytest.raises(UsageError, match="reset_mask"):
        env.step([LOOK, LOOK])
    observations, _ = env.reset(options={"reset_mask": np.array([True, False])})
    assert observations == (task.instruction, "")
    env.step([LOOK, LOOK])
    env.close()


def test_a_failing_member_harms_no_other(task: Task, backend: PlainBackend) -> None:
    env = make(task, backend)
    backend.start_fails = 1
    observations, infos = env.reset(seed=1)
    assert infos["infra_failed"].tolist() == [True, False, False] and observations[0] == ""
    lose = turn(call("terminal", command="fault:infra"))
    _, rewards, terminated, truncated, infos = env.step([LOOK, lose, LOOK])
    assert truncated.tolist() == [True, True, False] and not terminated.any()
    assert infos["mask"].tolist() == [0.0, 0.0, 1.0] and not rewards.any()
    observations, *_, infos = env.step([LOOK, LOOK, LOOK])
    assert not infos["infra_failed"].any() and observations[0] == task.instruction
    env.close()
    assert not backend.live


def test_a_bug_is_raised_once_all_have_ended(task: Task, backend: PlainBackend) -> None:
    env = make(task, backend, 2)
    env.reset(seed=1)
    with pytest.raises(ZeroDivisionError):
        env.step([turn(call("terminal", command="fault:bug")), DO])
    env.close()
    assert not backend.live


def test_groups_share_task_and_seed(make_task: Callable[..., Task], backend: PlainBackend) -> None:
    one, two = make_task("one", limits=Limits(max_turns=1)), make_task("two")
    env = make(one, backend, 4, group_size=2)

    def seeds() -> list[int]:
        return [member.episode.seed for member in env._members if member.episode]

    _, infos = env.reset(seed=9, options={"tasks": [one, two]})
    assert infos["task_id"].tolist() == ["test/one"] * 2 + ["test/two"] * 2
    assert seeds() == [9, 9, 10, 10]
    env.reset(seed=9)
    env.step([LOOK] * 4)
    env.step([LOOK] * 4)
    first, second, third, fourth = seeds()
    assert first == second != third == fourth and first != 9
    env.reset()
    assert len(set(seeds())) == 2
    env.reset(seed=[1, 1, 2, 2])
    assert seeds() == [1, 1, 2, 2]
    env.close()
    with pytest.raises(UsageError, match="group"):
        make(one, backend, 3, group_size=2)


def test_send_and_recv_have_no_barrier(task: Task, backend: PlainBackend) -> None:
    env = make(task, backend, 3)
    env.reset(seed=1)
    env.send(0, turn(call("terminal", command="hang", timeout=60)))
    env.send(1, READ)
    arrival = env.recv(timeout=10)
    assert arrival.member == 1 and "🎵" in arrival.observation
    with pytest.raises(TimeoutError):
        env.recv(timeout=0.01)
    with pytest.raises(UsageError, match="under way"):
        env.send(0, LOOK)
    with pytest.raises(UsageError, match="under way"):
        env.step([LOOK] * 3)
    env.send(1, "done")
    assert env.recv(timeout=10).terminated
    env.send_reset(1, seed=4)
    assert env.recv(timeout=10).observation == task.instruction
    env.close()
    assert not backend.live


def test_wrappers_tolerate_it(task: Task, backend: PlainBackend) -> None:
    env = DictInfoToList(RecordEpisodeStatistics(make(task, backend, 2)))
    _, infos = env.reset(seed=1)
    assert infos[1]["task_id"] == "test/sample"
    env.step(["done", LOOK])
    env.close()


def test_use_after_close(task: Task, backend: PlainBackend) -> None:
    env = make(task, backend, 1)
    env.reset(seed=1)
    with pytest.raises(UsageError, match="actions"):
        env.step([LOOK, LOOK])
    env.close()
    env.close()
    with pytest.raises(UsageError, match="closed"):
        env.reset(seed=1)


def test_close_in_mid_turn(task: Task, backend: PlainBackend) -> None:
    env = make(task, backend, 2)
    env.reset(seed=1)
    env.send(0, turn(call("terminal", command="hang")))
    episode = env._members[0].episode
    assert episode is not None
    env._loop().run(episode.sandbox.running.wait())  # type: ignore[attr-defined]
    env.close()
    arrival = env.recv(timeout=10)
    assert arrival.truncated and arrival.info["stop_reason"] == "closed"
    assert arrival.info["mask"] == 0.0 and not backend.live


@pytest.mark.filterwarnings("error")
def test_send_to_the_wrong_member(task: Task, backend: PlainBackend) -> None:
    env = make(task, backend, 2)
    env.reset(seed=0)
    for index in (2, -1):
        with pytest.raises(UsageError, match="0 to 1"):
            env.send(index, LOOK)
    env.send(0, LOOK)
    with pytest.raises(UsageError, match=r"recv\(\) it first"):
        env.send_reset(0)
    env.close()
    for late in (lambda: env.send(0, LOOK), env.reset):
        with pytest.raises(UsageError, match="closed"):
            late()
