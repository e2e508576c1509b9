"""Long episodes and Locate-v0: what a context budget costs, and a search without a model."""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.corpus import command, make_task
from benchmarks.timing import Row, in_ms, sample_async

BUDGET = 16_000
"""Tokens."""


def run(quick: bool, work: Path) -> Iterator[Row]:
    """The rows of this subject."""
    folder = make_task(work, 1000)
    yield from asyncio.run(_budget(folder, 20 if quick else 100))
    yield from asyncio.run(_locate(1 if quick else 3))


async def _budget(folder: Path, n: int) -> list[Row]:
    from repodrome.envs.episode import Episode
    from repodrome.tasks.suites import resolve_task

    limits = {"max_turns": 100_000, "max_tool_calls": 100_000}
    task = resolve_task(folder)
    task = task.model_copy(update={"limits": task.limits.model_copy(update=limits)})
    rows = []
    for words, tokens in (("without a budget (floor)", 0), ("with a budget", 1 << 30)):
        async with await Episode.start(task, context_budget=tokens) as episode:
            seconds = await sample_async(partial(episode.step, command(":")), 3 * n)
        rows.append(in_ms(f"Episode.step, terminal builtin, {words}", seconds, floor=not tokens))
    taken = []
    async with await Episode.start(task, context_budget=BUDGET) as episode:
        while len(taken) < n:
            if not episode.summary_wanted:
                await episode.step(command("seq 1 20000"))
                continue
            began = time.perf_counter()
            await episode.step("Counted, and nothing else was done.")
            taken.append(time.perf_counter() - began)
    rows.append(in_ms("the summary's step: state, next context, 1,000 files", taken))
    return rows


async def _locate(rounds: int) -> list[Row]:
    from repodrome.tasks.suites import get_suite

    tasks = list(get_suite("locate"))
    seconds: list[float] = []
    rewards: dict[int, list[float]] = {1: [], 3: []}
    for round_ in range(rounds + 1):
        for task in tasks:
            for most, found in rewards.items():
                began = time.perf_counter()
                reward = await _search(task, most)
                if round_:  # the first builds trees and indexes
                    seconds.append(time.perf_counter() - began)
                    found.append(reward)
    rows = [in_ms("a whole Locate-v0 episode: start, one semantic_search, answer, score", seconds)]
    for most, found in rewards.items():
        words = f"mean reward of the question's {most} best hit{'s' if most > 1 else ''} as answer"
        rows.append(Row(f"{words}, {len(tasks)} tasks", (statistics.mean(found),), "reward"))
    return rows


async def _search(task: Any, most: int) -> float:
    """Ask semantic_search the question itself, and answer with its best hits."""
    from repodrome.envs.episode import Episode

    call = {"name": "semantic_search", "arguments": {"query": task.instruction.strip()}}
    async with await Episode.start(task) as episode:
        step = await episode.step({"content": "", "tool_calls": [call]})
        hits = re.findall(r"^(\S+:\d+-\d+)  ", step.observation, re.MULTILINE)
        await episode.step("\n".join(hits[:most]) or "Nothing was found.")
        return (await episode.score()).total or 0.0
