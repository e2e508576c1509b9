"""Rules that change while a training run goes on: a versioned file, read again when it changes.

::

    version = "7"                # yours; with a hash of the file it is the version in reports
    remove = ["style.format"]    # terms taken away

    [[rewards]]                  # as in task.toml: new, or in place of a term of that name
    name = "misuse"
    weight = {points = [[0, 0.0], [1000, 0.2]]}
    tasks = ["builtin/*"]        # only these; default: all

A file that is wrong, half written or gone while episodes run changes nothing: the last good version
goes on scoring, and a warning says why, once.
"""

from __future__ import annotations

import hashlib
import threading
import tomllib
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from repodrome.envs.rewards.report import RewardLike, Term, as_spec, first_fault, terms_of
from repodrome.errors import UsageError
from repodrome.tasks.model import RewardSpec, Task

_KEYS = ("version", "remove", "rewards")


@dataclass(frozen=True, slots=True)
class Rule:
    """One ``[[rewards]]`` entry and the globs of task ids that it is for."""

    spec: RewardSpec
    tasks: tuple[str, ...] = ("*",)

    def covers(self, task_id: str) -> bool:
        """Whether it is for this task."""
        return any(fnmatchcase(task_id, pattern) for pattern in self.tasks)


@dataclass(frozen=True, slots=True)
class Rules:
    """One version of a rules file.

    Attributes:
        version: the file's own word and a hash of its content: ``7@1f2e3d4c5b6a``.
        remove: names of terms that are taken away.
        rules: in the file's order.
        folder: where ``file.py:Name`` is looked for.
    """

    version: str
    remove: tuple[str, ...]
    rules: tuple[Rule, ...]
    folder: Path

    def terms(
        self, task: Task, given: Iterable[RewardLike], training_step: int | None
    ) -> list[Term]:
        """The terms of an episode.

        Args:
            task: played.
            given: the terms without these rules.
            training_step: for scheduled weights.

        Raises:
            UsageError: a reward can't be made.
        """
        mine = [rule.spec for rule in self.rules if rule.covers(task.id)]
        gone = {*self.remove, *(spec.name for spec in mine)}
        kept = [one for one in given if _name(one) not in gone]
        return [
            *terms_of(kept, folder=task.folder, training_step=training_step),
            *terms_of(mine, folder=self.folder, training_step=training_step),
        ]


def _name(given: RewardLike) -> str:
    spec = as_spec(given)
    if spec is not None:
        return spec.name
    return str(given[0].name if isinstance(given, tuple) else given.name)  # type: ignore[union-attr]


def read_rules(path: Path, data: bytes | None = None) -> Rules:
    """Read a rules file, and make each of its rewards once to see that it can be.

    Raises:
        UsageError: it can't be read, or something in it is wrong; names file, key and fix.
    """
    try:
        data = path.read_bytes() if data is None else data
        table = tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise UsageError(f"can't read the rules {path}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    unknown = [key for key in table if key not in _KEYS]
    if unknown:
        raise UsageError(f"{path}: unknown key {unknown[0]!r}; known: {', '.join(_KEYS)}")
    label = str(table.get("version", path.stem))
    remove = _names(path, "remove", table.get("remove", []))
    entries = table.get("rewards", [])
    if not isinstance(entries, list):
        raise UsageError(f"{path}: 'rewards' is not a list; write [[rewards]] sections")
    rules = tuple(_rule(path, number, entry) for number, entry in enumerate(entries))
    for rule in rules:
        try:
            terms_of([rule.spec], folder=path.parent)
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error
    digest = hashlib.sha256(data).hexdigest()[:12]
    return Rules(f"{label}@{digest}", remove, rules, path.parent)


def _rule(path: Path, number: int, entry: Any) -> Rule:
    if not isinstance(entry, dict) or "name" not in entry:
        raise UsageError(f'{path}: rewards.{number} has no name; write [[rewards]] name = "…"')
    entry = dict(entry)
    tasks = _names(path, f"rewards.{number}.tasks", entry.pop("tasks", ["*"]))
    try:
        return Rule(RewardSpec.model_validate(entry), tasks)
    except ValidationError as error:
        raise UsageError(f"{path}: rewards.{number}.{first_fault(error)}") from error


def _names(path: Path, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise UsageError(f"{path}: {key} is {value!r}; write a list of texts")
    return tuple(value)


class RulesFile:
    """A rules file that may change at any time; share one between environments and threads.

    Raises:
        UsageError: it is wrong at the beginning.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._data = _bytes(path)
        self._bad: bytes | None = None
        self._rules = read_rules(path, self._data)

    def current(self) -> Rules:
        """The rules as the file has them now; the last good ones where it is wrong.

        The file is read each time: small, and a time stamp may miss a change.
        """
        with self._lock:
            try:
                data = _bytes(self.path)
                if data not in (self._data, self._bad):
                    self._rules = read_rules(self.path, data)
                    self._data = data
            except UsageError as error:
                self._warn(error)
            return self._rules

    def _warn(self, error: UsageError) -> None:
        try:
            bad = _bytes(self.path)
        except UsageError:
            bad = b""
        if bad != self._bad:
            self._bad = bad
            warnings.warn(f"the rules stay at version {self._rules.version}: {error}", stacklevel=3)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"can't read the rules {path}: {error.strerror}; give a TOML file"
        ) from error


@lru_cache(maxsize=64)
def _shared(path: Path) -> RulesFile:
    return RulesFile(path)


def rules_file(rules: RulesFile | Path | str | None) -> RulesFile | None:
    """The file that is meant; the same path gives the same object.

    Raises:
        UsageError: it can't be read, or is wrong.
    """
    if rules is None or isinstance(rules, RulesFile):
        return rules
    return _shared(Path(rules).expanduser().absolute())
