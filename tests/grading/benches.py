"""The tiny task that tests of grading play with: the audit's, without its git repository."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from repodrome.envs.sandbox.base import Change, ChangedFile, SandboxSpec
from repodrome.harness.audit.bench import (
    BROKEN,
    EXPECTED,
    HIDDEN,
    HIDDEN_PATH,
    MODULE,
    VISIBLE,
)
from repodrome.tasks.model import Source, Task, VerifierSpec

LABEL_PATH = "tests/test_label.py"
FAIL_TO_PASS = tuple(EXPECTED["FAIL_TO_PASS"])
PASS_TO_PASS = tuple(EXPECTED["PASS_TO_PASS"])


def write(folder: Path, files: dict[str, str]) -> None:
    """Files below a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


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
            {MODULE: BROKEN, LABEL_PATH: VISIBLE[LABEL_PATH], "pyproject.toml": "[project]\n"},
        )
        write(self.folder, {HIDDEN_PATH: HIDDEN})
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
