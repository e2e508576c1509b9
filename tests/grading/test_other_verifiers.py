"""Verifiers that are not a list of pytest ids: mutants, commands, scripts."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from repodrome.envs.grading.verdict import TestStatus, Verdict
from repodrome.errors import GradingError
from repodrome.harness.audit.bench import SOLVED
from tests.grading.benches import Till, changes, write
from tests.grading.places import judged

P, F = TestStatus.PASSED, TestStatus.FAILED

CAREFUL = """\
from till import label, total


def test_total():
    assert total([1, 2]) == 3
    assert total([]) == 0


def test_label():
    assert label(" a ") == "a"
"""
CARELESS = "from till import total\n\n\ndef test_total():\n    assert total([]) == 0\n"
SPY = """\
import pathlib
import till


def test_total():
    assert "# the till" in pathlib.Path(till.__file__).read_text()
"""
CLOCK = """\
import os
import till


def test_total():
    assert os.stat(till.__file__).st_mtime < 1000000000
"""


def mutants(base: Path, source: str | None) -> Verdict:
    till = Till(base, kind="mutants", agent_tests=["tests/**"], fail_to_pass=(), pass_to_pass=())
    right = "# the till\n" + SOLVED
    write(till.pristine, {"till.py": right})
    os.utime(till.pristine / "till.py", (5, 5))
    (till.folder / "tests" / "test_total.py").unlink()
    write(
        till.folder / "tests" / "mutants",
        {
            "none/till.py": right.replace("sum(prices)", "0"),
            "more/till.py": right.replace("sum(prices)", "sum(prices) + 1"),
            "label/till.py": right.replace("name.strip()", "name"),
        },
    )
    files = {} if source is None else {"tests/test_mine.py": source}
    return asyncio.run(judged(till, changes({**files, "till.py": "def total(p): return 3"})))


def test_mutants_caught(tmp_path: Path) -> None:
    verdict = mutants(tmp_path, CAREFUL)
    assert verdict.resolved, verdict.log
    assert verdict.pass_to_pass == {"pristine": P}
    assert verdict.score == 1.0
    assert verdict.dropped == ("till.py",)


@pytest.mark.parametrize(
    ("source", "pristine", "score"),
    [
        (CARELESS, P, 1 / 3),
        (SPY, F, 0.0),
        (CLOCK, F, 0.0),
        ("def test_a():\n    assert False\n", F, 0.0),
        ("import pytest\n\n\ndef test_a():\n    pytest.skip()\n", F, 0.0),
        ("import os\n\nos._exit(0)\n", F, 0.0),
        (None, TestStatus.MISSING, 0.0),
    ],
)
def test_mutants_missed(
    source: str | None, pristine: TestStatus, score: float, tmp_path: Path
) -> None:
    verdict = mutants(tmp_path, source)
    assert not verdict.resolved
    assert verdict.pass_to_pass == {"pristine": pristine}
    assert verdict.score == pytest.approx(score)


def command(base: Path, files: dict[str, str | None] | None = None, **settings: Any) -> Verdict:
    till = Till(base, kind="command", fail_to_pass=(), pass_to_pass=(), **settings)
    return asyncio.run(judged(till, changes(files or {})))


def test_command_by_exit_code(tmp_path: Path) -> None:
    assert command(tmp_path / "a", command="test -f till.py").resolved
    assert not command(tmp_path / "b", command=["/bin/sh", "-c", "exit 3"]).resolved
    late = command(tmp_path / "c", command="sleep 30", timeout_sec=0.5)
    assert late.timed_out
    assert not late.resolved


def test_a_report_from_before_the_run_does_not_count(tmp_path: Path) -> None:
    settings = {"parser": "junit-xml", "report": "out.xml"}
    good = '<testcase name="a"/>'
    forged = command(tmp_path / "a", {"out.xml": good}, command="true", **settings)
    assert not forged.resolved
    assert forged.dropped == ("out.xml",)
    honest = command(tmp_path / "b", command=f"echo '{good}' > out.xml", **settings)
    assert honest.resolved


def test_makefile_comes_from_pristine_for_commands(tmp_path: Path) -> None:
    verdict = command(tmp_path, {"Makefile": "test:\n\ttrue\n"}, command="test ! -e Makefile")
    assert verdict.resolved


@pytest.mark.parametrize(
    ("name", "text", "score"),
    [
        ("json", "0.5", 0.5),
        ("json", '{\\"reward\\": 1}', 1.0),
        ("txt", "1", 1.0),
        ("txt", "nan", 0.0),
        ("json", "[", 0.0),
    ],
)
def test_script(name: str, text: str, score: float, tmp_path: Path) -> None:
    till = Till(tmp_path, kind="script", fail_to_pass=(), pass_to_pass=())
    line = f'test -f till.py && echo "{text}" > "$VERIFIER_DIR/reward.{name}"\n'
    write(till.folder, {"tests/test.sh": line})
    assert asyncio.run(judged(till, changes({}), real=True)).score == score


def test_a_harbor_script_finds_its_fixed_places(tmp_path: Path) -> None:
    till = Till(tmp_path, kind="script", fail_to_pass=(), pass_to_pass=())
    script = "cat /tests/wanted > /logs/verifier/reward.txt\n"
    write(till.folder, {"tests/test.sh": script, "tests/wanted": "0.25"})
    assert asyncio.run(judged(till, changes({}), real=True)).score == 0.25


def test_a_task_without_its_script(tmp_path: Path) -> None:
    till = Till(tmp_path, kind="script", fail_to_pass=(), pass_to_pass=())
    with pytest.raises(GradingError, match=r"tests/test\.sh"):
        asyncio.run(judged(till, changes({})))
