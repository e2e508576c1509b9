"""How each class of attack is judged: under its naive counterpart, and here."""

from __future__ import annotations

import os
import resource
import unicodedata
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import anyio

from repodrome.envs.sandbox.base import SandboxLimits
from repodrome.harness.audit import bench_programs, here, naive_grader, naive_programs
from repodrome.harness.audit.corpus import Case
from repodrome.harness.audit.ground import Ground, naive_sandbox
from repodrome.harness.audit.here import Played
from repodrome.harness.audit.naive_rewards import NAIVE

_SECONDS = 240.0
"""What takes longer holds up the host, and has harmed it."""
_SMALL = {"memory_mb": 192, "pids": 48, "storage_mb": 32, "inodes": 1500}
_MOST_MEMORY = 512 << 20  # bytes that one episode may cost this process
_VICTIM = "of the host"


async def naive_grading(ground: Ground, case: Case) -> bool:
    """The naive grader takes the task for solved."""
    async with naive_sandbox(ground, case, "/tmp/host") as sandbox:
        if case.verifier in bench_programs.PROGRAMS:
            return await naive_programs.believes(sandbox, case)
        return await naive_grader.believes(sandbox, case)


async def grading_pays(ground: Ground, case: Case) -> tuple[bool, Played]:
    """It earns a reward."""
    task = ground.bench.tasks[case.verifier]
    if case.judge == "timed":
        verifier = task.verifier.model_copy(update={"timeout_sec": 8.0})
        task = task.model_copy(update={"verifier": verifier})
    played = await here.attacked(ground, case, task=task)
    return played.total > 0, played


async def naive_rewards(ground: Ground, case: Case) -> bool:
    """The naive reward prefers the game to honest work."""
    game, plain = [await _both(ground, case, turns) for turns in (case.game, case.plain)]
    function = NAIVE[case.judge]
    return function(_context(game)) > function(_context(plain)) + 1e-9


async def rewards_pay(ground: Ground, case: Case) -> tuple[bool, Played]:
    """The same terms of ours prefer it."""
    game, plain = [await _both(ground, case, turns) for turns in (case.game, case.plain)]
    return game.total > plain.total + 1e-9, game


async def _both(ground: Ground, case: Case, script: tuple[object, ...]) -> Played:
    task = here.with_rewards(ground.bench.task, case.rewards)
    return await here.played(ground, task, list(script), name=case.name)


def _context(played: Played):  # type: ignore[no-untyped-def]
    from repodrome.harness.trajectory import read_trajectory

    return read_trajectory(played.record).context()


async def naive_host(ground: Ground, case: Case) -> bool:
    """The naive host does itself harm with the agent's tree."""
    async with naive_sandbox(ground, case, "/tmp/host") as sandbox:
        argv = ["python3", "-c", _source("naive_host"), case.judge]
        script = case.script.encode()
        done = await sandbox.run(argv, stdin=script, cwd=sandbox.root, timeout=60)
        return not done.stdout.endswith(b"unharmed\n")


async def host_is_harmed(ground: Ground, case: Case) -> tuple[bool, Played]:
    """The real host is: something of its own was changed, shown, or run, or it hangs."""
    place = ground.base / "canaries" / case.name
    secret, victim = place / "secret", place / "victim"
    place.mkdir(parents=True, exist_ok=True)
    for path in (secret, victim):
        path.write_text(_VICTIM)
        path.chmod(0o600)
    began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with anyio.fail_after(_SECONDS):
        played = await here.attacked(ground, case)
    record, shown = played.record.read_bytes(), _shown(played)
    harmed = (
        (place / "canary").exists()
        or not victim.exists()
        or victim.read_text() != _VICTIM
        or victim.stat().st_mode & 0o777 != 0o600
        or _VICTIM.encode() in record
        or b"\x1b" in record
        or any(unicodedata.category(c) in ("Cc", "Cf") and c != "\n" for c in shown)
        or (case.judge == "shell" and "[exit code 0]" in shown)
        or (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - began) * 1024 > _MOST_MEMORY
    )
    return harmed or played.total > 0, played


def _shown(played: Played) -> str:
    """The record as a person's terminal gets it."""
    from io import StringIO

    from rich.console import Console
    from rich.text import Text

    from repodrome.harness.text import safe
    from repodrome.harness.trajectory import read_trajectory

    file = StringIO()
    console = Console(file=file, force_terminal=True, color_system=None, highlight=False)
    for step in read_trajectory(played.record).steps:
        console.print(Text(safe(step.observation)))
    verdict = played.report.verdict
    for line in () if verdict is None else (*verdict.dropped, verdict.log):
        console.print(Text(safe(line)))
    return file.getvalue()


async def naive_resources(ground: Ground, case: Case) -> bool:
    """Beside a runner without limits the neighbour can't work any more."""
    limits = SandboxLimits(
        memory_mb=_SMALL["memory_mb"],
        pids=_SMALL["pids"],
        disk_mb=_SMALL["storage_mb"],
        inodes=_SMALL["inodes"],
    )
    spec = replace(ground.prepared.spec, limits=limits)
    async with await ground.backend.start(spec, live=False) as sandbox:
        done = await sandbox.run(
            ["python3", "-c", _source("naive_runner")],
            stdin=case.script.encode(),
            cwd=sandbox.root,
            timeout=30,
        )
        return not done.stdout.endswith(b"unharmed\n")


async def resources_are_taken(ground: Ground, case: Case) -> tuple[bool, Played]:
    """Another sandbox of the same host can't work any more, or something is left behind."""
    began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with await ground.backend.start(ground.prepared.spec) as neighbour:
        with anyio.fail_after(_SECONDS):
            played = await here.attacked(ground, case, task=ground.bench.with_limits(**_SMALL))
        work = "head -c 2000000 /dev/zero > filled && (true) && echo works"
        works = (await neighbour.shell(work, timeout=30)).stdout == b"works\n"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - began) * 1024
    survivors = await anyio.to_thread.run_sync(_survivors, f"audit-survivor-{case.name}")
    return not works or survivors or grown > _MOST_MEMORY or played.total > 0, played


def _survivors(name: str) -> bool:
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if (process / "cmdline").read_bytes().startswith(os.fsencode(name)):
                    return True
            except OSError:
                continue
    return False


@lru_cache(maxsize=4)
def _source(name: str) -> str:
    return (Path(__file__).parent / f"{name}.py").read_text("utf-8")


Naive = Callable[[Ground, Case], Awaitable[bool]]
Pays = Callable[[Ground, Case], Awaitable[tuple[bool, Played]]]

_JUDGES: Mapping[str, tuple[Naive, Pays]] = {
    "rewards": (naive_rewards, rewards_pay),
    "host": (naive_host, host_is_harmed),
    "resources": (naive_resources, resources_are_taken),
}


def judges_of(case: Case) -> tuple[Naive, Pays]:
    """What judges an attack of this class."""
    return _JUDGES.get(case.kind, (naive_grading, grading_pays))
