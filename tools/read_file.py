"""``read_file``: numbered lines of a text file."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import Field

from repodrome.errors import ToolError, WorkspaceError
from repodrome.tools.base import Arguments, ToolContext, ToolOutput
from repodrome.tools.files import CHUNK, MAX_HASHED, relative
from repodrome.tools.text import binary_kind, clip_line, count, has_unsafe, safe_text, show_path
from repodrome.tools.words import named

_OFFSET = named("read_file.offset")


class ReadFileArguments(Arguments):
    """Arguments of ``read_file``."""

    path: str = Field(description="File to read: relative to the workspace, or absolute inside it.")
    offset: int = Field(default=1, ge=0, description="First line to show, counted from 1.")
    limit: int = Field(default=2000, ge=1, description="Most lines to show.")


@dataclass(slots=True)
class _Window:
    """Takes a file in chunks and keeps only the wanted lines, each only as far as it is shown."""

    first: int
    limit: int
    max_bytes: int
    max_line: int
    lines: list[tuple[bytes, int]] = field(default_factory=list)  # what is kept, full length
    newlines: int = 0  # seen so far
    kept: int = 0  # bytes of finished lines
    part: bytes = b""
    part_length: int = 0
    ends_with_newline: bool = True

    def feed(self, data: bytes) -> None:
        """Take the next chunk."""
        if not data:
            return
        self.ends_with_newline = data.endswith(b"\n")
        start = 0
        skip = self.first - 1 - self.newlines
        if skip > 0:
            here = data.count(b"\n")
            if here < skip:
                self.newlines += here
                return
            start = len(data) - len(data.split(b"\n", skip)[-1])
            self.newlines += skip
        while start < len(data) and not self.full:
            end = data.find(b"\n", start)
            if end < 0:
                self._extend(data[start:])
                return
            self._extend(data[start:end])
            self._finish()
            self.newlines += 1
            start = end + 1
        self.newlines += data.count(b"\n", start)

    def end(self) -> int:
        """Finish the last line and say how many lines the file has."""
        if not self.ends_with_newline:
            if self.newlines >= self.first - 1 and self.part_length and not self.full:
                self._finish()
            return self.newlines + 1
        return self.newlines

    @property
    def full(self) -> bool:
        """No further line is wanted."""
        return len(self.lines) >= self.limit or self.kept >= self.max_bytes

    def _extend(self, piece: bytes) -> None:
        room = self.max_line * 4 - len(self.part)
        if room > 0:
            self.part += piece[:room]
        self.part_length += len(piece)

    def _finish(self) -> None:
        self.lines.append((self.part, self.part_length))
        self.kept += min(len(self.part), self.max_line * 4) + 8
        self.part, self.part_length = b"", 0


@dataclass(frozen=True, slots=True)
class ReadFile:
    """Reads a text file and remembers that it was seen.

    Attributes:
        max_lines: most lines of one answer.
        max_line_chars: most characters of one line.
        max_output_bytes: about the most bytes of one answer.
    """

    name: str = "read_file"
    description: str = (
        "Read a text file. Lines come numbered, as 'NUMBER<tab>TEXT'; the number and the tab are "
        "not part of the file. Long files are cut, with a notice that says how to read on. "
        "Several calls may be made in one turn."
    )
    max_lines: int = 2000
    max_line_chars: int = 2000
    max_output_bytes: int = 60_000
    arguments: ClassVar[type[Arguments]] = ReadFileArguments
    read_only: ClassVar[bool] = True

    async def run(self, arguments: ReadFileArguments, context: ToolContext) -> ToolOutput:
        """Read it.

        Raises:
            ToolError: there is nothing to read at that path or offset.
        """
        path = relative(context.workspace, arguments.path)
        shown = show_path(path)
        first = max(1, arguments.offset)
        window = _Window(
            first, min(arguments.limit, self.max_lines), self.max_output_bytes, self.max_line_chars
        )
        hasher = hashlib.blake2b(digest_size=16)
        size = 0
        whole = False
        while size < MAX_HASHED:
            data = await self._chunk(context, arguments.path, size)
            if size == 0 and (kind := binary_kind(data)):
                return await self._binary(context, arguments.path, data, kind)
            hasher.update(data)
            window.feed(data)
            await asyncio.sleep(0)  # let others have their turn: a read may not wait for anything
            size += len(data)
            if len(data) < CHUNK:
                whole = True
                break
        total = window.end()
        if total and first > total:
            least = "" if whole else "at least "
            raise ToolError(
                f"{_OFFSET} {first} is past the end of {shown}, which has {least}"
                f"{count(total, 'line')}; give one from 1 to {total}",
                code="out_of_range",
            )
        context.state.seen[path] = hasher.hexdigest()
        facts = {
            "path": path,
            "first_line": first,
            "lines": len(window.lines),
            "total_lines": total,
        }
        if size == 0:
            return ToolOutput(f"[{shown} is empty]", data=facts)
        text, notices, cut = self._render(window, total, whole)
        if notices:
            text += "\n" + "\n".join(f"[{notice}]" for notice in notices)
        return ToolOutput(text, data=facts, truncated=cut)

    async def _chunk(self, context: ToolContext, path: str, offset: int) -> bytes:
        try:
            return await context.workspace.read(path, offset=offset, limit=CHUNK)
        except WorkspaceError as error:
            if error.code == "is_directory":
                shown = show_path(relative(context.workspace, path))
                raise WorkspaceError(
                    f"{shown} is a directory; list it with {named('list_dir')}", code="is_directory"
                ) from error
            raise

    async def _binary(self, context: ToolContext, path: str, head: bytes, kind: str) -> ToolOutput:
        size = len(head)
        if size >= CHUNK:
            size = (await context.workspace.stat(path)).size  # a link's own size at worst
        name = relative(context.workspace, path)
        advice = (
            "convert it with iconv" if kind.startswith("UTF-16") else "look at it with a command"
        )
        text = (
            f"[{show_path(name)} is not shown: {kind}, {count(size, 'byte')}; "
            f"{advice} ({named('terminal')}) if needed]"
        )
        return ToolOutput(text, data={"path": name, "binary": True, "size": size})

    def _render(self, window: _Window, total: int, whole: bool) -> tuple[str, list[str], bool]:
        notices: list[str] = []
        rows: list[str] = []
        long_lines = 0
        invalid = control = False
        carriage = 0
        for number, (raw, length) in enumerate(window.lines, window.first):
            if raw.endswith(b"\r") and length == len(raw):
                raw, length, carriage = raw[:-1], length - 1, carriage + 1
            line = raw.decode("utf-8", "replace")
            invalid = invalid or "�" in line
            if has_unsafe(line):
                line, control = safe_text(line), True
            if length > len(raw):
                long_lines += 1
                line = f"{line[: self.max_line_chars]}… [the line has {length:,} bytes]"
            elif len(line) > self.max_line_chars:
                long_lines += 1
                line = clip_line(line, self.max_line_chars)
            rows.append(f"{number:6d}\t{line}")
        last = window.first + len(rows) - 1
        if last < total:
            least = "" if whole else "at least "
            notices.append(
                f"lines {window.first:,}-{last:,} of {least}{total:,}; "
                f"read on with {_OFFSET}={last + 1}"
            )
        if long_lines:
            notices.append(
                f"{count(long_lines, 'line')} cut at {self.max_line_chars:,} characters; "
                f"for the rest use a command such as cut -c ({named('terminal')})"
            )
        if invalid:
            notices.append("some bytes are not valid UTF-8 and are shown as �")
        if control:
            notices.append("control characters are shown as \\xNN")
        if carriage and carriage >= len(rows) - 1:
            notices.append("line endings are CRLF; edits keep them")
        elif carriage:
            notices.append(f"mixed line endings: {count(carriage, 'line')} end in CRLF")
        if last == total and not window.ends_with_newline and whole:
            notices.append("no newline at the end of the file")
        return "\n".join(rows), notices, bool(long_lines) or last < total
