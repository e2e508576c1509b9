"""What a trainer relies on, in the real sandbox: groups, infrastructure, limits, nothing left."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import Autoreset, RecordEpisodeStatistics, TransformReward

from repodrome.envs.episode import Episode
from repodrome.envs.gym_env import RepoEnv
from repodrome.envs.runtime import runtime
from repodrome.envs.sandbox.direct.cgroups import detect
from repodrome.envs.sandbox.direct.client import spawner
from repodrome.envs.sandbox.owner import Owner
from repodrome.envs.vector import RepoVectorEnv
from repodrome.errors import SandboxError
from repodrome.tasks.model import Limits, Task, VerifierSpec
from tests.envs.conftest import call, text, turn

ID = "repodrome:repodrome/Repo-v0"
DO = turn(call("write_file", path="done.txt", content=""))


def terminal(command: str, **more: Any) -> str:
    return text(call("terminal", command=command, **more))


def kill_spawner(after: float = 0.0) -> None:
    """As the kernel's out-of-memory killer would, now or in a moment."""
    process = spawner()._process
    if after:
        threading.Timer(after, os.kill, (process.pid, signal.SIGKILL)).start()
        return
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)


LOOKS = [
    terminal("ls -l; cat readme.md; pwd; hostname; id; env | sort; cat /proc/self/cgroup"),
    terminal("cd /tmp && export A=1; ps -ef 2>/dev/null | wc -l; echo $$; umask; ulimit -a"),
    terminal(
        "git log --format=fuller; git status; git rev-parse HEAD; stat -c '%n %Y %s' /workspace/*"
    ),
    terminal("python3 -c 'print({*map(str, range(20))})'; echo $A; exit 3"),
    terminal("kill -9 $$"),
    terminal("sleep 30", timeout=0.1),
    terminal("sleep 30", background=True),
    text(call("terminal_job")),
    terminal("seq 20000; cat .repodrome/terminal/1.txt | tail -n 1"),
    text(call("list_dir"), call("grep", pattern="G"), call("glob", pattern="**/*")),
    text(call("read_file", path="readme.md"), call("read_file", path="nowhere")),
    text(call("edit_file", path="readme.md", old_string="# G", new_string="# g"), call("nope")),
    "{not json",
]


def test_a_group_sees_the_same_in_whatever_order_it_plays(task: Task) -> None:
    env = RepoVectorEnv(8, task, group_size=8)
    observations, infos = env.reset(seed=5)
    assert len(set(observations)) == 1
    assert all(messages == infos["messages"][0] for messages in infos["messages"])
    assert all(tools == infos["tools"][0] for tools in infos["tools"])
    episodes = [member.episode for member in env._members]
    assert len({id(e.sandbox) for e in episodes if e}) == 8
    assert {e.seed for e in episodes if e} == {5}
    seen: list[list[str]] = [[] for _ in range(8)]
    for number, look in enumerate(LOOKS):
        for place in range(8):
            env.send((place * 3 + number) % 8, look)
        for _ in range(8):
            arrival = env.recv(timeout=60)
            seen[arrival.member].append(arrival.observation)
    assert all(one == seen[0] for one in seen)
    env.step([DO] * 4 + [LOOKS[0]] * 4)
    _, rewards, *_ = env.step(["done"] * 8)
    assert rewards.tolist() == [1.0] * 4 + [0.0] * 4
    env.close()


def test_the_machine_fails_in_mid_step_in_mid_grade_and_between(
    task: Task, make_task: Callable[..., Task]
) -> None:
    slow = make_task("slow", verifier=VerifierSpec(kind="command", command="sleep 20"))
    env = RepoEnv(task)
    for options, after, action, reason in (
        (None, 0.2, terminal("sleep 20"), "infra"),
        (None, 0.0, terminal("echo hello"), "infra"),
        ({"task": slow}, 0.4, "done", "finished"),
    ):
        env.reset(seed=1, options=options)
        env.step(DO)
        kill_spawner(after)
        began = time.monotonic()
        _, reward, terminated, truncated, info = env.step(action)
        assert time.monotonic() - began < 10
        assert (reward, terminated, truncated) == (0.0, False, True)
        assert info["infra_failed"] and info["mask"] == 0.0 and info["infra_error"]
        assert info["stop_reason"] == reason and "reward_parts" not in info
        assert env.episode is not None and env.episode.report is not None
        assert env.episode.report.total is None
    env.reset(seed=1)
    env.step(DO)
    assert env.step("done")[1] == 1.0
    env.close()


def test_the_machine_fails_in_a_reset(task: Task) -> None:
    env = RepoEnv(task, prefetch=2)
    env.reset(seed=1)
    env._loop().run(asyncio.sleep(0.3))
    kill_spawner()
    for seed in range(3):  # the sandboxes that were ready have gone with it
        env.reset(seed=seed)
        assert "hello" in env.step(terminal("echo hello"))[0]
    for after in (0.001, 0.01, 0.02, 0.05, 0.1):
        env.reset(seed=1)
        kill_spawner(after)
        with suppress(SandboxError):
            env.reset(seed=1)
        time.sleep(0.1)
        env.reset(seed=1)
        assert "hello" in env.step(terminal("echo hello"))[0]
    env.close()


