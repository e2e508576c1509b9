"""Questions with known answers from real histories: what a commit says, which files it changed.

Which commits are asked was settled before anything was measured on them: no merge, revert, release
or bot's commit; a message of at least four words; one to five source files changed that were there
before, one of them at least not a test.
"""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.docstrings import TESTS

SOURCE = re.compile(r"\.(?:py|pyx|js|ts|go|rs|c|h|cpp|java|rb)\Z")
TRAILERS = re.compile(r"^[\w-]+-by: .*$", re.MULTILINE | re.IGNORECASE)
ISSUE = re.compile(r"\(?#\d+\)?")
NO_CHANGE = re.compile(
    r"\W*(?:revert|merge|release|bump|prepar\w+ (?:for )?(?:the )?(?:next )?(?:release|version)"
    r"|(?:set |update )?version\b|v?\d+\.\d+)|.*\b(?:bump(?:ed|s)?|version bump)\b.*\bversion\b",
    re.IGNORECASE,
)
"""Opens a message that names no change of the code: reverts, merges, releases."""
BOT = re.compile(r"\bbot\b|dependabot|pre-commit-ci|pyup|renovate|github-actions", re.IGNORECASE)
"""In the name or address of an author that is a program."""
MOST_FILES = 5
FEWEST_WORDS = 4


@dataclass(frozen=True)
class Commit:
    """A commit that changed a few source files.

    Attributes:
        parent: the commit before it, whose tree is searched.
        text: its message as written, but for who signed it.
        files: the source files that it changed and that were there before, tests among them.
    """

    parent: str
    text: str
    files: frozenset[str]

    @property
    def code(self) -> frozenset[str]:
        """The files that are no tests."""
        return frozenset(path for path in self.files if not TESTS.search(path))


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
            "--format=%x00%P%n%an %ae%n%B%x01",
        ).decode("utf-8", "replace")
        found = []
        for record in raw.split("\0")[1:]:
            head, _, changes = record.partition("\x01")
            parent, author, message = head.split("\n", 2)
            rows = [line.split("\t") for line in changes.strip().split("\n") if "\t" in line]
            files = [path for kind, path in rows if kind == "M" and SOURCE.search(path)]
            commit = Commit(parent, TRAILERS.sub("", message).strip(), frozenset(files))
            words = ISSUE.sub("", commit.text).split()
            if (
                BOT.search(author) is None
                and NO_CHANGE.match(commit.text) is None
                and len(words) >= FEWEST_WORDS
                and len(files) <= MOST_FILES
                and commit.code
                and " " not in parent
            ):
                found.append(commit)
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
