"""Questions with known answers from real histories: what a commit says, which files it changed."""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.docstrings import TESTS

CODE = re.compile(r"\.(?:py|pyx|js|ts|go|rs|c|h|cpp|java|rb)\Z")
TRAILERS = re.compile(r"^[\w-]+-by: .*$|\(?#\d+\)?", re.MULTILINE)
NO_CHANGE = re.compile(
    r"\W*(?:revert|merge|release|bump|prepar\w+ (?:for )?(?:the )?(?:next )?(?:release|version)"
    r"|(?:set |update )?version\b|v?\d+\.\d+)|.*\b(?:bump(?:ed|s)?|version bump)\b.*\bversion\b",
    re.IGNORECASE,
)
"""Opens a message that names no change of the code: reverts, merges, releases."""
MOST_FILES = 5


@dataclass(frozen=True)
class Commit:
    """A commit that changed a few code files.

    Attributes:
        parent: the commit before it, whose tree is searched.
        text: its message.
        files: the code files that it changed and that were there before; tests aside.
    """

    parent: str
    text: str
    files: frozenset[str]


class History:
    """A git repository."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def _git(self, *arguments: str, stdin: bytes = b"") -> bytes:
        command = ["git", f"--git-dir={self._place}", *arguments]
        return subprocess.run(command, input=stdin, check=True, capture_output=True).stdout

    def commits(self, most: int) -> list[Commit]:
        """Some of the last 2,000 commits, drawn with a fixed seed."""
        raw = self._git(
            *("log", "-2000", "--no-merges", "--no-renames", "--diff-filter=MAD", "--name-status"),
            "--format=%x00%H %P%n%B%x01",
        ).decode("utf-8", "replace")
        found = []
        for record in raw.split("\0")[1:]:
            head, _, changes = record.partition("\x01")
            first, _, message = head.partition("\n")
            parents = first.split()[1:]
            message = " ".join(TRAILERS.sub("", message).split())[:400]
            rows = [line.split("\t") for line in changes.strip().split("\n") if "\t" in line]
            files = [path for kind, path in rows if kind == "M" and _is_code(path)]
            if NO_CHANGE.match(message) or message.count(" ") < 3:
                continue
            if len(parents) == 1 and 1 <= len(files) <= MOST_FILES:
                found.append(Commit(parents[0], message, frozenset(files)))
        random.Random(0).shuffle(found)
        return found[:most]

    def tree(self, commit: str) -> Iterator[tuple[str, str]]:
        """Path and blob of every regular file of a commit."""
        for entry in self._git("ls-tree", "-r", "-z", commit).decode().split("\0")[:-1]:
            facts, _, path = entry.partition("\t")
            mode, _, blob = facts.split()
            if mode.startswith("100"):
                yield path, blob

    def contents(self, blobs: list[str]) -> Iterator[bytes]:
        """The content of each blob."""
        raw = self._git("cat-file", "--batch", stdin="\n".join(blobs).encode() + b"\n")
        position = 0
        for _ in blobs:
            end = raw.index(b"\n", position)
            size = int(raw[position:end].split()[2])
            yield raw[end + 1 : end + 1 + size]
            position = end + 1 + size + 1


def _is_code(path: str) -> bool:
    return CODE.search(path) is not None and TESTS.search(path) is None
