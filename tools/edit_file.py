"""``edit_file``: replace an exact piece of a file."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from repodrome.errors import ToolError, WorkspaceError
from repodrome.tools.base import Arguments, ToolContext, ToolOutput
from repodrome.tools.files import MAX_EDITED, off_loop, read_for_edit, relative, remember_edit
from repodrome.tools.nearest import MAX_LINES, nearest
from repodrome.tools.text import clip_line, count, safe_text, show_path
from repodrome.tools.words import named

_OLD, _NEW, _ALL = (
    named(f"edit_file.{name}") for name in ("old_string", "new_string", "replace_all")
)


class EditFileArguments(Arguments):
    """Arguments of ``edit_file``."""

    path: str = Field(
        description="File to change: relative to the workspace, or absolute inside it."
    )
    old_string: str = Field(
        description="Text to replace, exactly as in the file, with enough lines around it to occur "
        "only once."
    )
    new_string: str = Field(description="Text to put in its place; may be empty.")
    replace_all: bool = Field(
        default=False, description="Replace every occurrence instead of exactly one."
    )


@dataclass(frozen=True, slots=True)
class EditFile:
    """Replaces one occurrence, or all, of a text; everything else in the file stays as it is.

    The file need not have been read: that ``old_string`` is there, and once, is the guard.
    """

    name: str = "edit_file"
    description: str = (
        f"Change a file by replacing {_OLD} with {_NEW}. Fails if {_OLD} is not in the file or, "
        f"without {_ALL}, is there more than once. Line endings and encoding are kept."
    )
    arguments: ClassVar[type[Arguments]] = EditFileArguments
    read_only: ClassVar[bool] = False

    async def run(self, arguments: EditFileArguments, context: ToolContext) -> ToolOutput:
        """Edit it.

        Raises:
            ToolError: ``old_string`` is empty, missing, not unique, or equal to ``new_string``.
        """
        path = relative(context.workspace, arguments.path)
        shown = show_path(path)
        if not arguments.old_string:
            raise ToolError(
                f"{_OLD} is empty; give the text to replace, or create a file with "
                f"{named('write_file')}",
                code="invalid_arguments",
            )
        if arguments.old_string == arguments.new_string:
            raise ToolError(f"{_OLD} and {_NEW} are the same; nothing to do", code="no_change")
        try:
            before = await read_for_edit(context.workspace, arguments.path)
        except WorkspaceError as error:
            if error.code == "not_found":
                raise WorkspaceError(
                    f"there is no file {shown}; create it with {named('write_file')}, or find the "
                    f"right path with {named('glob')}",
                    code="not_found",
                ) from error
            raise
        work = functools.partial(_edited, before, arguments, shown)
        edit = await off_loop(len(before), work)
        await context.workspace.write(arguments.path, edit.after)
        fresh = remember_edit(context.state, path, before, edit.after)
        answer = f"edited {shown}: {count(edit.replacements, 'replacement')}"
        if not fresh:
            answer += " (the file had changed since you last read it)"
        return ToolOutput(
            f"{answer}\n{edit.snippet}",
            data={"path": path, "replacements": edit.replacements, "first_line": edit.first_line},
        )


@dataclass(frozen=True, slots=True)
class _Edit:
    """What an edit makes of a file."""

    after: bytes
    replacements: int
    first_line: int
    snippet: str


def _edited(before: bytes, arguments: EditFileArguments, shown: str) -> _Edit:
    # Surrogate escapes bring bytes that are not UTF-8 through unharmed.
    text = before.decode("utf-8", "surrogateescape")
    old, new = fit_newlines(text, arguments.old_string, arguments.new_string)
    found = text.count(old)
    if not found:
        advice = nearest(_lines(text, MAX_LINES), _lines(old.removesuffix("\n"), MAX_LINES))
        raise ToolError(
            f"{_OLD} is not in {shown}; read the file and copy the text exactly",
            code="no_match",
            hint=advice or "Nothing in the file is alike.",
        )
    if found > 1 and not arguments.replace_all:
        where = ", ".join(str(line) for line in itertools.islice(_places(text, old), 10))
        more = ", …" if found > 10 else ""
        raise ToolError(
            f"{_OLD} is in {shown} {found:,} times (lines {where}{more}); add lines around "
            f"it until it is unique, or set {_ALL}=true",
            code="not_unique",
        )
    # Before it is made: a few characters in millions of places would fill the host's memory.
    if len(text) + found * (len(new) - len(old)) > MAX_EDITED:
        raise ToolError(
            f"{shown} would become larger than {MAX_EDITED >> 20} MiB by {found:,} replacements, "
            f"too large for this tool; change it with a command, with {named('terminal')}",
            code="too_large",
        )
    first = text.count("\n", 0, text.index(old)) + 1
    changed = text.replace(old, new)
    after = changed.encode("utf-8", "surrogateescape")
    if after == before:
        raise ToolError(
            f"the replacement leaves the file as it is; {_OLD} and {_NEW} differ only in line "
            "endings",
            code="no_change",
        )
    return _Edit(after, found, first, _snippet(changed, first, new.count("\n") + 1))


def fit_newlines(text: str, old: str, new: str) -> tuple[str, str]:
    """Give ``old`` and ``new`` the line endings of the text they are for."""
    crlf = text.count("\r\n")
    bare = text.count("\n") - crlf
    if crlf and (not bare or (old not in text and _crlf(old) in text)):
        return _crlf(old), _crlf(new)
    if not crlf and old not in text:
        return old.replace("\r\n", "\n"), new.replace("\r\n", "\n")
    return old, new


def _crlf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\n", "\r\n")


def _lines(text: str, most: int) -> list[str]:
    """The first lines of a text."""
    return [line.removesuffix("\r") for line in text.split("\n", most)[:most]]


def _places(text: str, old: str) -> Iterator[int]:
    """Line numbers at which ``old`` starts."""
    line, last = 1, 0
    position = text.find(old)
    while position >= 0:
        line += text.count("\n", last, position)
        last = position
        yield line
        position = text.find(old, position + len(old))


def _snippet(text: str, first: int, changed: int) -> str:
    """The changed lines with three around them; of long changes only the start."""
    start = max(1, first - 3)
    stop = first + min(changed, 20) + 3
    lines = _lines(text, stop)
    if lines and not lines[-1]:
        lines.pop()
    return "\n".join(
        f"{number:6d}\t{safe_text(clip_line(line, 300))}"
        for number, line in enumerate(lines[start - 1 : stop - 1], start)
    )
