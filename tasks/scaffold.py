"""Writes a new task folder, commented, so that its author only fills it in."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from string import Template

from repodrome.errors import UnknownNameError, UsageError
from repodrome.tasks import scaffold_programs as programs
from repodrome.tasks.folder import load_task

VERIFIERS = ("pytest", "output", "benchmark")
"""What a new task can be judged by; the others are a change of its ``[verifier]``."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")

_TASK_TOML = Template("""\
# A repodrome task. Every key is optional; those commented out show their defaults.
# Check it with:  repodrome task validate $path

[task]
name = $name

[metadata]
category = "bug"            # for statistics; any further key is kept
difficulty = "easy"
tags = []

# The agent's tree: workspace/ beside this file, unless a [source] says otherwise.
$source
[environment]
packages = ["pytest"]       # Python requirements, installed once; agent and grader have no network
# setup = []                # shell commands run once in the workspace, with network
# python = "host"           # or a version such as "3.12"
# env = {}                  # variables of every command
# memory_mb = 2048
# storage_mb = 2048
# cpus = 2.0

[verifier]
$verifier# timeout_sec = 300.0
# protected = []            # further globs that always come from the pristine tree

# [limits]
# timeout_sec = 1800.0      # of the agent's part
# max_turns = 100
# max_tool_calls = 400

# [tools]
# exclude = []              # take standard tools away, e.g. ["terminal"]
# hints = false             # show the agent what would help after a failed call
# perturb = []              # other "tools" and "parameters" names, another "order", for each seed

# [context]
# budget = 0                # tokens of the agent's context; 0: no bound

# [[user.rules]]            # a simulated user, see docs/tasks.md
# when = "question"         # or "done", "turns", "changed", "says"
# say = "By words, please."

[[rewards]]
name = "tests"
weight = 1.0
""")

_PYTEST = Template("""\
kind = "pytest"             # or "output", "benchmark", "mutants", "command", "script"
inject_at = "tests"         # where the files of tests/ go for grading; the agent never sees them
python_path = $python_path  # workspace directories put at the end of sys.path
# The exact test ids are in expected.json (FAIL_TO_PASS, PASS_TO_PASS).
""")

_EXAMPLE_SOURCE = """\
# [source]
# directory = "../shared-repository"              # or:
# git = "https://…"    commit = "<full id>"       # or:
# pypi = "name"        version = "1.0"    sha256 = "<of the sdist>"
# hidden = ["tests/test_secret.py"]   # taken out, put back for grading
# remove = ["docs"]                   # taken out for good
# [[source.edits]]                    # derive the agent's tree; the oracle undoes these
# op = "stub_symbol"                  # or "delete_symbol", "delete", "replace" (old, new)
# path = "src/package/module.py"
# symbols = ["Class.method"]
"""

_REPO_SOURCE = """\
[source]
directory = "workspace"
# Tests of the repository that grade the task: they are taken out, and put back for grading.
# hidden = ["tests/test_secret.py"]
# remove = ["docs"]                   # taken out for good
#
# What the agent is to bring back is taken out with edits; the oracle undoes them:
# [[source.edits]]
# op = "stub_symbol"                  # or "delete_symbol", "delete", "replace" (old, new)
# path = "src/package/module.py"
# symbols = ["Class.method"]
"""

_EXAMPLE = {
    "instruction.md": "`mean` in averages.py fails on an empty list. It should return 0.0 there.\n",
    "workspace/averages.py": (
        '"""Averages."""\n\n\n'
        "def mean(values: list[float]) -> float:\n"
        '    """The arithmetic mean."""\n'
        "    return sum(values) / len(values)\n"
    ),
    "solution/workspace/averages.py": (
        '"""Averages."""\n\n\n'
        "def mean(values: list[float]) -> float:\n"
        '    """The arithmetic mean; 0.0 of nothing."""\n'
        "    return sum(values) / len(values) if values else 0.0\n"
    ),
    "tests/test_example.py": (
        '"""Hidden: copied into the workspace for grading only."""\n\n'
        "from averages import mean\n\n\n"
        "def test_mean_of_nothing_is_zero():\n"
        "    assert mean([]) == 0.0\n\n\n"
        "def test_mean():\n"
        "    assert mean([1.0, 2.0]) == 1.5\n"
    ),
    "expected.json": json.dumps(
        {
            "FAIL_TO_PASS": ["tests/test_example.py::test_mean_of_nothing_is_zero"],
            "PASS_TO_PASS": ["tests/test_example.py::test_mean"],
        },
        indent=2,
    )
    + "\n",
}

