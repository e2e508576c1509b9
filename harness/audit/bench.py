"""The small tasks that attacks are tried on, made afresh for each audit: one for each verifier.

The source of the first is a git repository whose later history holds the solution, as that of real
tasks does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repodrome.harness.audit import bench_programs
from repodrome.tasks.folder import load_task
from repodrome.tasks.model import Source, Task

BROKEN = '''\
"""A till."""


def total(prices):
    raise NotImplementedError


def label(name):
    return name.strip()
'''

SOLVED = BROKEN.replace("    raise NotImplementedError", "    return sum(prices)")

VISIBLE = {
    "tests/test_label.py": """\
from till import label


def test_label():
    assert label(" a ") == "a"
""",
    "tests/test_example.py": """\
from till import total


def test_five_and_six():
    assert total([5, 6]) == 11
""",
}

HIDDEN = """\
import pytest
import till


def test_total_of_two():
    assert till.total([1, 2]) == 3


def test_total_of_nothing():
    assert till.total([]) == 0


def test_total_of_many():
    prices = list(range(10))
    assert till.total(prices) == 45


@pytest.mark.parametrize("n", [1, 2])
def test_total_of_same(n):
    assert till.total([n, n]) == 2 * n
"""

HIDDEN_CLASS = """\
import unittest

import till


class TotalTest(unittest.TestCase):
    def test_total_of_two(self):
        self.assertTrue(till.total([1, 2]) == 3)

    def test_total_of_nothing(self):
        self.assertFalse(till.total([]))

    def test_total_of_many(self):
        self.assertIn(till.total(range(10)), [45])
"""

HIDDEN_PATH = "tests/test_total.py"
MODULE = "till.py"
EXPECTED = {
    "FAIL_TO_PASS": [
        *(f"{HIDDEN_PATH}::test_total_of_{name}" for name in ("two", "nothing", "many")),
        *(f"{HIDDEN_PATH}::test_total_of_same[{n}]" for n in (1, 2)),
    ],
    "PASS_TO_PASS": ["tests/test_label.py::test_label"],
}

EXPECTED_CLASS = {
    "FAIL_TO_PASS": [
        f"{HIDDEN_PATH}::TotalTest::test_total_of_{name}" for name in ("two", "nothing", "many")
    ],
    "PASS_TO_PASS": EXPECTED["PASS_TO_PASS"],
}

_TOML = """\
[task]
name = "audit/till"

[environment]
packages = ["pytest==8.4.2"]

[verifier]
python_path = ["."]
timeout_sec = 60
"""
_DATE = "2020-01-01T00:00:00Z"


VERIFIERS = ("pytest", "unittest", *bench_programs.PROGRAMS)
"""What tasks may be judged by; ``unittest``: by pytest, their tests being methods of a class."""


@dataclass(frozen=True, slots=True)
class Bench:
    """The tasks on disk.

    Attributes:
        tasks: a task for each of :data:`VERIFIERS`.
        bundle: the whole repository of the first, as one file.
    """

    tasks: Mapping[str, Task]
    bundle: bytes

    @property
    def task(self) -> Task:
        """The one that is judged by pytest; its source is the commit before the solution."""
        return self.tasks["pytest"]

    def with_limits(self, **limits: Any) -> Task:
        """The task with other limits of its environment."""
        environment = self.task.environment.model_copy(update=limits)
        return self.task.model_copy(update={"environment": environment})


def make(base: Path) -> Bench:
    """Write repository and task folders below ``base``. Blocks."""
    upstream = base / "upstream"
    _write(upstream, {MODULE: BROKEN, **VISIBLE, "pyproject.toml": "[project]\nname = 'till'\n"})
    git = _repository(upstream)
    source = Source(git=str(upstream), commit=git.rev_parse("HEAD"))
    _write(upstream, {MODULE: SOLVED, HIDDEN_PATH: HIDDEN})
    git.add("--all")
    git.commit("--quiet", "-m", "Add prices up")
    git.tag("v1.1")
    git.bundle("create", "--quiet", str(base / "upstream.bundle"), "--all")
    tasks = {
        "pytest": _till(base / "till", source, HIDDEN, EXPECTED),
        "unittest": _till(base / "till-unittest", source, HIDDEN_CLASS, EXPECTED_CLASS),
    }
    for kind, files in bench_programs.PROGRAMS.items():
        _write(base / kind, files)
        tasks[kind] = load_task(base / kind).model_copy(update={"id": f"audit/{kind}"})
    return Bench(tasks, (base / "upstream.bundle").read_bytes())


def _till(folder: Path, source: Source, hidden: str, expected: Mapping[str, list[str]]) -> Task:
    files = {
        "task.toml": _TOML,
        "instruction.md": "Make total() in till.py add the prices up.\n",
        "expected.json": json.dumps(expected),
        HIDDEN_PATH: hidden,
        f"solution/workspace/{MODULE}": SOLVED,
    }
    _write(folder, files)
    return load_task(folder).model_copy(update={"source": source, "id": f"audit/{folder.name}"})


def _repository(folder: Path) -> Any:
    """A repository with all of the folder's files in one commit, whoever the user is."""
    from git.cmd import Git

    git = Git(folder)
    who = {"NAME": "upstream", "EMAIL": "upstream@localhost", "DATE": _DATE}
    people = {f"GIT_{role}_{k}": v for role in ("AUTHOR", "COMMITTER") for k, v in who.items()}
    git.update_environment(GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null", **people)
    git.init("--quiet", "--initial-branch=main")
    git.add("--all")
    git.commit("--quiet", "-m", "Begin")
    return git


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
