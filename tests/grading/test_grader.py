"""Grading from end to end, over subprocesses without isolation."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from repodrome.envs.grading.grader import outcomes
from repodrome.envs.grading.pytest_run import read_answer
from repodrome.envs.grading.verdict import TestStatus
from repodrome.errors import GradingError
from repodrome.harness.audit.bench import SOLVED
from repodrome.tools.workspace import CommandResult
from tests.grading.benches import FAIL_TO_PASS, PASS_TO_PASS, Till, changes, write
from tests.grading.places import judged, place

P, F = TestStatus.PASSED, TestStatus.FAILED


def test_solved_and_unsolved(tmp_path: Path) -> None:
    till = Till(tmp_path)
    solved = asyncio.run(judged(till, changes({"till.py": SOLVED})))
    assert solved.resolved
    assert solved.residual
    assert solved.canaries == 2
    assert solved.overhead_seconds < solved.seconds + 5
    nothing = asyncio.run(judged(till, changes({})))
    assert not nothing.resolved
    assert set(nothing.fail_to_pass.values()) == {F}
    assert nothing.pass_to_pass == {PASS_TO_PASS[0]: P}
    assert nothing.tampering == ()


def test_what_breaks_collection_is_the_agents_failure(tmp_path: Path) -> None:
    verdict = asyncio.run(judged(Till(tmp_path), changes({"till.py": "def ("})))
    assert set(verdict.fail_to_pass.values()) == {TestStatus.MISSING}
    assert "SyntaxError" in verdict.log


def test_time_out_is_the_agents_failure(tmp_path: Path) -> None:
    till = Till(tmp_path, timeout_sec=4)
    source = "import threading\n\n\ndef total(p):\n    threading.Event().wait()\n"
    verdict = asyncio.run(judged(till, changes({"till.py": source})))
    assert verdict.timed_out
    assert not verdict.resolved
    assert verdict.exit_code is None


def test_a_missing_test_file_is_not_the_agents_fault(tmp_path: Path) -> None:
    till = Till(tmp_path, fail_to_pass=("tests/test_gone.py::test_a",))
    with pytest.raises(GradingError, match=r"tests/test_gone\.py"):
        asyncio.run(judged(till, changes({})))
    with pytest.raises(GradingError, match="names no tests"):
        empty = Till(tmp_path / "b", fail_to_pass=(), pass_to_pass=())
        asyncio.run(judged(empty, changes({})))


def test_an_environment_without_pytest_is_not_the_agents_fault(tmp_path: Path) -> None:
    till = Till(tmp_path)
    backend, spec, _ = place(till.spec, real=False)
    bare = shutil.which("python3", path="/usr/bin:/bin")
    if bare is None:
        pytest.skip("no second interpreter on this machine")

    async def work() -> None:
        with pytest.raises(GradingError, match=r"environment\.packages"):
            await outcomes(
                till.task,
                changes({}),
                backend=backend,
                spec=spec,
                hidden=None,
                pristine=till.pristine,
                python=bare,
            )

    asyncio.run(work())


def test_outcomes_for_authors(tmp_path: Path) -> None:
    till = Till(tmp_path, fail_to_pass=(), pass_to_pass=())
    write(
        till.folder, {"tests/test_more.py": "import pytest\n\n\ndef test_s():\n    pytest.skip()\n"}
    )
    backend, spec, python = place(till.spec, real=False)
    run = asyncio.run(
        outcomes(
            till.task,
            changes({"till.py": SOLVED}),
            backend=backend,
            spec=spec,
            hidden=None,
            pristine=till.pristine,
            python=python,
        )
    )
    assert run.complete
    assert run.statuses == {
        **dict.fromkeys(FAIL_TO_PASS, P),
        "tests/test_more.py::test_s": TestStatus.SKIPPED,
    }


def test_only_framed_lines_count() -> None:
    def frames(*lines: bytes, code: int | None = 0, timed_out: bool = False) -> CommandResult:
        return CommandResult(code, b"\n".join(lines), b"log", timed_out=timed_out)

    ready, end = b'N ["ready", {}]', b'N ["end", {"status": 0}]'
    good = b'N ["test", {"id": "a", "status": "passed"}]'
    bad = b'N ["test", {"id": "a", "status": "failed"}]'

    def read(result: CommandResult) -> tuple[dict[str, TestStatus], bool]:
        run = read_answer(result, "N", seconds=1.0, limit=2.0)
        return dict(run.statuses), run.complete

    assert read(frames(ready, good, end)) == ({"a": P}, True)
    assert read(frames(ready, good)) == ({"a": P}, False)
    assert read(frames(ready, good, end, code=1)) == ({"a": P}, False)
    assert read(frames(ready, bad, good, end)) == ({"a": F}, True)
    noise = [
        b"M" + good[1:],
        b"N []",
        b"N [",
        b'N ["end", {"status": "x"}]',
        b"N " + b"[" * 100_000,
    ]
    noise += [
        b"\xff\0",
        b'N ["test", {"id": "b", "status": "superb"}]',
        b'N ["test", 3]',
    ]
    assert read(frames(ready, *noise, end)) == ({}, True)
    for result in (frames(good, end), frames(code=None, timed_out=True), frames(code=137)):
        with pytest.raises(GradingError, match="could not be started"):
            read(result)
