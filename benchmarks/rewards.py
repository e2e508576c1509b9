"""Scoring finished episodes: the auxiliary rewards of a long one, and stored ones again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, process_time

from benchmarks.timing import Row, in_ms, sample
from repodrome.envs.grading.verdict import TestStatus, Verdict
from repodrome.envs.rewards.base import RewardContext
from repodrome.envs.rewards.record import with_evidence
from repodrome.envs.rewards.report import Term, score, terms_of
from repodrome.envs.sandbox.base import Change, ChangedFile
from repodrome.envs.trajectory import AssistantTurn, Step, ToolCall, ToolResult, Trajectory
from repodrome.harness.rescore import rescore_all
from repodrome.harness.trajectory import (
    End,
    Header,
    TrajectoryWriter,
    change_to_json,
    pristine_to_json,
    task_to_json,
)
from repodrome.tasks.model import Source, Task

NAMES = (
    *("tests", "style.lint", "style.format", "style.diff", "style.complexity", "style.comments"),
    *("misuse", "effort", "communication", "integrity"),
)
TASK = Task(
    id="bench/rewards",
    instruction="Mend it.",
    folder=Path("/bench"),
    source=Source(directory="w"),
    rewards=tuple({"name": name, "weight": 0.1} for name in NAMES),  # type: ignore[arg-type]
)
JOBS = 2


def run(quick: bool, work: Path) -> Iterator[Row]:
    """The rows of this subject."""
    n = 30 if quick else 200
    terms = terms_of(TASK.rewards)
    long = context(steps=200, lines=500)
    known = with_evidence(long, [term.reward for term in terms])
    seconds = sample(lambda: _score(_fresh(long), terms), n)
    words = "auxiliary rewards, 200 steps, 500-line change"
    yield in_ms(f"{words}, ruff {version('ruff')} included", seconds, 20)
    yield in_ms(f"{words}, evidence there", sample(lambda: _score(_fresh(known), terms), n))
    for term in terms:
        one = sample(lambda term=term: score(_fresh(known), [term]), n)  # type: ignore[misc]
        yield in_ms(f"of that: {term.reward.name}", one)
    for steps, lines, count, goal in ((20, 60, 2000, 500), (200, 500, 200, None)):
        with tempfile.TemporaryDirectory(dir=work) as folder:
            size = write_runs(Path(folder), steps, lines, count // (4 if quick else 1), terms)
            rates = [_rate(Path(folder)) for _ in range(2 if quick else 5)]
            cpu = [_cpu_seconds(path) for path in sorted(Path(folder).iterdir())[:200]]
        yield Row(
            f"scored again, {JOBS} processes: {steps} steps, {lines} lines, {size >> 10} KiB each",
            tuple(rates),
            "/s",
            goal,
        )
        # What is left of the rate where others use the machine; 2 cores at 4 ms make 500 a second.
        yield in_ms(
            f"CPU time of one: {steps} steps, {lines} lines", cpu, goal and JOBS * 1e3 / goal
        )


def _score(given: RewardContext, terms: list[Term]) -> None:
    score(with_evidence(given, [term.reward for term in terms]), terms)


def _fresh(given: RewardContext) -> RewardContext:
    """A copy that has worked nothing out yet."""
    return given.model_copy()


def _rate(folder: Path) -> float:
    began = perf_counter()
    found = rescore_all([folder], jobs=JOBS)
    seconds = perf_counter() - began
    assert not any(one.skipped or one.moved for one in found)
    return len(found) / seconds


def _cpu_seconds(path: Path) -> float:
    began = process_time()
    rescore_all([path])
    return process_time() - began


def write_runs(folder: Path, steps: int, lines: int, count: int, terms: list[Term]) -> int:
    """Write trajectory files; gives the bytes of one."""
    given = with_evidence(context(steps, lines), [term.reward for term in terms])
    report = score(given, terms)
    for number in range(count):
        path = folder / f"{number}.jsonl"
        header = Header(task_id=TASK.id, task=task_to_json(TASK), seed=number)
        with TrajectoryWriter(path, header) as writer:
            for step in given.trajectory.steps:
                writer.step(step)
            writer.end(
                End(
                    stop_reason="finished",
                    terminated=True,
                    final_message=given.trajectory.final_message,
                    report=report,
                    change=change_to_json(given.change),
                    pristine=pristine_to_json(given.pristine),
                    reference_lines=given.reference_lines,
                    evidence=dict(given.evidence),
                )
            )
    return path.stat().st_size


def context(steps: int, lines: int) -> RewardContext:
    """An episode that reads, edits and tests in turn, and changes ``lines`` lines of 5 files."""
    old = "\n\n".join(function(number, "a + b") for number in range(100))
    new = old
    for number in range(lines // 10):
        new = new.replace(function(number % 100, "a + b"), function(number % 100, "b + a + 1"))
    added = "\n\n".join(function(1000 + number, "a * b") for number in range(lines // 30))
    paths = [f"src/module{number}.py" for number in range(4)]
    files = [ChangedFile(path, "modified", new.encode()) for path in paths]
    files.append(ChangedFile("src/new.py", "added", added.encode()))
    passed = {f"tests/test_a.py::test_{number}": TestStatus.PASSED for number in range(50)}
    return RewardContext(
        task=TASK,
        trajectory=Trajectory(
            task_id=TASK.id,
            seed=0,
            sandbox="none",
            steps=tuple(step(number) for number in range(steps)),
            stop_reason="finished",
            final_message="I changed how the modules add, in `module0.py`. All tests pass.",
        ),
        change=Change(tuple(files)),
        verdict=Verdict(kind="pytest", fail_to_pass=passed),
        pristine={path: old.encode() for path in paths},
        reference_lines=lines,
    )


def function(number: int, body: str) -> str:
    """A function of five lines."""
    return (
        f"def function{number}(a: int, b: int) -> int:\n"
        f'    """What function{number} is for."""\n'
        f"    if a > {number}:\n        return {body}\n    return b\n"
    )


def step(number: int) -> Step:
    """One step: a read, an edit, or a run of the tests."""
    kind = number % 3
    path = f"src/module{number % 5}.py"
    name, arguments, data = (
        ("read_file", {"path": path}, {"path": path, "first_line": 1, "lines": 40}),
        ("edit_file", {"path": path, "old_string": "a + b", "new_string": "b + a"}, {"path": path}),
        ("terminal", {"command": f"python -m pytest -q tests/test_{number}.py"}, {"exit_code": 0}),
    )[kind]
    call = ToolCall(id=f"c{number}", name=name, arguments=dict(arguments))
    result = ToolResult(
        call_id=call.id, name=name, tool=name, text=f"line {number} of it\n" * 60, data=dict(data)
    )
    turn = AssistantTurn(content=f"Next, step {number} of the plan.", tool_calls=(call,))
    return Step(index=number, turn=turn, results=(result,), observation=result.text)
