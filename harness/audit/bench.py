"""The small task that attacks are tried on, made afresh for each audit.

Its source is a git repository whose later history holds the solution, as that of real tasks does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

HIDDEN_PATH = "tests/test_total.py"
MODULE = "till.py"
EXPECTED = {
    "FAIL_TO_PASS": [
        *(f"{HIDDEN_PATH}::test_total_of_{name}" for name in ("two", "nothing", "many")),
        *(f"{HIDDEN_PATH}::test_total_of_same[{n}]" for n in (1, 2)),
    ],
    "PASS_TO_PASS": ["tests/test_label.py::test_label"],
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


@dataclass(frozen=True, slots=True)
class Bench:
    """The task on disk.

    Attributes:
        task: the task; its source is the commit before the solution.
        bundle: the whole repository, as one file.
    """

    task: Task
    bundle: bytes

    def with_limits(self, **limits: Any) -> Task:
        """The task with other limits of its environment."""
        environment = self.task.environment.model_copy(update=limits)
        return self.task.model_copy(update={"environment": environment})


def make(base: Path) -> Bench:
    """Write repository and task folder below ``base``. Blocks."""
    upstream, folder = base / "upstream", base / "till"
    _write(upstream, {MODULE: BROKEN, **VISIBLE, "pyproject.toml": "[project]\nname = 'till'\n"})
    git = _repository(upstream)
    before = git.rev_parse("HEAD")
    _write(upstream, {MODULE: SOLVED, HIDDEN_PATH: HIDDEN})
    git.add("--all")
    git.commit("--quiet", "-m", "Add prices up")
    git.tag("v1.1")
    git.bundle("create", "--quiet", str(base / "upstream.bundle"), "--all")
    _write(
        folder,
        {
            "task.toml": _TOML,
            "instruction.md": "Make total() in till.py add the prices up.\n",
            "expected.json": json.dumps(EXPECTED),
            HIDDEN_PATH: HIDDEN,
            f"solution/workspace/{MODULE}": SOLVED,
        },
    )
    task = load_task(folder).model_copy(
        update={"source": Source(git=str(upstream), commit=before), "id": "audit/till"}
    )
    return Bench(task, (base / "upstream.bundle").read_bytes())


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
