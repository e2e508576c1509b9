"""A second episode that goes on from the middle of the first."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.corpus import command, make_task
from benchmarks.timing import Row, in_ms, sample

CHANGE = 'for file in src/*/*.py; do printf "# changed\\n" >>"$file"; done'


def run(quick: bool, work: Path) -> Iterator[Row]:
    """The rows of this subject."""
    folder = make_task(work, 1000)
    if os.path.isdir("/dev/shm"):
        yield in_ms("cp -a of 1,000 files on tmpfs", _copies(folder / "workspace"), floor=True)
    yield from asyncio.run(_forks(folder, 10 if quick else 50))


def _copies(source: Path) -> list[float]:
    taken = []
    with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
        shutil.copytree(source, f"{scratch}/from")
        for number in range(10):
            argv = ["cp", "-a", f"{scratch}/from", f"{scratch}/to-{number}"]
            taken += sample(partial(subprocess.run, argv, check=True), 1, warm_up=0)
    return taken


async def _forks(folder: Path, n: int) -> list[Row]:
    from repodrome.envs.episode import Episode

    rows = []
    for changed in (0, 1000):
        async with await Episode.start(str(folder)) as episode:
            if changed:
                await episode.step(command(CHANGE))
            forks, snapshots, restores = [], [], []
            for _ in range(n):
                await asyncio.sleep(0.05)
                began = time.perf_counter()
                other = await episode.fork()
                forks.append(time.perf_counter() - began)
                await other.close()
                began = time.perf_counter()
                snapshot = await episode.snapshot()
                snapshots.append(time.perf_counter() - began)
                began = time.perf_counter()
                await episode.restore(snapshot)
                restores.append(time.perf_counter() - began)
                await snapshot.release()
            goal = 20 if changed else None
            rows += [
                in_ms(f"Episode.fork, {changed:,} changed files", forks, goal),
                in_ms(f"Episode.snapshot, {changed:,} changed files", snapshots),
                in_ms(f"Episode.restore, {changed:,} changed files", restores),
            ]
    return rows
