"""What a task's verifier lets through: attacks, faults that it misses, inputs that are known."""

from __future__ import annotations

import ast
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import anyio
from pydantic import BaseModel, ConfigDict

from repodrome.envs.environment import Prepared
from repodrome.envs.grading.grader import grade, hidden_files
from repodrome.envs.grading.protect import plan
from repodrome.envs.grading.verdict import Verdict
from repodrome.envs.rewards.base import Gathering, RewardContext
from repodrome.envs.rewards.lines import changed_lines, to_lines
from repodrome.envs.rewards.report import rewards_of, score
from repodrome.envs.sandbox.base import Change, ChangedFile, SandboxBackend
from repodrome.envs.trajectory import Trajectory
from repodrome.errors import GradingError
from repodrome.harness.audit.corpus import Case, load
from repodrome.harness.authoring.findings import Finding, error, note
from repodrome.harness.authoring.mutation import Mutant, mutants
from repodrome.tasks.model import Task
from repodrome.tasks.python_source import parse

MOST_MUTANTS = 24
SECONDS = 150.0
"""After that no further attack is begun, and after as long again no further mutant."""
WEAK = 0.6
"""Tests that notice a smaller share of the mutants are marked weak."""
_FEW = 5
_JOBS = 2
_NAMED = 5
_Job = TypeVar("_Job")


class TaskAudit(BaseModel):
    """What was found.

    Attributes:
        marks: ``residual``: the agent's code runs in the process that reports on it; ``weak``: the
            tests miss many mutants; ``visible``: the agent sees every case that the tests try.
        attacks: how many were tried.
        paying: those that earn a reward.
        mutants: how many were tried, of what the solution changes.
        survivors: those that the tests don't notice, as ``path:line: old → new``.
        held_out: share of the asked-for tests with a case that the agent can't see; None where the
            verifier has no tests of Python that could be read.
    """

    model_config = ConfigDict(frozen=True)

    marks: tuple[str, ...] = ()
    attacks: int = 0
    paying: tuple[str, ...] = ()
    mutants: int = 0
    survivors: tuple[str, ...] = ()
    held_out: float | None = None

    @property
    def mutation_score(self) -> float | None:
        """Share of the mutants that the tests notice; None where there are none."""
        return None if not self.mutants else 1 - len(self.survivors) / self.mutants


@dataclass(frozen=True)
class _Subject:
    """The task under audit."""

    task: Task
    prepared: Prepared
    backend: SandboxBackend
    solution: Change

    @property
    def pristine(self) -> Path:
        return self.prepared.materialised.workspace

    async def verdict(self, task: Task, change: Change) -> Verdict:
        return await grade(
            task,
            change,
            backend=self.backend,
            spec=self.prepared.spec,
            hidden=self.prepared.materialised.hidden,
            pristine=self.pristine,
            python=self.prepared.python,
            reference=self.prepared.materialised.reference,
        )

    def before(self, path: str) -> bytes | None:
        """A file of the workspace as the agent gets it."""
        file = self.pristine / path
        return file.read_bytes() if file.is_file() and not file.is_symlink() else None

    def change(self, files: Mapping[str, bytes]) -> Change:
        """A change that writes these files."""
        return Change(
            tuple(
                ChangedFile(p, "added" if self.before(p) is None else "modified", data)
                for p, data in sorted(files.items())
            )
        )


async def audit_task(
    task: Task,
    prepared: Prepared,
    solution: Change,
    *,
    backend: SandboxBackend,
    progress: Callable[[str], None],
    attacks: bool = True,
) -> TaskAudit:
    """Audit one task, whose solution is known to be accepted.

    Args:
        solution: the oracle's change.
        progress: told, in a line each, what is being done.
        attacks: try them, too.

    Raises:
        GradingError, SandboxError: the machine failed.
    """
    subject = _Subject(task, prepared, backend, solution)
    kind = task.verifier.kind
    if kind in ("mutants", "none"):
        return TaskAudit(marks=("residual",) if kind == "mutants" else ())
    modules = _modules(subject)
    right = await subject.verdict(task, solution)
    tried, paying = 0, tuple[str, ...]()
    # Portable attacks are on processes that judge, which a program has none of.
    if attacks and kind not in ("output", "benchmark"):
        progress("trying attacks on it")
        tried, paying = await _attacked(subject, modules, time.monotonic() + SECONDS)
    progress("putting faults into the solution")
    count, survivors = await _mutated(subject, modules, right, time.monotonic() + SECONDS)
    held_out = await anyio.to_thread.run_sync(_held_out, subject)
    found = TaskAudit(
        attacks=tried, paying=paying, mutants=count, survivors=survivors, held_out=held_out
    )
    marks = {
        "residual": right.residual,
        "weak": count >= _FEW and (found.mutation_score or 0.0) < WEAK,
        "visible": held_out == 0.0,
    }
    return found.model_copy(update={"marks": tuple(name for name, on in marks.items() if on)})


def findings(audit: TaskAudit) -> list[Finding]:
    """An audit in words that an author can act on."""
    found = [
        error(
            "audit",
            f"the attack {name} earns a reward: {_mechanism(name)}",
            "let the verifier compare what the program prints, or judge by exact test ids",
        )
        for name in audit.paying
    ]
    if audit.mutation_score is not None:
        missed = "; ".join(audit.survivors[:_NAMED])
        share = f"the tests notice {audit.mutants - len(audit.survivors)} of {audit.mutants} faults"
        found.append(
            note(
                "mutation",
                f"{share} in what the solution changes" + (f"; not {missed}" if missed else ""),
                "test what these lines do" if "weak" in audit.marks else "",
            )
        )
    if "visible" in audit.marks:
        found.append(
            note(
                "held-out",
                "the agent sees every case that the asked-for tests try, so that hard-coded "
                "answers pass",
                "test other inputs than the instruction and the visible tests show",
            )
        )
    return found


