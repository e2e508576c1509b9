"""What a change adds and removes, line by line: what the style rewards look at.

Lines that both versions begin or end with are kept. Of the rest, a new line counts as kept when the
old version has an equal one left over, wherever that stood: moved code is no new code, and the
time is linear whatever the agent wrote (a minimal diff can take quadratic time on hostile files).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from repodrome.envs.sandbox.base import Change

MAX_BYTES = 1 << 20
"""Larger files are not looked at."""
MAX_LINE = 2000
"""Characters of a line that are looked at."""

HASH_COMMENTS = (".py", ".pyi", ".sh", ".bash", ".rb", ".toml", ".yaml", ".yml", ".pl", ".r", ".jl")
SLASH_COMMENTS = (
    *(".js", ".jsx", ".ts", ".tsx", ".mjs", ".c", ".h", ".cc", ".cpp", ".hpp", ".java", ".go"),
    *(".rs", ".swift", ".kt", ".cs", ".scala", ".php"),
)
CODE = (*HASH_COMMENTS, *SLASH_COMMENTS)
"""Suffixes of files whose style is judged."""


@dataclass(frozen=True, slots=True)
class FileDelta:
    """One changed text file.

    Attributes:
        path: relative to the workspace; surrogate-escaped.
        before: lines of the pristine file, without newlines; none where it is new.
        after: lines of the agent's file; none where it was deleted.
        added: indices into ``after`` of lines that are new.
        removed: indices into ``before`` of lines that are gone.
        known: False where the pristine content is not there to compare with; everything then counts
            as kept, since nothing can be said.
        final_newline: both versions end in a newline, or the agent's does.
    """

    path: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    added: tuple[int, ...]
    removed: tuple[int, ...]
    known: bool = True
    final_newline: bool = True

    @property
    def is_code(self) -> bool:
        """Its suffix is that of a programming language."""
        return self.path.lower().endswith(CODE)

    @property
    def added_lines(self) -> list[str]:
        """The new lines."""
        return [self.after[index] for index in self.added]

    @property
    def removed_lines(self) -> list[str]:
        """The lines that are gone."""
        return [self.before[index] for index in self.removed]

    @property
    def size(self) -> int:
        """Lines added plus lines removed."""
        return len(self.added) + len(self.removed)


def deltas(change: Change, pristine: Mapping[str, bytes]) -> tuple[FileDelta, ...]:
    """Every changed text file of at most :data:`MAX_BYTES` bytes.

    Args:
        change: the agent's change; hostile.
        pristine: path → content before, for the modified and deleted files.
    """
    found = []
    for file in change.files:
        if file.kind == "refused":
            continue
        old, new = pristine.get(file.path, b""), file.data or b""
        if not (is_text(old) and is_text(new)):
            continue
        known = file.kind == "added" or file.path in pristine
        before, after = to_lines(old), to_lines(new)
        added, removed = changed_lines(before, after) if known else ((), ())
        newline = not new or new.endswith(b"\n") or (bool(old) and not old.endswith(b"\n"))
        found.append(FileDelta(file.path, before, after, added, removed, known, newline))
    return tuple(found)


def changed_lines(
    before: Sequence[str], after: Sequence[str]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Indices of the added lines within ``after``, and of the removed ones within ``before``."""
    start, old_end, new_end = 0, len(before), len(after)
    while start < old_end and start < new_end and before[start] == after[start]:
        start += 1
    while start < old_end and start < new_end and before[old_end - 1] == after[new_end - 1]:
        old_end, new_end = old_end - 1, new_end - 1
    new = Counter(after[start:new_end])
    old = Counter(before[start:old_end])
    return (
        tuple(_left_over(after, start, new_end, old)),
        tuple(_left_over(before, start, old_end, new)),
    )


def _left_over(lines: Sequence[str], start: int, end: int, others: Counter[str]) -> list[int]:
    """Indices of the lines that have no equal among the others, each of which serves once."""
    left = []
    for index in range(start, end):
        if others[lines[index]] > 0:
            others[lines[index]] -= 1
        else:
            left.append(index)
    return left


def is_text(data: bytes) -> bool:
    """Not too large, and without NUL bytes."""
    return len(data) <= MAX_BYTES and b"\0" not in data


def to_lines(data: bytes) -> tuple[str, ...]:
    """Lines of a file without their newlines, long ones cut."""
    if not data:
        return ()
    lines = data.decode("utf-8", "replace").split("\n")
    if not lines[-1]:
        lines.pop()
    if max(map(len, lines), default=0) > MAX_LINE:
        lines = [line[:MAX_LINE] for line in lines]
    return tuple(lines)
