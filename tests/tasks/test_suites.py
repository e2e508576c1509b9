"""Suites and how tasks are found."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from repodrome.errors import TaskFormatError, UnknownNameError, UsageError
from repodrome.tasks.suites import (
    BUILTIN_SUITES,
    Suite,
    all_task_ids,
    get_suite,
    resolve_task,
    suite_names,
)


@pytest.fixture
def suite(make_task) -> Suite:
    for name in ("alpha", "beta", "_shared", ".hidden"):
        folder = make_task(name=name)
    (folder.parent / "no-task").mkdir()
    return get_suite(folder.parent)


def test_a_suite_from_a_folder(suite: Suite) -> None:
    assert suite.name == "tasks" and len(suite) == 2
    assert suite.task_ids() == ["tasks/alpha", "tasks/beta"]
    assert [task.id for task in suite] == suite.task_ids()
    assert suite.task("beta") is suite.task("beta")
    with pytest.raises(UnknownNameError, match="did you mean 'tasks/alpha'"):
        suite.task("alfa")


def test_draw_is_fair_and_the_same_everywhere(suite: Suite) -> None:
    drawn = [suite.draw(seed).name for seed in range(100)]
    assert drawn == [suite.draw(seed).name for seed in range(100)]
    assert min(Counter(drawn).values()) > 30


def test_an_empty_suite_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no tasks"):
        Suite("empty", tmp_path).draw(0)


def test_tasks_by_path(suite: Suite) -> None:
    folder = suite.folder / "alpha"
    assert resolve_task(folder).id == resolve_task(str(folder)).id == "folder/alpha"
    with pytest.raises(TaskFormatError, match=r"task\.toml: is missing"):
        resolve_task(str(suite.folder))
    with pytest.raises(TaskFormatError, match="no task folder here"):
        resolve_task("./nowhere")


def test_folders_need_no_dot_before_them(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(suite.folder)
    assert resolve_task("alpha").id == "folder/alpha"
    with pytest.raises(UnknownNameError):
        get_suite("no-task")
    monkeypatch.chdir(suite.folder.parent)
    assert get_suite("tasks").task_ids() == suite.task_ids()


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match="unknown task 'nowhere/nothing'"):
        resolve_task("nowhere/nothing")
    with pytest.raises(UnknownNameError, match="unknown suite 'buildin'"):
        get_suite("buildin")


def test_builtin_suites_are_listed() -> None:
    folders = list(BUILTIN_SUITES.glob("[!_.]*/[!_.]*/task.toml"))
    assert {f"{p.parent.parent.name}/{p.parent.name}" for p in folders} <= set(all_task_ids())
    assert {p.parent.parent.name for p in folders} <= set(suite_names())
    for path in folders[:1]:
        known = resolve_task(f"{path.parent.parent.name}/{path.parent.name}")
        assert resolve_task(path.parent) is known
        with pytest.raises(UnknownNameError) as caught:
            resolve_task(known.id + "x")
        assert known.id in caught.value.suggestions


def test_installed_suites(suite: Suite, tmp_path: Path) -> None:
    """Through a real distribution's entry points: a function, a path and a wrong thing."""
    site = tmp_path / "site"
    info = site / "thing-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[repodrome.suite]\nby-call = thing:make\nby-path = thing:FOLDER\nwrong = thing:WRONG\n"
    )
    (site / "thing.py").write_text(
        "from pathlib import Path\nfrom repodrome.tasks.suites import Suite\n"
        f"FOLDER = Path({str(suite.folder)!r})\nWRONG = 3\n"
        "def make():\n    return Suite('by-call', FOLDER)\n"
    )
    code = (
        "from repodrome.tasks.suites import *\nfrom repodrome.tasks.suites import suite_names\n"
        "assert {'by-call', 'by-path', 'wrong'} <= set(suite_names())\n"
        "print(resolve_task('by-call/alpha').id, resolve_task('by-path/beta').id)\n"
        "try:\n    get_suite('wrong')\nexcept Exception as e:\n    print(type(e).__name__)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])}
    out = subprocess.check_output([sys.executable, "-c", code], env=env, text=True)
    assert out.splitlines() == ["by-call/alpha by-path/beta", "UsageError"]
