"""The globs of task folders, matched against paths relative to the workspace.

``*``, ``?`` and ``[…]`` stay within one part of the path and ``**`` crosses parts. A pattern is
anchored at the top of the workspace (``**/conftest.py`` finds one anywhere, ``conftest.py`` only
the topmost), and one that matches a directory covers everything below it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> re.Pattern[str]:
    """The regular expression of a glob; it matches covered paths in full."""
    parts = [part for part in pattern.strip("/").split("/") if part not in ("", ".")]
    while parts and parts[-1] == "**":
        parts.pop()
        if not parts:
            return re.compile(r".+", re.DOTALL)
    out = []
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            out.append("(?:[^/]+/)*")
        else:
            out.append(_part(part) + ("" if last else "/"))
    return re.compile("".join(out) + r"(?:/.*)?", re.DOTALL)


def covers(patterns: Iterable[str], path: str) -> bool:
    """Whether any of the globs matches the path or a directory above it."""
    return any(compiled(pattern).fullmatch(path) for pattern in patterns)


def _part(text: str) -> str:
    """The expression of one part of a path."""
    out, index = [], 0
    while index < len(text):
        char = text[index]
        index += 1
        if char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[" and (end := _class_end(text, index)) is not None:
            body = text[index:end].replace("\\", "\\\\").replace("[", "\\[")
            if body[0] == "!":
                body = "^" + body[1:]
            out.append(f"(?!/)[{body}]")
            index = end + 1
        else:
            out.append(re.escape(char))
    return "".join(out)


def _class_end(text: str, start: int) -> int | None:
    """Where the ``]`` of a character class is; one that comes first is a member of the class."""
    first = start + 1 if text[start : start + 1] in ("!", "^") else start
    end = text.find("]", first + 1)
    return end if end >= 0 else None
