"""Two hundred episodes alive at once: time, memory, and what kill -9 leaves."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.corpus import command, make_task
from benchmarks.timing import PYTHON, Row, in_ms
from repodrome.liveness import start_time

MEMBERS = 200


def run(quick: bool, work: Path) -> Iterator[Row]:
    """The rows of this subject."""
    folder = make_task(work, 1000)
    members = 50 if quick else MEMBERS
    yield from asyncio.run(_alive(folder, members))
    yield from _killed(folder, members)


async def _alive(folder: Path, members: int) -> list[Row]:
    from repodrome.envs.episode import Episode
    from repodrome.tasks.suites import resolve_task

    task = resolve_task(str(folder))
    first = await Episode.start(task)
    before = _rss(os.getpid())
    began = time.perf_counter()
    episodes = await asyncio.gather(*(Episode.start(task) for _ in range(members)))
    ready = time.perf_counter() - began
    began = time.perf_counter()
    steps = await asyncio.gather(*(episode.step(command(":")) for episode in episodes))
    stepped = time.perf_counter() - began
    failed = sum(bool(step.results[0].error) for step in steps)
    each = sum(_pss(pid) for pid in _below(os.getpid())) / (members + 1)
    host = _rss(os.getpid()) - before
    began = time.perf_counter()
    await asyncio.gather(*(episode.close() for episode in (first, *episodes)))
    closed = time.perf_counter() - began
    return [
        in_ms(f"{members} episodes started at once", [ready]),
        in_ms(f"a first step in all {members} at once", [stepped]),
        Row(f"steps of {members} that failed", (failed,), "", 0),
        Row("memory of each sandbox (PSS, spawner's share with it)", (each / 2**20,), "MB", 4),
        Row("memory of each in the host process (RSS)", (host / members / 2**20,), "MB"),
        Row("host process (RSS)", (_rss(os.getpid()) / 2**20,), "MB"),
        in_ms(f"{members} closed at once", [closed]),
    ]


def _killed(folder: Path, members: int) -> list[Row]:
    """A trainer with ``members`` live episodes is killed; then another one starts."""
    code = f"from benchmarks.crowd import live; live({str(folder)!r}, {members})"
    trainer = subprocess.Popen([PYTHON, "-c", code], stdout=subprocess.PIPE, text=True)
    assert trainer.stdout is not None
    stage = trainer.stdout.readline().strip()
    owner = os.path.basename(stage).removeprefix("repodrome-").rpartition("-")[0]
    # By start time as well: a pid may be another process's by then.
    below = {pid: start_time(pid) for pid in _below(trainer.pid)}
    began = time.perf_counter()
    trainer.send_signal(signal.SIGKILL)
    while _alive_of(below) and time.perf_counter() - began < 10:
        time.sleep(0.002)
    gone = time.perf_counter() - began
    trainer.wait()
    # The next start, by a process of its own.
    subprocess.run([PYTHON, "-c", f"from benchmarks.crowd import once; once({str(folder)!r})"])
    left = {
        "processes": _alive_of(below),
        "mounts": Path("/proc/self/mounts").read_text().count(stage),
        "cgroups": _cgroups(owner),
        "temp directories": int(os.path.exists(stage)),
    }
    rows = [
        in_ms(
            f"kill -9 of a trainer with {members}: until its {len(below)} processes are gone",
            [gone],
        )
    ]
    return rows + [
        Row(f"{what} left after the next start", (count,), "", 0) for what, count in left.items()
    ]


def live(folder: str, members: int) -> None:
    """A trainer: starts episodes, prints where its sandboxes live, and waits to be killed."""
    from repodrome.envs.episode import Episode
    from repodrome.envs.sandbox.direct.client import spawner

    async def main() -> None:
        episodes = await asyncio.gather(*(Episode.start(folder) for _ in range(members)))
        print(spawner().stage, flush=True)
        await asyncio.sleep(600)
        del episodes

    asyncio.run(main())


def once(folder: str) -> None:
    """The next trainer: one episode."""
    from repodrome.envs.episode import Episode

    async def main() -> None:
        async with await Episode.start(folder):
            pass

    asyncio.run(main())


def _alive_of(known: dict[int, int | None]) -> int:
    return sum(start_time(pid) == started is not None for pid, started in known.items())


def _cgroups(owner: str) -> int:
    root = Path("/sys/fs/cgroup")
    return sum(1 for _ in root.glob(f"**/repodrome/{owner}*")) if root.is_dir() else 0


def _below(pid: int) -> list[int]:
    """All descendants of a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            children = [int(p) for p in (task / "children").read_text().split()]
        except OSError:
            continue
        for one in children:
            found += [one, *_below(one)]
    return found


def _pss(pid: int) -> int:
    """Bytes of memory, shared pages by share."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) << 10 if found else 0


def _rss(pid: int) -> int:
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) << 10 if found else 0
