"""A small real task, graded by a command, so that nothing has to be installed; and the CLI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

MakeFolder = Callable[..., Path]
Cli = Callable[..., Result]

TASK_TOML = """\
[metadata]
category = "bug-fix"

[environment]
{environment}

[verifier]
kind = "command"
command = "python3 tests/check.py"
{verifier}

[limits]
{limits}

[tools]
{tools}
"""

BROKEN = '"""Sums."""\n\n\ndef add(a: int, b: int) -> int:\n    """Add."""\n    return a - b\n'
CHECK = """\
import sys
sys.path.insert(0, ".")
from sums import add
sys.exit(0 if [add(1, 2), add(-4, 4), add(10, 5)] == [3, 0, 15] else 1)
"""


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cache for all of these tests, so that layers are built once; not the user's."""
    before = os.environ.get("REPODROME_CACHE")
    os.environ["REPODROME_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["REPODROME_CACHE"]
    else:
        os.environ["REPODROME_CACHE"] = before


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Writes a task folder; ``sums.add`` subtracts, and the solution mends that."""

    def make(
        name: str = "adder",
        *,
        solution: Mapping[str, str] | None = None,
        instruction: str = "`add` in sums.py gives wrong results. Mend it.\n",
        check: str = CHECK,
        workspace: Mapping[str, str] | None = None,
        environment: str = "",
        verifier: str = "",
        limits: str = "",
        tools: str = "",
    ) -> Path:
        folder = tmp_path / name
        if solution is None:
            solution = {"workspace/sums.py": BROKEN.replace("a - b", "a + b")}
        files = {
            "task.toml": TASK_TOML.format(
                environment=environment, verifier=verifier, limits=limits, tools=tools
            ),
            "instruction.md": instruction,
            "tests/check.py": check,
            "workspace/sums.py": BROKEN,
            **{f"workspace/{path}": text for path, text in (workspace or {}).items()},
            **{f"solution/{path}": text for path, text in solution.items()},
        }
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        return folder

    return make


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Runs the command line in this process."""
    from repodrome.harness.cli.app import app

    def run(*arguments: object, stdin: str = "") -> Result:
        words = [str(word) for word in arguments]
        if words[0] == "run" and "--out" not in words:
            words += ["--out", str(tmp_path / "runs")]
        return CliRunner().invoke(app, words, input=stdin)

    return run


@pytest.fixture
def start_process(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command line as a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "repodrome", *map(str, arguments)],
            cwd=tmp_path,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file of turns, one call each: ``(tool, arguments)``."""

    def write(*calls: tuple[str, dict[str, Any]], name: str = "script.jsonl") -> Path:
        rows = [
            {"tool_calls": [{"name": tool, "arguments": arguments}]} for tool, arguments in calls
        ]
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


@pytest.fixture
def hanging_run(
    make_folder: MakeFolder,
    script: Callable[..., Path],
    start_process: Callable[..., subprocess.Popen[str]],
) -> subprocess.Popen[str]:
    """An episode whose first step is played and whose second one lasts; its file goes to ``r``."""
    path = script(("list_dir", {"path": "."}), ("terminal", {"command": "sleep 600"}))
    process = start_process("run", make_folder(), "--agent", f"scripted:{path}", "--out", "r")
    assert process.stdout is not None
    for line in process.stdout:
        if "list_dir" in line:
            break
    return process


def only_json(result: Result) -> dict[str, Any]:
    """Standard output, which must be exactly one JSON object."""
    value = json.loads(result.stdout)
    assert isinstance(value, dict)
    return value
