"""The toolbox itself, background jobs, and linting."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.corpus import command, make_task
from benchmarks.timing import Row, in_ms, sample, sample_async

KINDS = ("tools", "parameters", "order")
POLL = {"name": "terminal_job", "arguments": {"action": "output"}}
LOOKS = [{"name": "read_file", "arguments": {"path": f"src/pkg_00/module_{n:04}.py"}}
         for n in range(8)]  # fmt: skip


def run(quick: bool, work: Path) -> Iterator[Row]:
    """The rows of this subject."""
    folder = make_task(work, 1000)
    n = 100 if quick else 500
    yield from _toolbox(n)
    yield from asyncio.run(_episode(folder, n))
    yield from _lints(min(n, 30))


def _toolbox(n: int) -> Iterator[Row]:
    from repodrome.tools.toolbox import Toolbox

    box = Toolbox.build()
    keys = iter(range(10 * n))
    yield in_ms("Toolbox.build", sample(Toolbox.build, n))
    yield in_ms("Toolbox.perturbed", sample(lambda: box.perturbed(KINDS, str(next(keys))), n))


async def _episode(folder: Path, n: int) -> list[Row]:
    from repodrome.envs.episode import Episode

    rows = []
    async with await Episode.start(str(folder)) as episode:
        arguments = {"command": "sleep 1000", "background": True}
        start = {"tool_calls": [{"name": "terminal", "arguments": arguments}]}
        for what, turn, count in (
            ("8 read_file calls in one turn", {"content": "", "tool_calls": LOOKS}, 30),
            ("terminal_job, output of a running job", {"content": "", "tool_calls": [POLL]}, 30),
            ("terminal, 1 MB of output put aside", command("seq 150000"), 20),
        ):
            if "job" in what:
                await episode.step(start)
            seconds = await sample_async(partial(episode.step, turn), min(n, count))
            rows.append(in_ms(f"Episode.step, {what}", seconds))
    return rows


def _lints(n: int) -> Iterator[Row]:
    from repodrome.tools.lints import RuffLinter, SourceFile, find_ruff

    text = "import os\n" + "".join(f"\n\ndef f{n}(x):\n    return x + {n}\n" for n in range(40))
    for number in (1, 100):
        files = [SourceFile(f"{one}.py", text.encode()) for one in range(number)]
        with tempfile.TemporaryDirectory() as folder:
            for file in files:
                Path(folder, file.path).write_bytes(file.data)
            argv = [find_ruff(), "check", "--isolated", "--no-cache", "--exit-zero", "--quiet"]
            bare = partial(subprocess.run, argv, cwd=folder, capture_output=True, check=True)
            yield in_ms(f"ruff alone, {number} files of 200 lines", sample(bare, n), floor=True)
        seconds = asyncio.run(sample_async(partial(RuffLinter().lint, files), n))
        yield in_ms(f"RuffLinter, {number} files of 200 lines", seconds)