def test_a_cache_that_was_cleaned_meanwhile(task: Task, tmp_path: Path) -> None:
    env = RepoEnv(task)
    env.reset(seed=1)
    (tmp_path / "cache").rename(tmp_path / "gone")
    *_, info = env.step("done")
    assert info["infra_failed"] and "layer" in info["infra_error"] and info["mask"] == 0.0
    env.reset(seed=1)
    env.step(DO)
    assert env.step("done")[1] == 1.0
    env.close()


def test_grading_that_cannot_run_is_no_score(make_task: Callable[..., Task]) -> None:
    lost = VerifierSpec(kind="pytest", fail_to_pass=("tests/test_gone.py::test_it",))
    env = RepoEnv(make_task(verifier=lost))
    env.reset(seed=1)
    _, reward, _, truncated, info = env.step("done")
    assert (reward, truncated, info["mask"]) == (0.0, True, 0.0) and "validate" in info[
        "infra_error"
    ]
    env.reset(seed=1)
    env.close()


def test_wall_time_stops_a_command_that_asked_for_more(make_task: Callable[..., Task]) -> None:
    task = make_task(limits=Limits(timeout_sec=0.5))
    env = RepoEnv(task)
    for command in (
        "sleep 60",
        "trap '' TERM; while sleep 60; do :; done",
        "yes",
        "setsid sleep 60",
    ):
        env.reset(seed=1)
        long = call("terminal", command=command, timeout=600)
        began = time.monotonic()
        observation, _, _, truncated, info = env.step(turn(long, long, call("list_dir")))
        assert time.monotonic() - began < 4
        assert truncated and info["stop_reason"] == "wall_time" and info["mask"] == 1.0
        assert "the episode's time is up" in observation
        assert env.episode is not None
        codes = [result.error for result in env.episode.steps[0].results]
        assert codes == ["", "wall_time", "wall_time"]
    env.close()


def test_the_longest_command_is_said(make_task: Callable[..., Task]) -> None:
    env = RepoEnv(make_task(limits=Limits(command_timeout_sec=0.2)))
    env.reset(seed=1)
    observation, _, _, truncated, _ = env.step(terminal("sleep 60", timeout=600))
    assert "after 0.2 s, the most" in observation and not truncated
    env.close()


def test_branches_are_scored_apart(task: Task) -> None:
    async def scenario() -> None:
        async with await Episode.start(task) as episode:
            await episode.step(terminal("cd /tmp; export A=5; echo hello >/workspace/x.txt"))
            early = await episode.snapshot()
            async with await episode.fork() as branch:
                step = await branch.step(terminal("pwd; echo $A; cat /workspace/x.txt"))
                assert step.observation.split() == ["/tmp", "5", "hello", "[exit", "code", "0]"]
                await branch.step(DO)
                assert (await branch.score()).total == 1.0
                assert branch.change is not None and branch.change.paths == ("done.txt", "x.txt")
            await episode.step(terminal("rm /workspace/x.txt; cd /; unset A"))
            await episode.restore(early)
            step = await episode.step(terminal("pwd; echo $A; cat /workspace/x.txt"))
            assert step.observation.split()[:3] == ["/tmp", "5", "hello"]
            assert [s.index for s in episode.trajectory.steps] == [0, 1]
            async with await episode.fork() as late:
                assert (await episode.score()).total == 0.0
                await late.step(DO)
                assert (await late.score()).total == 1.0
            await early.release()

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_stock_wrappers_and_vectors(task: Task) -> None:
    env: Any = TransformReward(RecordEpisodeStatistics(gym.make(ID, task=task)), lambda r: r - 1)
    env.reset(seed=1)
    env.step(DO)
    *_, info = env.step("done")
    assert info["episode"]["r"] == 1.0 and info["episode"]["l"] == 2
    env.close()
    env = Autoreset(gym.make(ID, task=task, max_episode_steps=1))
    env.reset(seed=1)
    *_, truncated, info = env.step(DO)
    assert truncated and info["stop_reason"] is None and "reward_parts" not in info
    assert env.step("ignored")[0] == task.instruction
    env.close()
    vector = SyncVectorEnv([lambda: RepoEnv(task)] * 2)
    vector.reset(seed=1)
    observations, _, terminated, *_ = vector.step(["done", terminal("echo größe")])
    assert "größe" in observations[1] and terminated.tolist() == [True, False]
    vector.close()


def test_specs_go_round() -> None:
    env = gym.make(ID, task="builtin/quill-whitespace", prefetch=1)
    spec = gym.envs.registration.EnvSpec.from_json(env.spec.to_json())  # type: ignore[union-attr]
    assert spec == env.spec
    assert gym.make(spec).spec == spec
    assert gym.spec("repodrome/Repo-v0").vector_entry_point


