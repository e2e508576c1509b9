"""What grading costs beyond the tests' own run, and whole episodes a second."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.corpus import DONE, FINISH, command, make_task
from benchmarks.timing import Row, in_ms


def run(quick: bool, work: Path) -> Iterator[Row]:
    """The rows of this subject."""
    yield from asyncio.run(_graded(make_task(work, 1000, pytest=True), 10 if quick else 40))
    by_command, by_pytest = make_task(work, 1000), make_task(work, 1000, pytest=True)
    seconds = 3.0 if quick else 10.0
    for folder, what, goal in (
        (by_command, "a command", 60.0),
        (by_pytest, "pytest", None),
    ):
        for at_once in (1, 4):
            rate = asyncio.run(_rate(folder, at_once, seconds))
            figure = f"full episodes, 3 commands, graded by {what}, {at_once} at once"
            yield Row(figure, (rate,), "/s", goal if at_once > 1 else None)


async def _graded(folder: Path, n: int) -> list[Row]:
    from repodrome.envs.episode import Episode
    from repodrome.tasks.suites import resolve_task

    task = resolve_task(str(folder))
    bare, scored, beyond, said, exported = [], [], [], [], []
    for index in range(n + 1):
        async with await Episode.start(task) as episode:
            if index == 0:
                tests = _BareTests(folder, episode.spec.layers[-1])
            await episode.step(DONE)
            await episode.step(FINISH)
            floor = await asyncio.to_thread(tests.run)
            began = time.perf_counter()
            report = await episode.score()
            seconds = time.perf_counter() - began
        if report.total != 1.0 or report.verdict is None:
            raise RuntimeError(f"the benchmark's own episode earned {report.total}: {report}")
        if index:
            bare.append(floor)
            scored.append(seconds)
            beyond.append(seconds - floor)
            said.append(report.verdict.overhead_seconds)
    tests.close()
    async with await Episode.start(task) as episode:
        await episode.step(DONE)
        began = time.perf_counter()
        await episode.sandbox.export()
        exported.append(time.perf_counter() - began)
    return [
        in_ms("bare pytest of the same tests", bare, floor=True),
        in_ms("Episode.score", scored),
        in_ms("Episode.score beyond bare pytest, in turn", beyond, 30),
        in_ms("Verdict.overhead_seconds", said, 30),
        in_ms("export of the change", exported),
    ]


class _BareTests:
    """The same tests, files, interpreter and pytest, without sandbox or launcher."""

    def __init__(self, folder: Path, packages: Path) -> None:
        self.place = tempfile.mkdtemp()
        shutil.copytree(folder / "workspace", self.place, dirs_exist_ok=True)
        shutil.copytree(folder / "tests", f"{self.place}/tests")
        Path(self.place, "done.txt").write_text("done\n")
        expected = json.loads((folder / "expected.json").read_text())
        files = {test.split("::")[0] for tests in expected.values() for test in tests}
        site = next(packages.glob("env/lib/python3*/site-packages"))
        self.argv = [os.path.realpath(packages / "env/bin/python"), "-s", "-B", "-m", "pytest"]
        self.argv += ["-c", "/dev/null", f"--rootdir={self.place}", "--import-mode=importlib"]
        self.argv += ["-p", "no:cacheprovider", "-q", "--no-header", "--tb=short", *sorted(files)]
        self.env = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": f"{site}:{self.place}/src",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }

    def run(self) -> float:
        """Seconds of one run."""
        began = time.perf_counter()
        done = subprocess.run(self.argv, cwd=self.place, env=self.env, capture_output=True)
        seconds = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError(f"bare pytest failed: {done.stdout!r} {done.stderr!r}")
        return seconds

    def close(self) -> None:
        """Remove its files."""
        shutil.rmtree(self.place, ignore_errors=True)


async def _rate(folder: Path, at_once: int, seconds: float) -> float:
    """Whole episodes a second: start, three commands, the solution, grade, close."""
    from repodrome.envs.episode import Episode
    from repodrome.tasks.suites import resolve_task

    task = resolve_task(str(folder))
    await (await Episode.start(task)).close()
    done = 0
    began = time.monotonic()

    async def play() -> None:
        nonlocal done
        while time.monotonic() - began < seconds:
            async with await Episode.start(task) as episode:
                for turn in (command("ls"), command("cd src; pwd"), DONE, FINISH):
                    await episode.step(turn)
                report = await episode.score()
                if report.total != 1.0:
                    raise RuntimeError(f"the benchmark's own episode earned {report.total}")
                done += 1

    await asyncio.gather(*(play() for _ in range(at_once)))
    return done / (time.monotonic() - began)
