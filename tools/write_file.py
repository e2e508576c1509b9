"""``write_file``: create a file, or replace one that has been read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from repodrome.errors import ToolError, WorkspaceError
from repodrome.tools.base import Arguments, ToolContext, ToolOutput
from repodrome.tools.files import digest, hash_file, relative
from repodrome.tools.text import count, show_path
from repodrome.tools.words import named


class WriteFileArguments(Arguments):
    """Arguments of ``write_file``."""

    path: str = Field(
        description="File to write: relative to the workspace, or absolute inside it."
    )
    content: str = Field(description="The whole new content, written exactly as given.")


@dataclass(frozen=True, slots=True)
class WriteFile:
    """Writes a whole file; an existing one must have been read, and be as it was then."""

    name: str = "write_file"
    description: str = (
        f"Create a file, or replace the whole of one that you have read with {named('read_file')}. "
        f"Missing directories are made. To change a part of a file use {named('edit_file')}."
    )
    arguments: ClassVar[type[Arguments]] = WriteFileArguments
    read_only: ClassVar[bool] = False

    async def run(self, arguments: WriteFileArguments, context: ToolContext) -> ToolOutput:
        """Write it.

        Raises:
            ToolError: the file is there and has not been read, or has changed since.
        """
        workspace, seen = context.workspace, context.state.seen
        path = relative(workspace, arguments.path)
        shown = show_path(path)
        try:
            before = await hash_file(workspace, arguments.path)
        except WorkspaceError as error:
            if error.code == "is_directory":
                raise WorkspaceError(
                    f"{shown} is a directory; name a file in it", code="is_directory"
                ) from error
            raise
        if before is not None and path not in seen:
            raise ToolError(
                f"{shown} already exists and you have not read it; read it first with "
                f"{named('read_file')}, or change a part of it with {named('edit_file')}",
                code="not_read",
            )
        if before is not None and seen[path] != before:
            raise ToolError(
                f"{shown} has changed since you last read it (by a command, perhaps); "
                "read it again before replacing it",
                code="stale",
            )
        data = arguments.content.encode()
        await workspace.write(arguments.path, data)
        seen[path] = digest(data)
        context.state.changed[path] = None
        lines = data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
        what = "created" if before is None else "replaced"
        if before == seen[path]:
            what = "unchanged:"
        return ToolOutput(
            f"{what} {shown} ({count(lines, 'line')}, {count(len(data), 'byte')})",
            data={"path": path, "created": before is None, "bytes": len(data), "lines": lines},
        )