@pytest.mark.parametrize(
    "context", ["fork", *(pytest.param(c, marks=pytest.mark.slow) for c in ("spawn", "forkserver"))]
)
def test_stock_worker_processes(task: Task, context: str) -> None:
    used = RepoEnv(task)
    used.reset(seed=1)
    used.close()
    kwargs: dict[str, Any] = {"shared_memory": False, "context": context}
    with pytest.raises(ValueError, match="shared_memory=False"):
        gym.make_vec(ID, 2, "async", {**kwargs, "shared_memory": True}, task=task)
    vector = gym.make_vec(ID, 2, "async", kwargs, task=task)
    try:
        vector.reset_async(seed=1)  # type: ignore[attr-defined]
        observations, _ = vector.reset_wait(timeout=60)  # type: ignore[attr-defined]
        assert observations == (task.instruction,) * 2
        vector.step_async([DO, terminal("echo größe")])  # type: ignore[attr-defined]
        assert "größe" in vector.step_wait(timeout=60)[0][1]  # type: ignore[attr-defined]
        vector.step_async(["done", "done"])  # type: ignore[attr-defined]
        assert vector.step_wait(timeout=60)[1].tolist() == [1.0, 0.0]  # type: ignore[attr-defined]
    finally:
        vector.close()


def test_from_several_threads_and_from_a_running_loop(task: Task) -> None:
    said: list[str] = []

    def play(number: int) -> None:
        env = RepoEnv(task)
        env.reset(seed=number)
        for turn_number in range(5):
            said.append(env.step(terminal(f"echo {number}-{turn_number}"))[0].split()[0])
        env.close()

    threads = [threading.Thread(target=play, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == [f"{one}-{two}" for one in range(4) for two in range(5)]

    async def notebook() -> None:
        play(9)

    asyncio.run(notebook())
    assert said[-1] == "9-4"


def our_mounts(process: str) -> int:
    """Mounts of ours that a process sees; other programs' come and go (containers, for example)."""
    lines = Path(f"/proc/{process}/mountinfo").read_text().splitlines()
    return sum("repodrome" in line for line in lines)


def held() -> dict[str, int]:
    """What this process holds of the machine."""
    gc.collect()
    mine = str(Owner.current())

    async def running() -> int:
        return len(asyncio.all_tasks()) - 1

    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "mounts": our_mounts("self"),
        "spawner": len(os.listdir(f"/proc/{spawner()._process.pid}/fd")),
        "spawner's mounts": our_mounts(str(spawner()._process.pid)),
        "cgroups": sum(
            name.startswith(mine) for d in detect().directories.values() for name in os.listdir(d)
        ),
        "temporary": sum(mine in name for name in os.listdir("/tmp")),
        "tasks": runtime().run(running()),
    }


def memory() -> float:
    """MiB in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def play_one(env: Any, number: int) -> None:
    env.reset(seed=number)
    assert str(number) in env.step(terminal(f"cd /tmp; A={number}; sleep 90 & echo $A"))[0]
    assert env.step(terminal("echo $A $PWD"))[0].split()[:2] == [str(number), "/tmp"]
    if number % 10 == 0:
        env.step(DO)
        assert env.step("done")[1] == 1.0


def play_together(env: RepoVectorEnv, number: int) -> None:
    env.reset(seed=number)
    env.step([terminal("sleep 90 & echo hello")] * env.num_envs)
    if number % 5 == 0:
        env.step([DO] * env.num_envs)
        assert env.step(["done"] * env.num_envs)[1].all()


def play_many(task: Task, episodes: int) -> dict[str, int]:
    """Half of them alone, half ten at a time; gives what is held afterwards."""
    env: Any = gym.make(ID, task=task)
    vector = RepoVectorEnv(10, task)
    for number in range(episodes // 2):
        play_one(env, number)
        if number % 10 == 0:
            play_together(vector, number // 10)
    env.close()
    vector.close()
    runtime().run(asyncio.sleep(0.5))  # the spawner tidies when it has nothing else to do
    return held()


def soak(task: Task, episodes: int) -> None:
    before, ram = play_many(task, 40), memory()
    after = play_many(task, episodes)
    # Helper threads of the event loop come and go; all else is exactly as before.
    assert after.pop("threads") <= 20 and before.pop("threads")
    assert after == before
    assert memory() - ram < 20


def test_episodes_leave_nothing(task: Task) -> None:
    soak(task, 40)


@pytest.mark.slow
def test_a_thousand_episodes_leave_nothing(task: Task) -> None:
    soak(task, 1000)


def test_a_forgotten_environment_closes_its_sandbox(task: Task) -> None:
    env = RepoEnv(task)
    env.reset(seed=1)
    vector = RepoVectorEnv(3, task)
    vector.reset(seed=1)
    before = held()["descriptors"]
    del env, vector
    gc.collect()
    runtime().run(asyncio.sleep(0.3))
    assert held()["descriptors"] < before - 4 * 5
