"""From what the user typed to tasks: ids, task folders, suites, folders of task folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from repodrome.errors import TaskFormatError, UnknownNameError

if TYPE_CHECKING:
    from repodrome.tasks.model import Task
    from repodrome.tasks.suites import Suite


def tasks_of(refs: Sequence[str]) -> list[Task]:
    """The tasks that are meant, in order.

    Raises:
        UnknownNameError: no such task or suite; the nearest names of both are given.
        TaskFormatError: a task folder is wrong.
    """
    found: list[Task] = []
    for _, task in each_task(refs):
        if isinstance(task, TaskFormatError):
            raise task
        found.append(task)
    return found


def each_task(refs: Sequence[str]) -> Iterator[tuple[str, Task | TaskFormatError]]:
    """Each task that is meant with its name; a wrong task folder doesn't stop the others.

    Raises:
        UnknownNameError: as for :func:`tasks_of`.
    """
    from repodrome.tasks.suites import resolve_task

    for ref in refs:
        suite = _suite(ref)
        if suite is not None:
            for name in suite.task_names():
                try:
                    yield f"{suite.name}/{name}", suite.task(name)
                except TaskFormatError as error:
                    yield f"{suite.name}/{name}", error
            continue
        here = Path(ref).expanduser()
        target = here if (here / "task.toml").is_file() and "/" not in ref else ref
        try:
            task = resolve_task(target)
        except UnknownNameError as error:
            if error.kind != "task":
                raise
            raise _with_suites(ref) from error
        except TaskFormatError as error:
            yield ref, error
        else:
            yield task.id, task


def _suite(ref: str) -> Suite | None:
    from repodrome.tasks.suites import get_suite, suite_names

    if ref in suite_names():
        return get_suite(ref)
    folder = Path(ref).expanduser()
    if (folder / "task.toml").is_file() or not any(folder.glob("*/task.toml")):
        return None
    return get_suite(folder)


def _with_suites(ref: str) -> UnknownNameError:
    from repodrome.tasks.suites import all_task_ids, suite_names

    return UnknownNameError("task", ref, [*all_task_ids(), *suite_names()])
