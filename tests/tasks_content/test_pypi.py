"""What the ``pypi`` suite must be: pinned, ours, broad, brief. Nothing is fetched here."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import median

import pytest

from repodrome.tasks.folder import load_task
from repodrome.tasks.model import Task

SUITE = Path(__file__).resolve().parents[2] / "tasks" / "suites" / "pypi"
FOLDERS = sorted(p.parent for p in SUITE.glob("*/task.toml"))
TASKS = [load_task(folder, suite="pypi") for folder in FOLDERS]
# pytest brings these along, so a task on one would find an intact copy in its environment.
PYTEST_NEEDS = {"iniconfig", "packaging", "pluggy", "pygments", "pytest"}
# A longer fragment would be a piece of somebody else's source.
MAX_FRAGMENT = 80

each_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


def test_suite_is_broad() -> None:
    assert len(TASKS) >= 8
    assert len({task.source.pypi for task in TASKS}) >= 7
    assert {task.metadata.category for task in TASKS} >= {"feature", "bug"}


def test_instructions_are_short() -> None:
    assert median(len(task.instruction.strip()) for task in TASKS) <= 390


@each_task
def test_source_is_pinned(task: Task) -> None:
    assert task.id == f"pypi/{task.name}"
    assert task.ignored_keys == ()
    assert task.source.pypi
    assert re.fullmatch(r"\d+(\.\d+)+", task.source.version or "")
    assert re.fullmatch(r"[0-9a-f]{64}", task.source.sha256 or "")
    assert task.source.edits


@each_task
def test_packages_are_pinned_and_do_not_bring_the_project(task: Task) -> None:
    names = set()
    for requirement in task.environment.packages:
        name, separator, version = requirement.partition("==")
        assert separator and re.fullmatch(r"\d+(\.\d+)*", version), requirement
        names.add(name.lower().replace("_", "-"))
    assert "pytest" in names
    assert task.source.pypi not in names | PYTEST_NEEDS


@each_task
def test_no_third_party_source_is_stored(task: Task) -> None:
    files = {
        p.relative_to(task.folder).as_posix()
        for p in task.folder.rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    ours = {"task.toml", "instruction.md", "expected.json"}
    assert ours <= files
    for extra in files - ours:
        assert re.fullmatch(r"tests/test_\w+\.py", extra), extra
        assert "Hidden tests of ours" in (task.folder / extra).read_text(encoding="utf-8")
    for edit in task.source.edits:
        assert len(edit.old) <= MAX_FRAGMENT and len(edit.new) <= MAX_FRAGMENT, edit.path


@each_task
def test_expected_ids_are_well_formed(task: Task) -> None:
    stored = json.loads((task.folder / "expected.json").read_text(encoding="utf-8"))
    assert set(stored) == {"FAIL_TO_PASS", "PASS_TO_PASS"}
    wanted, guarded = stored["FAIL_TO_PASS"], stored["PASS_TO_PASS"]
    assert wanted and guarded
    ids = wanted + guarded
    assert len(ids) == len(set(ids))
    for test_id in ids:
        file, separator, name = test_id.partition("::")
        assert separator and name and file.endswith(".py") and test_id.isprintable()
        assert not file.startswith("/") and ".." not in file.split("/")
        # The name of a parameter could be taken for a class.
        assert "::" not in test_id.partition("[")[2]
        # Addresses and temporary directories differ from run to run.
        assert not re.search(r"0x[0-9a-f]{6,}|pytest-of-", test_id)
    files = {test_id.partition("::")[0] for test_id in ids}
    assert files <= set(task.verifier.run)


@each_task
def test_loaded_task_expects_what_is_stored(task: Task) -> None:
    stored = json.loads((task.folder / "expected.json").read_text(encoding="utf-8"))
    assert list(task.verifier.fail_to_pass) == stored["FAIL_TO_PASS"]
    assert list(task.verifier.pass_to_pass) == stored["PASS_TO_PASS"]
    assert task.verifier.python_path
