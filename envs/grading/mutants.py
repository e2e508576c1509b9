"""Judging tests by what they catch: they must pass on the right code and fail on each mutant.

Each run has a sandbox of its own, so that one run can leave no message for the next. A test could
still look at the code's text or its file's dates rather than at what it does; so there is one more
control, ``pristine:rewritten``: code that does the same under another text, freshly written. A
test that fails there tells copies apart, not faults.
"""

from __future__ import annotations

import ast
import secrets
from collections.abc import Mapping
from pathlib import Path

from repodrome.envs.grading.bench import Bench, lay, pick
from repodrome.envs.grading.protect import Plan
from repodrome.envs.grading.pytest_run import PytestRun, run_pytest
from repodrome.envs.grading.verdict import TestStatus, Verdict
from repodrome.errors import GradingError
from repodrome.tasks.globs import covers
from repodrome.tasks.python_source import parse

_TESTS = ("**/test_*.py", "**/*_test.py")
_LEAST_SECONDS = 5.0


def read_mutants(folder: Path) -> dict[str, dict[str, bytes]]:
    """Mutant name → the workspace files that it replaces, from ``tests/mutants``.

    Raises:
        GradingError: there are none.
    """
    mutants: dict[str, dict[str, bytes]] = {}
    if folder.is_dir():
        for mutant in sorted(p for p in folder.iterdir() if p.is_dir()):
            files = {
                p.relative_to(mutant).as_posix(): p.read_bytes()
                for p in sorted(mutant.rglob("*"))
                if p.is_file() and "__pycache__" not in p.parts
            }
            if files:
                mutants[mutant.name] = files
    if not mutants:
        raise GradingError(f"no mutants below {folder}; put each one's files in a folder there")
    return mutants


def rewritten(source: bytes) -> bytes:
    """Python that does the same under another text; unreadable source comes back as it is."""
    try:
        text = ast.unparse(parse(source))
    except (SyntaxError, ValueError, RecursionError):
        return source
    return f"{text}\n\n# {secrets.token_hex(8)}\n".encode("utf-8", "surrogatepass")


async def grade_mutants(bench: Bench) -> Verdict:
    """Run the agent's tests on pristine, on pristine rewritten, and on every mutant.

    ``mutant:<name>`` and ``pristine`` are the test ids that ``expected.json`` names; without it
    every mutant is to be caught (FAIL_TO_PASS) and pristine to pass (PASS_TO_PASS). All runs
    together may take ``verifier.timeout_sec``.

    Raises:
        GradingError: there are no mutants, or pytest can't be started.
        SandboxError: a sandbox failed.
    """
    verifier = bench.task.verifier
    mutants = read_mutants(bench.task.folder / "tests" / "mutants")
    touched = sorted({path for files in mutants.values() for path in files})
    control = {
        path: rewritten((bench.pristine / path).read_bytes())
        for path in touched
        if path.endswith(".py") and (bench.pristine / path).is_file()
    }
    plan = bench.plan()
    targets = [f.path for f in plan.write if covers(_TESTS, f.path)]
    asked = verifier.fail_to_pass or tuple(f"mutant:{name}" for name in mutants)
    guarded = verifier.pass_to_pass or (() if "pristine" in asked else ("pristine",))
    found: dict[str, TestStatus] = {}
    logs: list[str] = []
    seconds, timed_out, status = 0.0, False, None

    async def run(name: str, files: Mapping[str, bytes], limit: float) -> PytestRun:
        nonlocal seconds, status
        done = await _run(bench, plan, files, targets, limit)
        seconds += done.seconds
        status = done.status
        logs.append(f"== {name}\n{done.log[-8192:]}")
        return done

    if targets:
        base = await run("pristine", {}, verifier.timeout_sec)
        timed_out = base.timed_out
        good = _honest_pass(base)
        if good:
            again = await run("pristine:rewritten", control, verifier.timeout_sec)
            good = _still(again, base)
        found["pristine"] = TestStatus.PASSED if good else TestStatus.FAILED
        # A mutant that loops for ever is caught by the clock.
        each = max(_LEAST_SECONDS, 10 * base.seconds)
        for name, files in mutants.items() if good else ():
            left = verifier.timeout_sec - seconds
            if left <= 0:
                timed_out = True
                break
            mutant = await run(f"mutant:{name}", files, min(each, left))
            killed = not _still(mutant, base)
            found[f"mutant:{name}"] = TestStatus.PASSED if killed else TestStatus.FAILED
    return Verdict(
        kind="mutants",
        fail_to_pass=pick(found, asked),
        pass_to_pass=pick(found, guarded),
        score=sum(found.get(f"mutant:{n}") is TestStatus.PASSED for n in mutants) / len(mutants),
        residual=True,
        dropped=plan.dropped,
        exit_code=status,
        timed_out=timed_out,
        seconds=seconds,
        log="\n".join(logs)[-65536:] if logs else "the change has no test files that are allowed",
    )


async def _run(
    bench: Bench, plan: Plan, files: Mapping[str, bytes], targets: list[str], limit: float
) -> PytestRun:
    spec = bench.task.verifier
    async with await bench.start() as sandbox:
        await lay(sandbox, plan, {**bench.hidden, **files})
        return await run_pytest(
            sandbox, spec, targets, seed=bench.seed, timeout=limit, python=bench.python
        )


def _honest_pass(run: PytestRun) -> bool:
    """It ended by itself, something passed and nothing failed."""
    statuses = set(run.statuses.values())
    bad = {TestStatus.FAILED, TestStatus.ERROR, TestStatus.MISSING}
    return run.complete and run.status == 0 and TestStatus.PASSED in statuses and not statuses & bad


def _still(run: PytestRun, base: PytestRun) -> bool:
    """Whether everything that passed on pristine passes here."""
    return run.complete and all(
        run.statuses.get(test) is TestStatus.PASSED
        for test, status in base.statuses.items()
        if status is TestStatus.PASSED
    )
