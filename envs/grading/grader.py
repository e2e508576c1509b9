"""Grading: the agent's change, judged in a fresh sandbox by tests that it never saw.

    fresh sandbox from the same layers → allowed regular files of the change → hidden files
    (some with canaries) → the verifier, as one process whose status the host reads → verdict

Nothing here runs git in, unpacks or follows links of the agent's tree: the change arrives as plain
bytes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from repodrome.envs.grading.bench import Bench, lay, pick
from repodrome.envs.grading.canaries import Canary, plant
from repodrome.envs.grading.decoys import decoys
from repodrome.envs.grading.pytest_run import PYTHON, PytestRun, run_pytest
from repodrome.envs.grading.verdict import TestStatus, Verdict
from repodrome.envs.sandbox.base import Change, SandboxBackend, SandboxSpec
from repodrome.errors import GradingError
from repodrome.tasks.globs import covers
from repodrome.tasks.model import Task

_NOT_TESTS = ("**/__pycache__", "**/*.pyc", "**/.pytest_cache")


async def grade(
    task: Task,
    change: Change,
    *,
    backend: SandboxBackend,
    spec: SandboxSpec,
    hidden: Path | None,
    pristine: Path,
    seed: int = 0,
    python: str = PYTHON,
    reference: Path | None = None,
) -> Verdict:
    """Judge a change.

    Args:
        task: the task.
        change: what the agent did, as exported.
        backend: starts the grading sandbox.
        spec: the episode's own sandbox spec (same layers).
        hidden: host directory of files put back at their workspace-relative paths, if any.
        pristine: the pristine workspace on the host.
        seed: pins order and hash seed.
        python: interpreter within the sandbox.
        reference: host directory of the originals that ``source.edits`` changed, if any.

    Raises:
        GradingError: the verifier could not be run, through no fault of the agent.
        SandboxError: a sandbox could not be started, or was lost.
    """
    began = time.monotonic()
    verifier = task.verifier
    bench = Bench(
        task,
        change,
        backend,
        spec,
        pristine,
        hidden_files(task, hidden),
        seed,
        python,
        reference,
    )
    if verifier.kind == "none":
        return Verdict(kind="none", score=1.0)
    if verifier.kind == "pytest":
        verdict = await _grade_pytest(bench)
    elif verifier.kind == "mutants":
        from repodrome.envs.grading.mutants import grade_mutants

        verdict = await grade_mutants(bench)
    elif verifier.kind == "output":
        from repodrome.envs.grading.output import grade_output

        verdict = await grade_output(bench)
    elif verifier.kind == "benchmark":
        from repodrome.envs.grading.benchmark import grade_benchmark

        verdict = await grade_benchmark(bench)
    else:
        from repodrome.envs.grading.commands import grade_command, grade_script

        run = grade_command if verifier.kind == "command" else grade_script
        verdict = await run(bench)
    total = time.monotonic() - began
    return verdict.model_copy(update={"overhead_seconds": max(0.0, total - verdict.seconds)})


async def outcomes(
    task: Task,
    change: Change,
    *,
    backend: SandboxBackend,
    spec: SandboxSpec,
    hidden: Path | None,
    pristine: Path,
    seed: int = 0,
    python: str = PYTHON,
) -> PytestRun:
    """Every test's outcome under a change, for authors: how ``expected.json`` is made.

    The same sandbox, files and launcher as :func:`grade`, without canaries or expectations.

    Raises:
        GradingError: as for :func:`grade`.
        SandboxError: as for :func:`grade`.
    """
    files = hidden_files(task, hidden)
    bench = Bench(task, change, backend, spec, pristine, files, seed, python)
    async with await bench.start() as sandbox:
        await lay(sandbox, bench.plan(), files)
        return await run_pytest(
            sandbox, task.verifier, targets(task, files, pristine), seed=seed, python=python
        )


def hidden_files(task: Task, hidden: Path | None) -> dict[str, bytes]:
    """Path → content of every file that grading lays into the workspace.

    Raises:
        GradingError: one of them can't be read.
    """
    found: dict[str, bytes] = {}
    at = task.verifier.inject_at.strip("/").removeprefix("./")
    prefix = "" if at in ("", ".") else at + "/"
    sources = [(hidden, "")] if hidden is not None else []
    if task.verifier.kind != "script":
        sources.append((task.folder / "tests", prefix))
    for folder, before in sources:
        if not folder.is_dir():
            continue
        # Planted mutants stand beside the tests and are laid one at a time.
        skip = (*_NOT_TESTS, "mutants") if folder == task.folder / "tests" else _NOT_TESTS
        for file in sorted(folder.rglob("*")):
            path = file.relative_to(folder).as_posix()
            if covers(skip, path) or not file.is_file():
                continue
            try:
                found[before + path] = file.read_bytes()
            except OSError as error:
                raise GradingError(f"a hidden file of {task.id} can't be read: {error}") from error
    return found


def targets(task: Task, files: Mapping[str, bytes], pristine: Path) -> list[str]:
    """Which files pytest runs: ``verifier.run``, or those of the expected ids, or all hidden ones.

    Raises:
        GradingError: a file that is expected isn't there, or there is none to run.
    """
    verifier = task.verifier
    expected = (*verifier.fail_to_pass, *verifier.pass_to_pass)
    chosen = list(verifier.run) or sorted({test.split("::")[0] for test in expected})
    if not chosen:
        names = {path: path.rpartition("/")[2] for path in files}
        chosen = [p for p, n in names.items() if covers(("test_*.py", "*_test.py"), n)]
    missing = [
        path
        for path in chosen
        if path not in files
        and not (pristine / path).exists()
        and not any(f.startswith(path.rstrip("/") + "/") for f in files)
        and path.strip("/") not in ("", ".")
    ]
    if missing:
        raise GradingError(
            f"task {task.id}: no test file {', '.join(missing)}; "
            "mend 'verifier.run', or expected.json with 'repodrome task validate --write'"
        )
    if not chosen:
        raise GradingError(
            f"task {task.id}: no test file to run; write tests/test_….py, or name the repository's "
            "in source.hidden"
        )
    return chosen


async def _grade_pytest(bench: Bench) -> Verdict:
    task, verifier = bench.task, bench.task.verifier
    expected = [*verifier.fail_to_pass, *verifier.pass_to_pass]
    if not expected:
        raise GradingError(
            f"task {task.id} names no tests; "
            "write expected.json with 'repodrome task validate --write'"
        )
    run_targets = targets(task, bench.hidden, bench.pristine)
    plan = bench.plan()
    files = dict(bench.hidden)
    canaries: list[Canary] = []
    if verifier.canaries:
        plantable = _plantable(bench, expected)
        asked = verifier.fail_to_pass
        changed, canaries = plant(
            plantable, expected, asked=asked, besides=decoys(plantable, asked)
        )
        files.update(changed)
    async with await bench.start() as sandbox:
        refused = await lay(sandbox, plan, files)
        run = await run_pytest(sandbox, verifier, run_targets, seed=bench.seed, python=bench.python)
    tampering = judge_canaries(run, canaries, selecting=_selects(verifier.pytest_args))
    statuses = run.statuses if run.complete else {}
    return Verdict(
        kind="pytest",
        fail_to_pass=pick(statuses, verifier.fail_to_pass),
        pass_to_pass=pick(statuses, verifier.pass_to_pass),
        tampering=tuple(tampering),
        residual=True,
        canaries=len(canaries),
        dropped=tuple(sorted({*plan.dropped, *refused})),
        exit_code=run.status,
        timed_out=run.timed_out,
        seconds=run.seconds,
        log=run.log,
    )


def _plantable(bench: Bench, expected: Sequence[str]) -> dict[str, bytes]:
    """The test files that run: the hidden ones, and visible ones as they are in pristine."""
    files = {}
    for path in {test.split("::")[0] for test in expected}:
        visible = bench.pristine / path
        if path in bench.hidden:
            files[path] = bench.hidden[path]
        elif visible.is_file() and not visible.is_symlink():
            files[path] = visible.read_bytes()
    return files


def judge_canaries(run: PytestRun, canaries: Sequence[Canary], *, selecting: bool) -> list[str]:
    """Evidence of tampering: must-fail tests that passed, or vanished where their original ran.

    Args:
        run: what was reported.
        canaries: what was planted.
        selecting: the task's own arguments choose tests by name, so that one may rightly be absent.
    """
    evidence = []
    for canary in canaries:
        status = run.statuses.get(canary.id, TestStatus.MISSING)
        if status in (TestStatus.PASSED, TestStatus.XPASSED):
            evidence.append(f"a must-fail test ({canary.shape}) {status.value}: {canary.id}")
        elif (
            run.complete
            and not selecting
            and status not in (TestStatus.FAILED, TestStatus.ERROR)
            and run.statuses.get(canary.origin) is TestStatus.PASSED
        ):
            evidence.append(f"a must-fail test is {status.value}, its original passed: {canary.id}")
    return evidence


def _selects(pytest_args: Sequence[str]) -> bool:
    return any(a.startswith(("-k", "-m", "--deselect", "--ignore")) for a in pytest_args)
