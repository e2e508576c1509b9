"""What validation says of a task's verifier: before it runs what lacks, after it why it said no."""

from __future__ import annotations

from pathlib import Path

from repodrome.envs.grading.grader import hidden_files, targets
from repodrome.envs.grading.mutants import read_mutants
from repodrome.envs.grading.programs import cases_of
from repodrome.envs.grading.pytest_run import PytestRun
from repodrome.envs.grading.verdict import TestStatus, Verdict
from repodrome.errors import GradingError
from repodrome.harness.authoring.findings import Finding, error
from repodrome.tasks.locate import Location
from repodrome.tasks.model import Task

_MOST_LOG = 1500  # characters
_NO_TESTS = 5  # pytest's exit status

_MEND = {
    "pytest": "mend the solution or the tests; with right tests, "
    "`repodrome task validate --write` computes the expected ids anew",
    "mutants": "the solution's tests must match verifier.agent_tests, pass on the workspace as it "
    "is (pristine), and fail on each mutant",
    "output": "mend the solution, or the cases in tests/cases.toml",
    "benchmark": "mend the solution: it is what the time is compared with, so that only noise can "
    "make it slow; raise verifier.target or use larger inputs",
    "command": "mend the solution, or what verifier.command runs",
    "none": "there is nothing to mend",
    "script": "mend the solution, or tests/test.sh: it must leave a number from 0 to 1 in "
    "/logs/verifier/reward.txt, and 1 for the solution",
}


def _check_gold(task: Task, pristine: Path) -> list[Finding]:
    """Places that aren't there."""
    found = []
    for text in task.locate.gold:
        place = Location.parse(text)
        path = pristine / place.path
        if path.is_symlink() or not path.is_file():
            found.append(error("locate", f"{text}: there is no such file", "mend locate.gold"))
        elif place.last > len(path.read_bytes().splitlines()):
            found.append(error("locate", f"{text}: the file ends before", "mend locate.gold"))
    return found


def check_verifier(task: Task, hidden: Path | None, pristine: Path) -> list[Finding]:
    """What the verifier needs and the task folder lacks. Blocks while it reads files.

    In an episode the same is an infrastructure failure, since no agent can cause it; an author
    can mend it.

    Args:
        hidden: the files that the source hides.
        pristine: the workspace as the agent gets it.
    """
    verifier, folder = task.verifier, task.folder / "tests"
    if task.locate.gold:
        return _check_gold(task, pristine)
    if verifier.kind == "command" and not verifier.command:
        return [error("verifier", "there is no command", "write verifier.command in task.toml")]
    if verifier.kind == "script" and not (folder / "test.sh").is_file():
        return [error("verifier", f"{folder / 'test.sh'} is missing", "write it")]
    try:
        if verifier.kind == "pytest":
            targets(task, hidden_files(task, hidden), pristine)
        elif verifier.kind == "mutants":
            read_mutants(folder / "mutants")
        elif verifier.kind in ("output", "benchmark"):
            cases_of(task)
    except GradingError as failure:
        problem, _, fix = str(failure).partition("; ")  # errors name their fix last
        return [error("verifier", problem, fix)]
    if verifier.kind == "mutants" and not verifier.agent_tests:
        return [
            error(
                "verifier",
                "verifier.agent_tests is empty, so no test that the agent writes counts",
                'name the files it may write, e.g. agent_tests = ["tests/test_limiter*.py"]',
            )
        ]
    return []


def refused(verdict: Verdict, failure: str) -> Finding:
    """Why the reference solution was not accepted.

    Args:
        failure: how applying the solution failed, ``""`` where it did not.
    """
    if failure:
        return not_applied(failure)
    problem = f"the reference solution fails: {_why(verdict)}"
    return error("oracle", problem + _quoted(verdict), _MEND[verdict.kind])


def not_applied(failure: str) -> Finding:
    """The solution could not even be applied."""
    return error(
        "oracle", f"the reference solution can't be applied: {failure}", "mend it in solution/"
    )


def no_end(run: PytestRun) -> Finding:
    """Why the hidden tests' run came to no end, although the change is the author's own."""
    if run.status == _NO_TESTS:
        return error(
            "expected",
            "pytest finds no test in the hidden files",
            "write functions named test_… in files named test_….py below tests/",
        )
    what = "ran past verifier.timeout_sec" if run.timed_out else f"ended with status {run.status}"
    log = run.log[-_MOST_LOG:].strip()
    return error(
        "expected",
        f"with the reference solution applied, pytest {what}" + (f":\n{log}" if log else ""),
        "mend the tests: they must run to their end with the solution",
    )


def without_ids(task: Task) -> Task:
    """The task as it is before its expected ids are known."""
    verifier = task.verifier.model_copy(update={"fail_to_pass": (), "pass_to_pass": ()})
    return task.model_copy(update={"verifier": verifier})


def collection_errors(log: str) -> str:
    """The part of pytest's output that says why test files could not be imported, or ``""``."""
    _, mark, rest = log.partition(" ERRORS ==")
    text = rest.partition("\n")[2].partition("\n=====")[0].strip("\n")
    return "\n" + text[-_MOST_LOG:] if mark and text else ""


def _quoted(verdict: Verdict) -> str:
    """The end of the log; of pytest's only what isn't about planted tests."""
    if verdict.kind == "pytest":
        return collection_errors(verdict.log)
    text = verdict.log.strip()
    return "\n" + text[-_MOST_LOG:] if text else ""


def _why(verdict: Verdict) -> str:
    if verdict.tampering:
        return f"tampering was seen: {', '.join(verdict.tampering)}"
    if verdict.timed_out:
        return "the tests ran past their time"
    wanted = {**verdict.fail_to_pass, **verdict.pass_to_pass}
    bad = sorted(f"{test} ({s.value})" for test, s in wanted.items() if s is not TestStatus.PASSED)
    if bad:
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        return ", ".join(bad[:5]) + more
    return f"score {verdict.score}"
