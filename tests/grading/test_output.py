"""A program judged by what it prints for held-out inputs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from repodrome.envs.grading.verdict import TestStatus, Verdict
from repodrome.envs.rewards.tests import TestsReward
from repodrome.errors import GradingError
from tests.grading.benches import Till, changes, write
from tests.grading.places import judged
from tests.rewards.episodes import context

P, F, M = TestStatus.PASSED, TestStatus.FAILED, TestStatus.MISSING

CASES = """\
[[case]]
name = "sum"
args = ["+"]
stdin = "1 2 3"
stdout = "6"

[[case]]
name = "product"
args = ["x"]
stdin = "2 3 4"
stdout = "24"

[[case]]
name = "unknown"
args = ["?"]
status = 2
stdout = ""
keep = true
"""
HONEST = """\
import math, sys
numbers = [int(word) for word in sys.stdin.read().split()]
todo = {"+": sum, "x": math.prod}.get(sys.argv[1])
sys.exit(2) if todo is None else print(todo(numbers))
"""
PYTHON = "/env/bin/python"
SUM, PRODUCT, UNKNOWN = "case:sum", "case:product", "case:unknown"


def program(
    base: Path,
    source: str,
    *,
    cases: str = CASES,
    files: dict[str, str] | None = None,
    real: bool = False,
    **settings: Any,
) -> Verdict:
    settings = {"command": [PYTHON, "calc.py"], "compare": "lines", **settings}
    till = Till(base, kind="output", fail_to_pass=(), pass_to_pass=(), **settings)
    write(till.folder, {"tests/cases.toml": cases, **(files or {})})
    change = changes({"calc.py": source} if source else {})
    return asyncio.run(judged(till, change, real=real))


def test_right_and_half_right_and_nothing(tmp_path: Path) -> None:
    right = program(tmp_path / "a", HONEST)
    assert right.resolved and not right.residual
    assert right.fail_to_pass == {SUM: P, PRODUCT: P}
    assert right.pass_to_pass == {UNKNOWN: P}
    half = program(tmp_path / "b", HONEST.replace("math.prod", "sum"))
    assert not half.resolved
    assert half.fail_to_pass == {SUM: P, PRODUCT: F}
    assert "case:product printed something else: line 1 is '9', expected '24'" in half.log
    none = program(tmp_path / "c", "")
    assert set(none.fail_to_pass.values()) == {F}


def test_strict_and_fractional(tmp_path: Path) -> None:
    verdict = program(tmp_path, HONEST.replace("math.prod", "sum"))
    judging = context(verdict=verdict)
    assert TestsReward()(judging).value == 0.0
    assert TestsReward(mode="fractional")(judging).value == 0.5


def test_the_right_text_with_a_wrong_status_is_wrong(tmp_path: Path) -> None:
    verdict = program(tmp_path, HONEST + "sys.exit(3)\n")
    assert verdict.fail_to_pass == {SUM: F, PRODUCT: F}
    assert verdict.exit_code == 3


def test_one_endless_case_leaves_room_for_the_others(tmp_path: Path) -> None:
    source = HONEST + "import time\nif sys.argv[1] == '+':\n    time.sleep(60)\n"
    verdict = program(tmp_path, source, case_timeout_sec=1.0)
    assert verdict.timed_out
    assert verdict.fail_to_pass == {SUM: F, PRODUCT: P}


def test_all_cases_together_have_a_time(tmp_path: Path) -> None:
    verdict = program(tmp_path, "import time\ntime.sleep(60)\n", timeout_sec=0.3)
    assert verdict.fail_to_pass == {SUM: F, PRODUCT: M}
    assert verdict.timed_out and not verdict.resolved


def test_a_flood_of_output_is_a_failure_of_the_agent(tmp_path: Path) -> None:
    flood = HONEST + "sys.stderr.write('x' * (17 << 20))\n"
    assert program(tmp_path, flood, real=True).fail_to_pass == {SUM: F, PRODUCT: F}


def test_files_of_a_case_and_its_longer_texts(tmp_path: Path) -> None:
    verdict = program(
        tmp_path,
        "import sys\nprint(open('data/in.txt').read() + sys.stdin.read())\n",
        cases='[[case]]\nname = "a"\n\n[[case]]\nname = "b"\nstdin = "."\nstdout = "two."\n',
        files={
            "tests/cases/a/stdin": "!",
            "tests/cases/a/stdout": "one!\n",
            "tests/cases/a/files/data/in.txt": "one",
            "tests/cases/b/files/data/in.txt": "two",
        },
    )
    assert verdict.resolved, verdict.log


def test_nothing_of_the_agents_takes_the_place_of_an_input(tmp_path: Path) -> None:
    till = Till(
        tmp_path, kind="output", fail_to_pass=(), pass_to_pass=(), command=["cat", "data/in.txt"]
    )
    write(
        till.folder,
        {
            "tests/cases.toml": '[[case]]\nname = "a"\nstdout = "one"\n',
            "tests/cases/a/files/data/in.txt": "one",
        },
    )
    verdict = asyncio.run(judged(till, changes({"data": "a file", "data/in.txt": "mine"})))
    assert verdict.resolved, verdict.log
    assert set(verdict.dropped) == {"data", "data/in.txt"}


def test_a_shell_line_has_the_arguments(tmp_path: Path) -> None:
    line = 'exec /env/bin/python calc.py "$@" 2>/dev/null'
    assert program(tmp_path, HONEST, command=line, real=True).resolved


@pytest.mark.parametrize(
    "cheat",
    [
        # Looks for what it should print.
        "import os\nfor top in ('/workspace', '/home', '/tmp', '/env'):\n"
        "    for folder, _, names in os.walk(top):\n"
        "        for name in names:\n"
        "            if 'case' in name or 'stdout' in name:\n"
        "                print(open(folder + '/' + name).read())",
        # Learns from the cases before: a cache in its home, in /tmp, or in the workspace.
        "import os, sys\nfor place in (os.path.expanduser('~'), '/tmp', '/workspace'):\n"
        "    path = place + '/seen'\n"
        "    if os.path.exists(path): print(24 if sys.argv[1] == 'x' else 6)\n"
        "    open(path, 'w').write('x')",
        # Answers out of a process that stays.
        "import os, socket, sys, time\ntry:\n    s = socket.socket(socket.AF_UNIX)\n"
        "    s.connect('\\0here')\n    print(24)\nexcept OSError:\n"
        "    if os.fork() == 0:\n        os.setsid()\n        s = socket.socket(socket.AF_UNIX)\n"
        "        s.bind('\\0here')\n        s.listen()\n        time.sleep(30)",
        # Ends every process there is, whoever keeps the time.
        "import os, signal\nos.kill(-1, signal.SIGKILL)",
        "import os\nos.kill(os.getppid(), 9)\nos._exit(0)",
    ],
    ids=["searches", "caches", "stays", "kills all", "kills its parent"],
)
def test_cheats_earn_nothing(cheat: str, tmp_path: Path) -> None:
    verdict = program(tmp_path, cheat, real=True, case_timeout_sec=10.0)
    assert P not in verdict.fail_to_pass.values(), verdict.log


def test_cases_that_vanish_are_not_the_agents_fault(tmp_path: Path) -> None:
    with pytest.raises(GradingError, match=r"cases\.toml"):
        program(tmp_path, HONEST, cases="[[case]]\n")
