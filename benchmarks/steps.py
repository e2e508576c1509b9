"""One tool call: through an Episode, and through the Gymnasium environment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.corpus import command, make_task
from benchmarks.floors import shell_rows
from benchmarks.timing import Row, in_ms, sample, sample_async

PACES = (("paced", 0.01), ("back to back", 0.0))
TEN_KILOBYTES = {"name": "write_file", "arguments": {"path": "a.txt", "content": "x" * 10_239}}
WRITE = {"content": "", "tool_calls": [TEN_KILOBYTES]}
READ = {"name": "read_file", "arguments": {"path": "src/pkg_00/module_0001.py"}}


def run(quick: bool, work: Path) -> Iterator[Row]:
    """The rows of this subject."""
    folder = make_task(work, 1000)
    n = 100 if quick else 1000
    yield from shell_rows(n)
    yield from asyncio.run(_episode(folder, n))
    yield from _gym(folder, n)


async def _episode(folder: Path, n: int) -> list[Row]:
    from repodrome.envs.episode import Episode

    rows = []
    for words, pause in PACES:
        async with await Episode.start(str(folder)) as episode:
            for what, turn, goal in (
                ("terminal builtin", command(":"), 0.3),
                ("terminal fork+exec", command("/bin/true"), 1.2),
                ("read_file", {"content": "", "tool_calls": [READ]}, None),
                ("write_file, 10 KB", WRITE, None),
                ("git status, 1,000 files", command("git status --short"), None),
            ):
                count = min(n, 50) if "git" in what else n
                seconds = await sample_async(partial(episode.step, turn), count, pause=pause)
                rows.append(in_ms(f"Episode.step, {what}, {words}", seconds, goal))
    return rows


def _gym(folder: Path, n: int) -> Iterator[Row]:
    import gymnasium as gym

    import repodrome  # noqa: F401  (registers the environment)

    env = gym.make("repodrome/Repo-v0", task=str(folder), disable_env_checker=True)
    for words, pause in PACES:
        for what, turn, goal in (
            ("terminal builtin", command(":"), 0.6),
            ("terminal fork+exec", command("/bin/true"), None),
        ):
            env.reset(seed=0)
            seconds = sample(partial(env.step, turn), n, pause=pause)
            yield in_ms(f"gym step, {what}, {words}", seconds, goal)
    env.close()
