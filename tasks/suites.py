"""Suites: named sets of tasks, and how a task is found from what the user typed.

A built-in suite is a folder ``tasks/suites/<suite>/`` with a task folder for each task; names that
start with ``_`` or ``.`` are not tasks. Others come from the entry-point group ``repodrome.suite``
(each loads to a :class:`Suite`, a path of a folder of task folders, or a function that returns
one of these) or from a path.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from repodrome.errors import UnknownNameError, UsageError
from repodrome.plugins import installed_names, load_installed
from repodrome.tasks.folder import load_task
from repodrome.tasks.model import Task

BUILTIN_SUITES = Path(__file__).resolve().parent / "suites"
ENTRY_POINT_GROUP = "repodrome.suite"


class Suite:
    """A named set of task folders; each is read when first asked for.

    Args:
        name: the first part of its tasks' ids.
        folder: the folder of task folders.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder.resolve()
        self._loaded: dict[str, Task] = {}

    def task_names(self) -> list[str]:
        """The names (behind ``suite/``) of its tasks, sorted."""
        return sorted(
            entry.name
            for entry in self.folder.iterdir()
            if entry.name[0] not in "_." and (entry / "task.toml").is_file()
        )

    def task_ids(self) -> list[str]:
        """The full ids of its tasks, sorted."""
        return [f"{self.name}/{name}" for name in self.task_names()]

    def task(self, name: str) -> Task:
        """One of its tasks.

        Raises:
            UnknownNameError: it has none of that name.
            TaskFormatError: the task's folder is wrong.
        """
        task = self._loaded.get(name)
        if task is None:
            if name not in self.task_names():
                raise UnknownNameError("task", f"{self.name}/{name}", self.task_ids())
            task = self._loaded[name] = load_task(self.folder / name, suite=self.name)
        return task

    def __iter__(self) -> Iterator[Task]:
        return (self.task(name) for name in self.task_names())

    def __len__(self) -> int:
        return len(self.task_names())

    def draw(self, seed: int) -> Task:
        """The task that a seed stands for, the same on every machine and version of Python.

        Raises:
            UsageError: the suite is empty.
        """
        names = self.task_names()
        if not names:
            raise UsageError(f"suite {self.name!r} has no tasks: add task folders to {self.folder}")
        digest = hashlib.sha256(f"{self.name}:{seed}".encode()).digest()
        return self.task(names[int.from_bytes(digest[:8], "big") % len(names)])


def suite_names() -> list[str]:
    """Every suite that is built in or installed, sorted."""
    return sorted({*_builtin(), *_installed()})


def get_suite(name: str | Path) -> Suite:
    """A suite by name, or from the path of a folder of task folders.

    Raises:
        UnknownNameError: there is none of that name.
        UsageError: an installed suite is not usable.
    """
    if isinstance(name, str) and name in _builtin():
        return _folder_suite(name, BUILTIN_SUITES / name)
    if isinstance(name, str) and name in _installed():
        return _entry_point_suite(name)
    path = Path(name).expanduser()
    if path.is_dir() and (isinstance(name, Path) or _looks_like_path(name) or _holds_tasks(path)):
        path = path.resolve()
        return _folder_suite(path.name, path)
    raise UnknownNameError("suite", str(name), suite_names())


def resolve_task(ref: str | Path) -> Task:
    """The task that is meant: an id such as ``builtin/foo``, or the path of a task folder.

    A known id wins over a folder of the same relative path; write ``./builtin/foo`` for that.

    Raises:
        UnknownNameError: there is none; the nearest ids of all suites are named.
        TaskFormatError: its folder is wrong.
    """
    if isinstance(ref, Path):
        return _by_path(ref)
    suite, _, name = ref.partition("/")
    if name and suite in suite_names():
        found = get_suite(suite)
        if name in found.task_names():
            return found.task(name)
    path = Path(ref).expanduser()
    if ref.startswith((".", "/", "~")) or (path / "task.toml").is_file():
        return _by_path(path)
    raise UnknownNameError("task", ref, all_task_ids())


def all_task_ids() -> list[str]:
    """The ids of every task of every suite that is built in or installed; loads no task."""
    return [task_id for name in suite_names() for task_id in get_suite(name).task_ids()]


def _by_path(folder: Path) -> Task:
    """The task of a folder; one that lies in a built-in suite keeps its id."""
    folder = folder.expanduser().resolve()
    if folder.parent.parent == BUILTIN_SUITES and (folder / "task.toml").is_file():
        return get_suite(folder.parent.name).task(folder.name)
    return load_task(folder)


def _holds_tasks(folder: Path) -> bool:
    return any(folder.glob("*/task.toml"))


def _looks_like_path(ref: str) -> bool:
    return os.sep in ref or ref.startswith((".", "~"))


@cache
def _builtin() -> frozenset[str]:
    if not BUILTIN_SUITES.is_dir():
        return frozenset()
    return frozenset(
        entry.name
        for entry in BUILTIN_SUITES.iterdir()
        if entry.is_dir() and entry.name[0] not in "_."
    )


@cache
def _installed() -> set[str]:
    return installed_names(ENTRY_POINT_GROUP)


@cache
def _folder_suite(name: str, folder: Path) -> Suite:
    return Suite(name, folder)


@cache
def _entry_point_suite(name: str) -> Suite:
    loaded = load_installed("suite", name, ENTRY_POINT_GROUP, _builtin())
    if callable(loaded) and not isinstance(loaded, Suite):
        loaded = loaded()
    if isinstance(loaded, (str, Path)):
        loaded = Suite(name, Path(loaded))
    if not isinstance(loaded, Suite):
        raise UsageError(
            f"the installed suite {name!r} gives a {type(loaded).__name__}: its entry point must "
            "name a Suite, the path of a folder of task folders, or a function returning one"
        )
    return loaded