_REPO_FILES = {
    "instruction.md": "Write here, in a few natural words, what the agent is to do.\n",
    "tests/test_example.py": (
        '"""Hidden: copied into the workspace for grading only. Replace this example."""\n\n\n'
        "def test_the_change():\n"
        '    raise AssertionError("write a test that fails now and passes when the task is done")\n'
    ),
    "solution/README.md": (
        "The reference solution, in one of these forms:\n\n"
        "- `solve.sh`: a script, run in the workspace\n"
        "- `solution.patch`: a unified diff of the workspace\n"
        "- `workspace/`: files laid over the workspace\n\n"
        "With `[[source.edits]]` in task.toml none is needed: the oracle undoes them.\n"
    ),
    "expected.json": json.dumps(
        {"FAIL_TO_PASS": ["tests/test_example.py::test_the_change"], "PASS_TO_PASS": []}, indent=2
    )
    + "\n",
}


def new_task(
    target: Path, *, name: str, from_repo: Path | None = None, verifier: str = "pytest"
) -> Path:
    """Write a commented task folder; the small example in it validates as it is.

    Args:
        target: the folder to make; an empty one may be there.
        name: the task's name.
        from_repo: a local directory whose files (those git tracks, in their present state, where
            it is a repository) become the workspace, to be filled in from there.
        verifier: what judges it: ``"pytest"``, ``"output"`` or ``"benchmark"``.

    Raises:
        UnknownNameError: there is no such verifier to begin with.
        UsageError: the folder isn't empty, the name can't be used, or there is no such repository.
    """
    if not _NAME.match(name):
        raise UsageError(f"{name!r} can't be a task's name: use letters, digits, '-', '_' and '.'")
    if verifier not in VERIFIERS:
        raise UnknownNameError("verifier for a new task", verifier, VERIFIERS)
    target = target.expanduser().absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is there already: name a folder that is new or empty")
    if from_repo is not None and not from_repo.expanduser().is_dir():
        raise UsageError(f"{from_repo} is not a directory: name the repository's top folder")
    section, files = _parts(verifier, from_repo)
    text = _TASK_TOML.substitute(
        name=json.dumps(name),
        path=target.name,
        source=_REPO_SOURCE if from_repo else _EXAMPLE_SOURCE,
        verifier=section,
    )
    try:
        if from_repo is not None:  # first: what git refuses leaves no half of a folder
            _snapshot(from_repo.expanduser().resolve(), target / "workspace")
        for path, content in files.items():
            _write(target / path, content)
        _write(target / "task.toml", text)
    except OSError as exc:
        raise UsageError(f"can't write {target}: {exc}") from exc
    load_task(target)
    return target


def _parts(verifier: str, from_repo: Path | None) -> tuple[str, dict[str, str]]:
    """The ``[verifier]`` table and the files besides task.toml."""
    repository = from_repo.expanduser() if from_repo is not None else None
    python_path = '["src"]' if repository and (repository / "src").is_dir() else '["."]'
    if verifier == "pytest":
        section = _PYTEST.substitute(python_path=python_path)
        return section, _REPO_FILES if repository else _EXAMPLE
    section = programs.SECTIONS[verifier].substitute(python_path=python_path)
    if not repository:
        return section, programs.EXAMPLES[verifier]
    kept = {path: text for path, text in _REPO_FILES.items() if path.endswith(".md")}
    return section, {**kept, "tests/cases.toml": programs.PLACEHOLDER}


def _snapshot(repository: Path, workspace: Path) -> None:
    """Copy the files of a local repository, without its history."""
    from repodrome.tasks.gitrepo import tracked_files
    from repodrome.tasks.origins import walk

    names = tracked_files(repository)
    if names is None:
        names = [
            path for path, entry in walk(repository) if not entry.is_dir(follow_symlinks=False)
        ]
    inside = workspace.relative_to(repository).parts if workspace.is_relative_to(repository) else ()
    workspace.mkdir(parents=True)
    for name in names:
        if inside and Path(name).parts[: len(inside) - 1] == inside[:-1]:
            continue  # the new task folder itself, where it is made inside the repository
        to = workspace / name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(repository / name, to, follow_symlinks=False)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
