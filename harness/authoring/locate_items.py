"""Tasks for ``repodrome/Locate-v0`` from a repository's history.

The question is a commit's message, the repository is its parent, and the right answer is the lines
of the parent that the commit changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from repodrome.errors import UsageError
from repodrome.tasks.history import Commit, changed_files, changed_lines, commits
from repodrome.tasks.locate import Location

MAX_FILES = 5
MAX_LINES = 150
MIN_WORDS = 4
"""Of a subject: shorter ones say too little to look for."""

_CODE = frozenset(
    {"py", "pyi", "pyx", "js", "jsx", "ts", "tsx", "mjs", "vue", "go", "rs", "c", "h", "cc", "cpp"}
    | {"cxx", "hpp", "java", "kt", "scala", "rb", "php", "cs", "swift", "m", "lua", "ex", "exs"}
    | {"erl", "hs", "ml", "clj", "jl", "r", "pl", "sh", "sql"}
)
_TESTS = re.compile(
    r"(^|/)(tests?|testing|spec|__tests__)/|(^|/)(test_|conftest\.)|[_.](test|spec)\."
)
_SAYS_NOTHING = re.compile(
    r"(merge|revert|bump|release|prepare|version|wip|fixup!|squash!|amend!|typo|format|lint|reformat|"
    r"chore|update (change|dependenc|version|copyright))",
    re.IGNORECASE,
)
_TRAILER = re.compile(r"^[A-Z][\w-]+(-by)?: .*<.*@.*>$|^\(cherry picked|^git-svn-id")


def locate_items(repository: Path, out: Path, *, count: int, scan: int = 2000) -> Iterator[Path]:
    """Make task folders below ``out``, newest commits first; gives each as it is made.

    A commit is taken if its message says something, if it changes a few files of code at places
    that were there before, and if its message names none of those files. Folders that are there
    already are left as they are, and not counted.

    Args:
        repository: a local repository.
        count: how many at most.
        scan: how many commits are looked at.

    Raises:
        UsageError: git can't read the repository, or a folder can't be written.
    """
    made = 0
    root = repository.expanduser().resolve()
    for commit in commits(root, most=scan):
        if made >= count:
            return
        folder = out / _name(commit)
        if folder.exists() or not _says_something(commit.subject):
            continue
        gold = _gold(root, commit)
        question = _question(commit, gold)
        if not gold or not question:
            continue
        try:
            _write(folder, root, commit, question, gold)
        except OSError as error:
            raise UsageError(f"can't write {folder}: {error.strerror}") from error
        made += 1
        yield folder


def _says_something(subject: str) -> bool:
    return len(subject.split()) >= MIN_WORDS and not _SAYS_NOTHING.match(subject)


def _gold(repository: Path, commit: Commit) -> list[Location]:
    """The places, or nothing where the commit is of no use."""
    try:
        files = changed_files(repository, commit)
        code = {path: kind for path, kind in files.items() if _is_code(path)}
        changed = [path for path, kind in code.items() if kind == "M"]
        if not changed or len(code) > MAX_FILES:
            return []
        gold = changed_lines(repository, commit, changed)
    except UsageError:  # the parent isn't there: a shallow clone ends here
        return []
    lines = sum(place.last - place.first + 1 for place in gold)
    return gold if {place.path for place in gold} == set(changed) and lines <= MAX_LINES else []


def _is_code(path: str) -> bool:
    suffix = PurePosixPath(path).suffix.removeprefix(".").lower()
    plain = path.isprintable() and not set(path) & set(":\"'` ")
    return plain and suffix in _CODE and not _TESTS.search(path)


def _question(commit: Commit, gold: Sequence[Location]) -> str:
    """The message without what gives the answer away; nothing where its subject does."""
    names = {PurePosixPath(place.path).name.lower() for place in gold}

    def tells(text: str) -> bool:
        return any(name in text.lower() for name in names)

    if tells(commit.subject):
        return ""
    rows = [row for row in commit.body.splitlines() if not _TRAILER.match(row)]
    body = "\n".join(rows).strip()
    message = commit.subject if not body or tells(body) else f"{commit.subject}\n\n{body[:2000]}"
    quoted = "\n".join(f"> {row}".rstrip() for row in message.splitlines())
    return f"Which lines have to change for this?\n\n{quoted}\n"


def _name(commit: Commit) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", commit.subject.lower()).strip("-")[:40].strip("-")
    return f"{words or 'commit'}-{commit.sha[:8]}"


def _write(
    folder: Path, repository: Path, commit: Commit, question: str, gold: Sequence[Location]
) -> None:
    folder.mkdir(parents=True)
    (folder / "instruction.md").write_text(question, encoding="utf-8")
    rows = "".join(f"    {json.dumps(str(place))},\n" for place in gold)
    (folder / "task.toml").write_text(
        f"""\
[task]
name = {json.dumps(f"locate/{folder.name}")}

[metadata]
category = "locate"
commit = {json.dumps(commit.sha)}

[source]
git = {json.dumps(str(repository))}
commit = {json.dumps(commit.parent)}

[locate]
gold = [
{rows}]
""",
        encoding="utf-8",
    )
