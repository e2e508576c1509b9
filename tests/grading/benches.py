"""The tiny task that tests of grading play with."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from repodrome.envs.sandbox.base import Change, ChangedFile, SandboxSpec
from repodrome.tasks.model import Source, Task, VerifierSpec

BROKEN = '''\
"""A till."""


def total(prices):
    raise NotImplementedError


def label(name):
    return name.strip()
'''

SOLVED = BROKEN.replace("    raise NotImplementedError", "    return sum(prices)")

VISIBLE = """\
from till import label


def test_label():
    assert label(" a ") == "a"
"""

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

FAIL_TO_PASS = (
    "tests/test_total.py::test_total_of_two",
    "tests/test_total.py::test_total_of_nothing",
    "tests/test_total.py::test_total_of_many",
    "tests/test_total.py::test_total_of_same[1]",
    "tests/test_total.py::test_total_of_same[2]",
)
PASS_TO_PASS = ("tests/test_label.py::test_label",)


def write(folder: Path, files: dict[str, str]) -> None:
    """Files below a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def change(**files: str | None) -> Change:
    """A change from keyword arguments; use ``changes`` for real paths."""
    return changes(dict(files))


def changes(files: dict[str, str | None]) -> Change:
    """Path → new text, or None for deleted."""
    return Change(
        tuple(
            ChangedFile(path, "deleted")
            if text is None
            else ChangedFile(path, "modified", text.encode())
            for path, text in sorted(files.items())
        )
    )


class Till:
    """The task on disk: a layer, hidden tests, and its model."""

    def __init__(self, base: Path, **verifier: Any) -> None:
        self.layer = base / "layer"
        self.pristine = self.layer / "workspace"
        self.folder = base / "task"
        write(
            self.pristine,
            {"till.py": BROKEN, "tests/test_label.py": VISIBLE, "pyproject.toml": "[project]\n"},
        )
        write(self.folder, {"tests/test_total.py": HIDDEN})
        settings: dict[str, Any] = {
            "python_path": ["."],
            "fail_to_pass": FAIL_TO_PASS,
            "pass_to_pass": PASS_TO_PASS,
            "timeout_sec": 20,
        }
        self.task = Task(
            id="test/till",
            instruction="Make total() add the prices up.",
            folder=self.folder,
            source=Source(directory="workspace"),
            verifier=VerifierSpec(**{**settings, **verifier}),
        )
        self.spec = SandboxSpec(layers=(self.layer,))


def function_names(source: str) -> list[str]:
    """The functions of some Python source."""
    return [n.name for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)]
