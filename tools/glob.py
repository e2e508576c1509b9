"""``glob``: find files by name."""

from __future__ import annotations

import fnmatch
import functools
import re
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from repodrome.errors import ToolError
from repodrome.tools.base import Arguments, ToolContext, ToolOutput
from repodrome.tools.files import kind_of, off_loop, relative
from repodrome.tools.search import search
from repodrome.tools.text import count, safe_text, show_path

_MAX_PATTERN = 1000
_MAX_ALTERNATIVES = 64


class GlobArguments(Arguments):
    """Arguments of ``glob``."""

    pattern: str = Field(
        min_length=1,
        description="Glob such as '**/*.py', 'src/*.{js,ts}' or 'test_*.py'. Without a '/' it "
        "matches names at any depth.",
    )
    path: str = Field(
        default=".", description="Directory to search; the pattern is relative to it."
    )
    limit: int = Field(default=200, ge=1, description="Most files to show.")


@dataclass(frozen=True, slots=True)
class GlobPattern:
    """A glob, matched in time linear in the path: hostile patterns can't stall the host."""

    alternatives: tuple[tuple[re.Pattern[str] | None, ...], ...]  # None is '**'

    @classmethod
    def parse(cls, pattern: str, *, anchored: bool = False) -> GlobPattern:
        """Read a glob: ``*``, ``?``, ``[…]`` within a name, ``**`` across, ``{a,b}``.

        Args:
            pattern: the glob; without a ``/`` it matches at any depth.
            anchored: not so, then.

        Raises:
            ToolError: it is too long, or climbs with ``..``.
        """
        if len(pattern) > _MAX_PATTERN:
            raise ToolError(
                f"the pattern has {len(pattern):,} characters; the most is {_MAX_PATTERN:,}",
                code="invalid_arguments",
            )
        return cls(tuple(_segments(one, anchored) for one in _expanded(pattern)))

    def matches(self, path: str) -> bool:
        """Whether a relative path matches."""
        names = path.split("/")
        return any(_match(segments, names) for segments in self.alternatives)


def _segments(pattern: str, anchored: bool) -> tuple[re.Pattern[str] | None, ...]:
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ToolError(
            "the pattern climbs with '..'; name the directory in path instead",
            code="invalid_arguments",
        )
    if pattern.endswith("/"):
        parts.append("**")
    elif not anchored and len(parts) == 1 and parts[0] != "**":
        parts.insert(0, "**")
    if not parts:
        raise ToolError(
            "the pattern names nothing; use '**' for all files", code="invalid_arguments"
        )
    segments: list[re.Pattern[str] | None] = []
    for part in parts:
        if part == "**":
            if not segments or segments[-1] is not None:
                segments.append(None)
        else:
            # fnmatch writes expressions that don't backtrack from one '*' into another.
            segments.append(re.compile(fnmatch.translate(part)))
    return tuple(segments)


def _expanded(pattern: str) -> list[str]:
    """Every alternative of ``{a,b}``; a brace without a partner stands for itself."""
    done: list[str] = []
    pending = [pattern]
    while pending:
        one = pending.pop()
        start = one.find("{")
        while start >= 0:
            end = _closing(one, start)
            if end is not None:
                break
            start = one.find("{", start + 1)
        else:
            done.append(one)
            continue
        for choice in reversed(_choices(one[start + 1 : end])):
            pending.append(f"{one[:start]}{choice}{one[end + 1 :]}")
        if len(done) + len(pending) > _MAX_ALTERNATIVES:
            raise ToolError(
                f"the pattern has more than {_MAX_ALTERNATIVES} alternatives; use fewer braces",
                code="invalid_arguments",
            )
    return done


def _closing(text: str, start: int) -> int | None:
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] == "{") - (text[index] == "}")
        if depth == 0:
            return index
    return None


def _choices(inner: str) -> list[str]:
    choices, depth = [""], 0
    for char in inner:
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            choices.append("")
        else:
            choices[-1] += char
    return choices


