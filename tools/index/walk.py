"""Which files of a tree are looked at: not those ``.gitignore`` names, nor what tools make."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from repodrome.tools.workspace import SCRATCH

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

FORMAT = 1
"""Part of every index key: raise it when other files are looked at."""

SKIPPED = frozenset(
    {
        SCRATCH, ".git", ".hg", ".svn", "node_modules", "bower_components", "__pycache__", ".venv",
        ".tox", ".nox", ".eggs", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis",
        ".idea",
    }
)  # fmt: skip
"""Directories that hold nothing of the project's own, by name."""
_NO_SOURCE = (
    ".min.js", ".min.css", ".map", ".svg", ".lock", "-lock.json", "-lock.yaml", ".csv", ".tsv",
    ".pyc", ".ipynb", ".po", ".snap",
)  # fmt: skip


class Rules:
    """What is left out by name.

    Args:
        ignored: directory (``""`` for the tree itself) to the text of its ``.gitignore``. It must
            come from somebody trusted: matching takes long where a pattern is made for that.
    """

    def __init__(self, ignored: Mapping[str, str] | None = None) -> None:
        self.ignored = dict(ignored or {})

    @cached_property
    def _specs(self) -> dict[str, GitIgnoreSpec]:
        from pathspec import GitIgnoreSpec

        return {
            directory: GitIgnoreSpec.from_lines(text.splitlines())
            for directory, text in self.ignored.items()
        }

    def wants(self, path: str) -> bool:
        """Whether a file is looked at, by its path relative to the tree."""
        *directories, name = path.split("/")
        if name.lower().endswith(_NO_SOURCE) or not SKIPPED.isdisjoint(directories):
            return False
        return not self.ignores(path)

    def enters(self, directory: str) -> bool:
        """Whether what is below a directory is looked at, by its path relative to the tree."""
        return directory.rpartition("/")[2] not in SKIPPED and not self.ignores(f"{directory}/")

    def ignores(self, path: str) -> bool:
        """Whether ``.gitignore`` names it (a directory: with a ``/`` at its end)."""
        verdict = False
        base = ""
        for part in ["", *path.rstrip("/").split("/")[:-1]]:
            base = f"{base}/{part}".strip("/")
            spec = self._specs.get(base) if self.ignored else None
            if spec is not None:
                said = spec.check_file(path[len(base) + 1 :] if base else path).include
                verdict = verdict if said is None else said
        return verdict


def walk(tree: Path) -> tuple[list[tuple[str, os.stat_result]], Rules]:
    """Every regular file of a tree that is looked at, sorted by path, and the rules found in it.

    Links are not followed, and what can't be read is left out.
    """
    ignored: dict[str, str] = {}
    rules = Rules()
    found: list[tuple[str, os.stat_result]] = []
    pending = [""]
    while pending:
        directory = pending.pop()
        entries = list(_entries(tree / directory))
        if any(entry.name == ".gitignore" for entry in entries):
            text = _text(tree / directory / ".gitignore")
            if text.strip():
                ignored[directory] = text
                rules = Rules(ignored)
        for entry in entries:
            path = f"{directory}/{entry.name}" if directory else entry.name
            if entry.is_dir(follow_symlinks=False):
                if rules.enters(path):
                    pending.append(path)
            elif entry.is_file(follow_symlinks=False) and rules.wants(path):
                found.append((path, entry.stat(follow_symlinks=False)))
    return sorted(found, key=lambda one: one[0]), rules


def _entries(directory: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            yield from entries
    except OSError:
        return


def _text(file: Path) -> str:
    try:
        if file.is_symlink() or not file.is_file():
            return ""
        return file.read_bytes()[: 1 << 20].decode("utf-8", "replace")
    except OSError:
        return ""
