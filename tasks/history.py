"""What a repository's history tells: commits, and which lines of their parent they changed.

Only reads, with the repository's own hooks, file-system monitor and external diffs left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from repodrome.errors import UsageError
from repodrome.tasks.locate import Location

_SAFE = (
    *("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=off"),
    *("-c", "diff.renames=false", "-c", "log.showSignature=false"),
)
_FILE = re.compile(r"^--- a/(.+)$")
_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+")
_NEAR = 3
"""Changed places with so few lines between them are taken as one."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit with a single parent.

    Attributes:
        sha, parent: full ids.
        subject: the message's first line.
        body: the rest of it.
    """

    sha: str
    parent: str
    subject: str
    body: str


def commits(repository: Path, *, most: int = 2000) -> list[Commit]:
    """The latest commits that are no merges and no first ones, newest first.

    Raises:
        UsageError: there is no repository that git can read.
    """
    form = "%H%x00%P%x00%s%x00%b%x01"
    log = _git(repository, "log", "--no-merges", f"--max-count={most}", f"--format={form}", "HEAD")
    found = []
    for row in log.split("\x01"):
        fields = row.strip("\n").split("\0")
        if len(fields) == 4 and fields[1]:
            found.append(Commit(*fields))
    return found


def changed_files(repository: Path, commit: Commit) -> dict[str, str]:
    """Path → ``A``, ``M``, ``D`` or ``T``, of the files that a commit changed.

    Raises:
        UsageError: git can't read it, in a shallow clone for example.
    """
    listing = _git(
        repository, "diff-tree", "-r", "-z", "--name-status", commit.parent, commit.sha
    ).split("\0")
    return dict(zip(listing[1::2], (status[:1] for status in listing[::2]), strict=False))


def changed_lines(repository: Path, commit: Commit, paths: Sequence[str]) -> list[Location]:
    """The lines of the parent's files that a commit changed; where it only adds, the line before.

    Raises:
        UsageError: git can't read it.
    """
    diff = _git(
        *(repository, "diff", "--unified=0", "--no-color", "--no-ext-diff", "--no-textconv"),
        *("--src-prefix=a/", "--dst-prefix=b/", commit.parent, commit.sha, "--"),
        *(f":(literal){path}" for path in paths),
    )
    return list(_merged(_hunks(diff)))


def _hunks(diff: str) -> Iterator[Location]:
    path = ""
    for line in diff.split("\n"):
        if found := _FILE.match(line):
            path = found[1].rstrip("\t")
        elif path and (found := _HUNK.match(line)):
            first, count = int(found[1]), int(found[2] or 1)
            first = max(1, first)
            yield Location(path, first, first + max(0, count - 1))


def _merged(places: Iterator[Location]) -> Iterator[Location]:
    before: Location | None = None
    for place in places:
        if before and place.path == before.path and place.first <= before.last + 1 + _NEAR:
            before = Location(place.path, before.first, max(before.last, place.last))
            continue
        if before:
            yield before
        before = place
    if before:
        yield before


def _git(repository: Path, *arguments: str) -> str:
    from git.cmd import Git
    from git.exc import GitCommandError

    git = Git()  # a directory that isn't there would be passed over without a word
    git.update_environment(GIT_OPTIONAL_LOCKS="0", GIT_CONFIG_COUNT="0", GIT_PAGER="cat")
    try:
        output = git.execute(
            ["git", "-C", str(repository), *_SAFE, *arguments], stdout_as_string=False
        )
    except (GitCommandError, OSError) as error:
        said = str(getattr(error, "stderr", error)).strip().removeprefix("stderr: ").strip("'\n ")
        raise UsageError(f"git can't read the history of {repository}: {said}") from error
    assert isinstance(output, bytes)
    return os.fsdecode(output).encode("utf-8", "replace").decode()
