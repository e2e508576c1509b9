"""What befalls a daemon in the middle of an episode is never a reward of 0."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest

from repodrome.envs.episode import Episode
from repodrome.envs.sandbox.docker.backend import DockerBackend
from repodrome.tasks.model import Task
from repodrome.tasks.suites import resolve_task
from tests.docker.daemon import Daemon

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

TASK = """\
[task]
name = "docker/faults"

[verifier]
kind = "command"
command = "sleep 5; test -f done.txt"
"""


@pytest.fixture
async def backend(breakable: Daemon) -> AsyncIterator[DockerBackend]:
    made = DockerBackend(hosts=[breakable.url])
    yield made
    await made.close()


@pytest.fixture
def task(tmp_path: Path) -> Task:
    folder = tmp_path / "task"
    (folder / "workspace").mkdir(parents=True)
    (folder / "workspace/a.txt").write_text("a\n")
    (folder / "instruction.md").write_text("Make done.txt.\n")
    (folder / "task.toml").write_text(TASK)
    return resolve_task(str(folder))


def terminal(command: str) -> dict[str, object]:
    return {
        "content": "",
        "tool_calls": [{"name": "terminal", "arguments": {"command": command}}],
    }


async def after(seconds: float, action: Callable[[], None]) -> None:
    await anyio.sleep(seconds)
    await anyio.to_thread.run_sync(action)


async def test_stopped_in_mid_step(task: Task, backend: DockerBackend, breakable: Daemon) -> None:
    async with await Episode.start(task, backend=backend) as episode:
        await episode.step(terminal("echo > done.txt"))
        async with anyio.create_task_group() as group:
            group.start_soon(after, 0.5, breakable.stop)
            step = await episode.step(terminal("sleep 60"))
        assert step.results[0].error == "infra"
        assert episode.stop_reason == "infra" and episode.truncated
        report = await episode.score()
        assert report.infra_failed and report.total is None


async def test_stopped_in_mid_grade(task: Task, backend: DockerBackend, breakable: Daemon) -> None:
    async with await Episode.start(task, backend=backend) as episode:
        await episode.step(terminal("echo > done.txt"))
        await episode.step("Done.")
        async with anyio.create_task_group() as group:
            group.start_soon(after, 1.5, breakable.stop)
            report = await episode.score()
        assert report.infra_failed and report.total is None


async def test_one_episode_after_it_came_back(
    task: Task, backend: DockerBackend, breakable: Daemon
) -> None:
    await (await Episode.start(task, backend=backend)).close()
    await anyio.to_thread.run_sync(breakable.stop)
    async with anyio.create_task_group() as group:
        group.start_soon(after, 1.0, breakable.start)
        async with await Episode.start(task, backend=backend) as episode:
            await episode.step(terminal("echo > done.txt"))
            await episode.step("Done.")
            assert (await episode.score()).total == 1.0


async def test_the_agents_own_oom_is_scored(task: Task, backend: DockerBackend) -> None:
    limits = task.environment.model_copy(update={"memory_mb": 128})
    bomb = "python3 -c 'x = bytearray()\nwhile True: x += bytes(1 << 24)'"
    small = task.model_copy(update={"environment": limits})
    async with await Episode.start(small, backend=backend) as episode:
        step = await episode.step(terminal(bomb))
        assert "memory" in step.results[0].text and episode.stop_reason is None
        await episode.step("I give up.")
        report = await episode.score()
        assert report.total == 0.0 and not report.infra_failed
