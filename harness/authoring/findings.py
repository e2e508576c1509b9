"""What validation finds wrong with a task, in words an author can act on."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from repodrome.errors import TaskFormatError, UsageError

Level = Literal["error", "note"]


class Finding(BaseModel):
    """One thing found.

    Attributes:
        level: an ``error`` makes the task invalid; a ``note`` is worth knowing.
        check: a stable word for the check, e.g. ``"leak"``.
        problem: what is wrong.
        fix: what to do about it.
    """

    model_config = ConfigDict(frozen=True)

    level: Level
    check: str
    problem: str
    fix: str = ""


def error(check: str, problem: str, fix: str) -> Finding:
    """A finding that makes the task invalid."""
    return Finding(level="error", check=check, problem=problem, fix=fix)


def note(check: str, problem: str, fix: str = "") -> Finding:
    """A finding that is worth knowing."""
    return Finding(level="note", check=check, problem=problem, fix=fix)


def of_error(check: str, failure: UsageError) -> Finding:
    """A usage error about the task, its fix told apart."""
    if isinstance(failure, TaskFormatError):
        where = f"{failure.file}: {failure.key}" if failure.key else failure.file
        return error(check, f"{where}: {failure.problem}", failure.fix)
    problem, _, fix = str(failure).partition("; ")  # errors name their fix last
    return error(check, problem, fix or "mend what it names in the task folder")