def _mechanism(name: str) -> str:
    return next(case.mechanism for case in load("attacks") if case.name == name)


def _modules(subject: _Subject) -> dict[str, bytes]:
    """Path → content, with the solution, of the Python files that it changes and that count."""
    kept = plan(subject.solution, subject.task.verifier, occupied=(), pristine=subject.pristine)
    return {f.path: f.data for f in kept.write if f.path.endswith(".py") and f.data is not None}


# -- attacks ---------------------------------------------------------------------------------------


async def _attacked(
    subject: _Subject, modules: Mapping[str, bytes], ends: float
) -> tuple[int, tuple[str, ...]]:
    targets = {path: (subject.before(path) or b"").decode("utf-8", "replace") for path in modules}
    paying: list[str] = []
    tried = 0

    async def one(case: Case) -> None:
        nonlocal tried
        written = {path: text.encode() for path, text in case.contents(targets).items()}
        change = subject.change(written)
        verdict = await subject.verdict(subject.task, change)
        tried += 1
        if _earned(subject.task, change, verdict) > 0:
            paying.append(case.name)

    cases = [case for case in load("attacks") if case.portable]
    await _some_at_once(one, cases, ends)
    return tried, tuple(sorted(paying))


def _earned(task: Task, change: Change, verdict: Verdict) -> float:
    """What the execution rewards give for a verdict."""
    terms = [
        term
        for term in rewards_of(task)
        if not term[0].auxiliary and not isinstance(term[0], Gathering)
    ]
    context = RewardContext(
        task=task,
        trajectory=Trajectory(task_id=task.id, seed=0, sandbox=""),
        change=change,
        verdict=verdict,
    )
    return score(context, terms).total or 0.0


# -- mutants ---------------------------------------------------------------------------------------


async def _mutated(
    subject: _Subject, modules: Mapping[str, bytes], right: Verdict, ends: float
) -> tuple[int, tuple[str, ...]]:
    # A mutant that loops for ever is noticed by the clock.
    limit = min(subject.task.verifier.timeout_sec, max(10.0, 10 * right.seconds))
    verifier = subject.task.verifier.model_copy(update={"canaries": False, "timeout_sec": limit})
    task = subject.task.model_copy(update={"verifier": verifier})
    survivors: list[str] = []
    tried = 0

    async def one(job: tuple[str, Mutant]) -> None:
        nonlocal tried
        path, mutant = job
        files = (
            replace(file, data=mutant.source) if file.path == path else file
            for file in subject.solution.files
        )
        try:
            verdict = await subject.verdict(task, Change(tuple(files)))
        except GradingError:
            if verifier.kind != "benchmark":
                raise
            return  # too busy a machine to say whether the mutant is slower
        tried += 1
        if _earned(task, subject.solution, verdict) >= _earned(task, subject.solution, right):
            survivors.append(f"{path}:{mutant.line}: {mutant.what}")

    await _some_at_once(one, list(_jobs(subject, modules)), ends)
    return tried, tuple(sorted(survivors))


def _jobs(subject: _Subject, modules: Mapping[str, bytes]) -> Iterator[tuple[str, Mutant]]:
    most = max(1, MOST_MUTANTS // max(1, len(modules)))
    for path, after in modules.items():
        added, _ = changed_lines(to_lines(subject.before(path) or b""), to_lines(after))
        for mutant in mutants(after, {index + 1 for index in added}, most=most):
            yield path, mutant


async def _some_at_once(
    one: Callable[[_Job], Awaitable[None]], jobs: Sequence[_Job], ends: float
) -> None:
    """Do the jobs, a few side by side, as long as there is time."""
    room = anyio.CapacityLimiter(_JOBS)

    async def guarded(job: _Job) -> None:
        async with room:
            if time.monotonic() < ends:
                await one(job)

    async with anyio.create_task_group() as group:
        for job in jobs:
            group.start_soon(guarded, job)


# -- held-out inputs -------------------------------------------------------------------------------


def _held_out(subject: _Subject) -> float | None:
    """Share of the asked-for tests that try something the agent sees nowhere."""
    verifier = subject.task.verifier
    if verifier.kind != "pytest" or not verifier.fail_to_pass:
        return None
    hidden = hidden_files(subject.task, subject.prepared.materialised.hidden)
    seen: set[str] = set()
    for file in subject.pristine.rglob("*.py"):
        if file.is_file() and file.relative_to(subject.pristine).as_posix() not in hidden:
            seen.update(case for cases in _cases(file.read_bytes()).values() for case in cases)
    asked = {test.partition("[")[0] for test in verifier.fail_to_pass}
    known = held = 0
    for test in asked:
        path, _, name = test.partition("::")
        cases = _cases(hidden.get(path, b"")).get(name.rpartition("::")[2])
        if path not in hidden:
            known += 1  # a visible test
        elif cases:
            known += 1
            held += not cases <= seen
    return held / known if known else None


def _cases(source: bytes) -> dict[str, set[str]]:
    """Name of each test → its assertions as text."""
    try:
        tree = parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return {}
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            lines = {ast.unparse(n) for n in ast.walk(node) if isinstance(n, ast.Assert)}
            calls = {
                ast.unparse(n)
                for n in ast.walk(node)
                if isinstance(n, ast.Call) and ast.unparse(n.func).startswith("self.assert")
            }
            found.setdefault(node.name, set()).update(lines | calls)
    return found
