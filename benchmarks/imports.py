"""Starting up: what a user waits for before the first episode."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.corpus import make_task
from benchmarks.timing import PYTHON, Row, in_ms, sample

IMPORT = "import time; a = time.perf_counter(); import repodrome; print(time.perf_counter() - a)"
FIRST = """
import asyncio, time
a = time.perf_counter()
from repodrome.envs.episode import Episode
async def main():
    async with await Episode.start({folder!r}):
        print(time.perf_counter() - a)
asyncio.run(main())
"""


def run(quick: bool, work: Path) -> Iterator[Row]:
    """The rows of this subject."""
    folder = str(make_task(work, 1000))
    n = 5 if quick else 20
    bare = sample(lambda: subprocess.run([PYTHON, "-c", ""], check=True), n)
    yield in_ms("python -c ''", bare, floor=True)
    yield in_ms("import repodrome, within Python", [_said(IMPORT) for _ in range(n)], 150)
    first = FIRST.format(folder=folder)
    _said(first)
    yield in_ms("a process's first episode, import included", [_said(first) for _ in range(n)])
    command = [PYTHON, "-m", "repodrome", "--help"]
    helped = sample(lambda: subprocess.run(command, check=True, capture_output=True), n)
    yield in_ms("repodrome --help", helped)


def _said(code: str) -> float:
    done = subprocess.run([PYTHON, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)
