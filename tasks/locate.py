"""Places in a repository: files and line ranges, as tasks name them and agents answer them.

A location is ``path``, ``path:line`` or ``path:first-last``, relative to the workspace; lines count
from 1 and both ends belong to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MAX_LOCATIONS = 200
"""So many of an answer's locations are read; further ones are left out."""
MAX_ANSWER_CHARS = 50_000
"""So much of an answer is read, and of each line :data:`MAX_ROW_CHARS`: agents write it."""
MAX_ROW_CHARS = 500
MAX_LINE = 10_000_000
_WORKSPACE = "/workspace/"
# Bullets, numbers and code marks around it are no part of it; neither is what follows a blank.
_LOCATION = re.compile(
    r"^[\s>*+\-`'\"]*(?:\d+[.)]\s+)?[`'\"]?(?P<path>[^\s:`'\"|]+)"
    r"(?::L?(?P<lines>\d+(?:-L?\d+)?(?:,\s?L?\d+(?:-L?\d+)?)*))?[`'\"]?\**(?=$|[\s:,;.(–—])"
)


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A place; without lines (``first`` is 0) the file as a whole."""

    path: str
    first: int = 0
    last: int = 0

    @classmethod
    def parse(cls, text: str) -> Location:
        """Read ``path``, ``path:line`` or ``path:first-last``.

        Raises:
            ValueError: it is none of them.
        """
        path, colon, lines = text.rpartition(":")
        if not colon:
            path, lines = text, ""
        match = re.fullmatch(r"(\d{1,8})(?:-(\d{1,8}))?", lines) if colon else None
        first = int(match[1]) if match else 0
        last = int(match[2] or match[1]) if match else 0
        if not path or path.startswith("/") or (colon and not 1 <= first <= last):
            raise ValueError(f"{text!r} is no location; write path, path:line or path:first-last")
        return cls(path, first, last)

    def __str__(self) -> str:
        if not self.first:
            return self.path
        lines = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return f"{self.path}:{lines}"


def read_answer(text: str) -> list[Location]:
    """The locations in an agent's answer: at the beginning of lines, several ranges by commas.

    Other text is passed over. A path counts only with lines behind it, or with a ``/`` or ``.``
    in it, so that prose isn't taken for files.
    """
    found: list[Location] = []
    for row in text[:MAX_ANSWER_CHARS].splitlines():
        row = row[:MAX_ROW_CHARS]
        match = _LOCATION.match(row)
        if match is not None and not match["lines"]:
            path = _relative(match["path"])
            only = row.strip().strip("`*->+ ") in (match["path"], path)
            if only and ("/" in path or "." in path):
                found.append(Location(path))
        while match is not None and match["lines"]:
            found += _ranges(_relative(match["path"]), match["lines"])
            row = row[match.end() :].lstrip(" ,;")  # several on one line
            match = _LOCATION.match(row)
    return found[:MAX_LOCATIONS]


def _relative(path: str) -> str:
    return path.removeprefix(_WORKSPACE).removeprefix("./").rstrip(",;.")


def _ranges(path: str, lines: str) -> Iterator[Location]:
    """Each range of ``3-5,L9``."""
    for part in lines.replace("L", "").replace(" ", "").split(","):
        first, _, last = part.partition("-")
        low, high = sorted((int(first[:9]), int((last or first)[:9])))
        yield Location(path, max(1, low), min(max(1, high), MAX_LINE))


def by_file(locations: Iterable[Location]) -> dict[str, list[tuple[int, int]]]:
    """Path → its line ranges, sorted and merged; none for a file that is named as a whole."""
    files: dict[str, list[tuple[int, int]]] = {}
    for one in sorted(set(locations)):
        ranges = files.setdefault(one.path, [])
        if not one.first:
            continue
        if ranges and one.first <= ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], max(ranges[-1][1], one.last))
        else:
            ranges.append((one.first, one.last))
    return files