def _match(segments: tuple[re.Pattern[str] | None, ...], names: list[str]) -> bool:
    last = segments[-1]
    if last is not None and not last.match(names[-1]):
        return False  # decides most cases at once
    at = name = 0
    star: tuple[int, int] | None = None  # where to take up again behind the last '**'
    while name < len(names):
        segment = segments[at] if at < len(segments) else None
        if at < len(segments) and segment is None:
            star = (at, name)
            at += 1
        elif segment is not None and segment.match(names[name]):
            at, name = at + 1, name + 1
        elif star is not None:
            star = (star[0], star[1] + 1)
            at, name = star[0] + 1, star[1]
        else:
            return False
    return all(segment is None for segment in segments[at:])


def _matching(output: bytes, pattern: GlobPattern, skip: int) -> list[str]:
    # Every name ends in a NUL: what is behind the last one was cut off.
    names = output.decode("utf-8", "surrogateescape").split("\0")[:-1]
    return sorted(name[skip:] for name in names if pattern.matches(name[skip:]))


@dataclass(frozen=True, slots=True)
class Glob:
    """Finds files by name, sorted by path; hidden and ignored ones too, but nothing in ``.git``.

    Sorted by path, not time: the files of a fresh workspace all have much the same time.

    Attributes:
        max_results: most files of one answer.
        timeout: seconds that the search may take.
        scan_bytes: most bytes of file names looked at; beyond it the count is "at least".
    """

    name: str = "glob"
    description: str = (
        "Find files by name with a glob pattern. Hidden and ignored files are found too, .git is "
        "left out. Results are sorted by path and capped, with a notice of how many there are."
    )
    max_results: int = 1000
    timeout: float = 30.0
    scan_bytes: int = 16 << 20
    arguments: ClassVar[type[Arguments]] = GlobArguments
    read_only: ClassVar[bool] = True

    async def run(self, arguments: GlobArguments, context: ToolContext) -> ToolOutput:
        """Find.

        Raises:
            ToolError: the pattern or path is wrong, or the search took too long.
        """
        workspace = context.workspace
        pattern = arguments.pattern
        base = relative(workspace, arguments.path)
        if pattern.startswith("/"):
            inside = relative(workspace, pattern)
            if inside.startswith("/"):
                raise ToolError(
                    f"the pattern lies outside the workspace {workspace.root}; make it relative",
                    code="escape",
                )
            base, parsed = ".", GlobPattern.parse(inside, anchored=True)
        else:
            parsed = GlobPattern.parse(pattern)
        if await kind_of(workspace, base) != "dir":
            raise ToolError(
                f"{show_path(base)} is not a directory; give the directory to search in",
                code="not_directory",
            )
        start = "." if base == "." else f"./{base}"
        result, cut = await search(
            workspace,
            [
                "find", "-H", start, "-name", ".git", "-prune",
                "-o", "(", "-type", "f", "-o", "-type", "l", ")", "-print0",
            ],
            timeout=self.timeout,
            max_bytes=self.scan_bytes,
        )  # fmt: skip
        work = functools.partial(_matching, result.stdout, parsed, len(start) + 1)
        found = await off_loop(len(result.stdout), work)
        prefix = "" if base == "." else f"{base}/"
        shown = [
            show_path(prefix + name) for name in found[: min(arguments.limit, self.max_results)]
        ]
        notes = []
        least = "at least " if cut else ""
        if not found:
            notes.append(f"no file matches {safe_text(arguments.pattern)!r} in {show_path(base)}")
        elif len(shown) < len(found) or cut:
            notes.append(
                f"{len(shown):,} of {least}{count(len(found), 'file')} shown; narrow it down"
            )
        if result.exit_code not in (0, 141):
            notes.append("some directories could not be read")
        return ToolOutput(
            "\n".join([*shown, *(f"[{note}]" for note in notes)]),
            data={"files": len(found), "at_least": cut},
            truncated=len(shown) < len(found) or cut,
        )
