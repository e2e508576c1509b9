"""A fresh episode, its end, and the next of a group."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.corpus import make_task
from benchmarks.floors import bwrap_start
from benchmarks.timing import Row, in_ms, paces


def run(quick: bool, work: Path) -> Iterator[Row]:
    """The rows of this subject."""
    small, large = make_task(work, 1000), make_task(work, 20_000)
    yield from asyncio.run(_episodes(small, quick))
    yield from _gym(small, quick)
    yield from asyncio.run(_large(large, quick))
    yield from asyncio.run(_group(small, quick))


async def _episodes(folder: Path, quick: bool) -> list[Row]:
    from repodrome.envs.episode import Episode
    from repodrome.tasks.suites import resolve_task

    task = resolve_task(str(folder))
    await (await Episode.start(task)).close()
    rows = []
    for words, pause, n in paces(quick):
        floor, starts, ends = [], [], []
        for _ in range(n):
            # In turn, so that whatever else the machine does meets all three alike.
            await asyncio.sleep(pause)
            floor.append(bwrap_start())
            await asyncio.sleep(pause)
            began = time.perf_counter()
            episode = await Episode.start(task)
            starts.append(time.perf_counter() - began)
            await asyncio.sleep(pause)
            began = time.perf_counter()
            await episode.close()
            ends.append(time.perf_counter() - began)
        rows += [
            in_ms(f"bwrap to first bash output, in turn, {words}", floor, floor=True),
            in_ms(f"Episode.start, 1,000 files, {words}", starts, 5, 10),
            in_ms(f"Episode.close, {words}", ends, 2),
        ]
    return rows


def _gym(folder: Path, quick: bool) -> Iterator[Row]:
    import gymnasium as gym

    import repodrome  # noqa: F401  (registers the environment)

    env = gym.make("repodrome/Repo-v0", task=str(folder), disable_env_checker=True)
    env.reset(seed=0)
    for words, pause, n in paces(quick):
        taken = []
        for seed in range(n):
            time.sleep(pause)
            began = time.perf_counter()
            env.reset(seed=seed)
            taken.append(time.perf_counter() - began)
        yield in_ms(f"gym reset (closes the last one too), {words}", taken, 5, 10)
    env.close()


async def _large(folder: Path, quick: bool) -> list[Row]:
    from repodrome.envs.episode import Episode
    from repodrome.tasks.suites import resolve_task

    task = resolve_task(str(folder))
    await (await Episode.start(task)).close()
    rows = []
    for words, pause, n in paces(quick):
        taken = []
        for _ in range(n):
            await asyncio.sleep(pause)
            began = time.perf_counter()
            episode = await Episode.start(task)
            taken.append(time.perf_counter() - began)
            await episode.close()
        rows.append(in_ms(f"Episode.start, 20,000 files, {words}", taken, 8))
    return rows


async def _group(folder: Path, quick: bool) -> list[Row]:
    from repodrome.envs.episode import Episode
    from repodrome.tasks.suites import resolve_task

    task = resolve_task(str(folder))
    taken = []
    for _ in range(3 if quick else 12):
        first = await Episode.start(task)
        await first.backend.prefetch(first.spec, 7)
        group = [first]
        for _ in range(7):
            await asyncio.sleep(0.01)
            began = time.perf_counter()
            group.append(await Episode.start(task))
            taken.append(time.perf_counter() - began)
        await asyncio.gather(*(episode.close() for episode in group))
    await first.backend.close()
    return [in_ms("Episode.start, next of a group, prefetched", taken, 1)]
