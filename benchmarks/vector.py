"""Many environments stepped together."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.corpus import command, make_task
from benchmarks.timing import Row, in_ms


def run(quick: bool, work: Path) -> Iterator[Row]:
    """The rows of this subject."""
    folder = make_task(work, 1000)
    rounds = 5 if quick else 20
    for members in (64,) if quick else (64, 256):
        yield from _vector(folder, members, rounds)


def _vector(folder: Path, members: int, rounds: int) -> Iterator[Row]:
    import gymnasium as gym

    import repodrome  # noqa: F401  (registers the environment)

    envs = gym.make_vec("repodrome/Repo-v0", num_envs=members, task=str(folder))
    began = time.perf_counter()
    envs.reset(seed=0)
    yield in_ms(f"vector of {members}: first reset", [time.perf_counter() - began])
    for what, turn, goal in (
        ("a builtin", command(":"), 2000 if members == 256 else None),
        ("list_dir of an empty place", LOOK, None),
        ("no call that runs", UNKNOWN, None),
    ):
        actions = [turn] * members
        envs.step(actions)
        seconds, cpu = [], []
        for _ in range(rounds):
            began, used = time.perf_counter(), time.process_time()
            envs.step(actions)
            seconds.append(time.perf_counter() - began)
            cpu.append((time.process_time() - used) / members)
        rates = tuple(members / value for value in seconds)
        yield Row(f"vector of {members}, {what}: steps a second", rates, "/s", goal)
        yield in_ms(
            f"vector of {members}, {what}: host's own CPU a step", cpu, 0.1 if goal else None
        )
    began = time.perf_counter()
    envs.close()
    yield in_ms(f"vector of {members}: close", [time.perf_counter() - began])


LOOK = {"content": "", "tool_calls": [{"name": "list_dir", "arguments": {"path": "src/pkg_00"}}]}
UNKNOWN = {"content": "", "tool_calls": [{"name": "nothing", "arguments": {}}]}
