"""Generated repositories and the tasks on them: the same bytes at every run."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

WORDS = [
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "frost",
    "grove",
    "heath",
    "inlet",
    "jetty",
    "kelp",
    "larch",
    "moss",
    "north",
]

_TASK = """\
[task]
name = "bench/{name}"

[environment]
packages = [{packages}]

[verifier]
{verifier}

[limits]
max_turns = 1000000
max_tool_calls = 1000000
timeout_sec = 86400.0
"""

_COMMAND = 'kind = "command"\ncommand = "test -f done.txt"'
_PYTEST = 'kind = "pytest"\npython_path = ["src"]'
_TEST = '''\
"""The hidden tests."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_done():
    assert (ROOT / "done.txt").read_text() == "done\\n"


@pytest.mark.parametrize("number", range(8))
def test_modules(number):
    module = importlib.import_module(f"pkg_00.module_{number:04}")
    assert module.first(2) == module.VALUE + 2
'''


def make_workspace(target: Path, files: int) -> None:
    """A repository of ``files`` Python modules in packages of 50, each of 20 to 120 lines."""
    chance = random.Random(files)
    for number in range(files):
        package = target / "src" / f"pkg_{number // 50:02}"
        if number % 50 == 0:
            package.mkdir(parents=True, exist_ok=True)
        lines = [f'"""Module {number}."""', "", f"VALUE = {number}", ""]
        for part in range(chance.randint(4, 20)):
            name = "first" if part == 0 else f"{chance.choice(WORDS)}_{part}"
            lines += ["", f"def {name}(step):", f'    """{chance.choice(WORDS).title()}."""']
            lines += [f"    return VALUE + step * {max(1, part)}"]
        (package / f"module_{number:04}.py").write_text("\n".join(lines) + "\n")


def make_task(base: Path, files: int, *, pytest: bool = False) -> Path:
    """A task folder below ``base`` on a repository of ``files`` files; made once.

    Args:
        pytest: graded by hidden pytest tests, in an environment with pytest; else by a command.
    """
    folder = base / f"files-{files}{'-pytest' if pytest else ''}"
    if (folder / "task.toml").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    make_workspace(folder / "workspace", files)
    (folder / "instruction.md").write_text("Write `done` into done.txt.\n")
    if pytest:
        (folder / "tests").mkdir()
        (folder / "tests" / "test_done.py").write_text(_TEST)
        expected = ",\n".join(
            f'  "tests/test_done.py::test_modules[{number}]"' for number in range(8)
        )
        (folder / "expected.json").write_text(
            '{"FAIL_TO_PASS": ["tests/test_done.py::test_done"],\n'
            f' "PASS_TO_PASS": [\n{expected}]}}\n'
        )
    # Last: its presence says that the folder is complete.
    (folder / "task.toml").write_text(
        _TASK.format(
            name=folder.name,
            packages='"pytest>=8"' if pytest else "",
            verifier=_PYTEST if pytest else _COMMAND,
        )
    )
    return folder


DONE = {
    "content": "",
    "tool_calls": [
        {"name": "write_file", "arguments": {"path": "done.txt", "content": "done\n"}},
    ],
}
"""The turn that solves it."""

FINISH = {"content": "Wrote done.txt.", "tool_calls": []}
"""The turn that ends the episode."""


def command(text: str) -> dict[str, object]:
    """A turn with one terminal command."""
    return {
        "content": "",
        "tool_calls": [{"name": "terminal", "arguments": {"command": text}}],
    }
