"""``list_dir``: what a directory holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from repodrome.errors import WorkspaceError
from repodrome.tools.base import Arguments, ToolContext, ToolOutput
from repodrome.tools.files import relative
from repodrome.tools.text import count, show_path
from repodrome.tools.words import named
from repodrome.tools.workspace import FileInfo


class ListDirArguments(Arguments):
    """Arguments of ``list_dir``."""

    path: str = Field(
        default=".", description="Directory to list; the workspace itself by default."
    )


@dataclass(frozen=True, slots=True)
class ListDir:
    """Lists one directory, sorted by name.

    Attributes:
        max_entries: most entries of one answer.
    """

    name: str = "list_dir"
    description: str = (
        "List one directory, hidden entries included, sorted by name. Directories end in '/', "
        "links in '@'; files show their size in bytes. To find files by name use "
        f"{named('glob')}."
    )
    max_entries: int = 500
    arguments: ClassVar[type[Arguments]] = ListDirArguments
    read_only: ClassVar[bool] = True

    async def run(self, arguments: ListDirArguments, context: ToolContext) -> ToolOutput:
        """List it.

        Raises:
            WorkspaceError: there is no such directory.
        """
        path = relative(context.workspace, arguments.path)
        try:
            entries = await context.workspace.list_dir(arguments.path)
        except WorkspaceError as error:
            if error.code == "not_directory":
                raise WorkspaceError(
                    f"{show_path(path)} is not a directory; read a file with {named('read_file')}",
                    code="not_directory",
                ) from error
            raise
        facts = {"path": path, "entries": len(entries)}
        if not entries:
            return ToolOutput(f"[{show_path(path)} is an empty directory]", data=facts)
        rows = [_row(entry) for entry in entries[: self.max_entries]]
        left = len(entries) - len(rows)
        if left:
            rows.append(
                f"[{count(left, 'more entry', 'more entries')} of {len(entries):,} not shown; "
                f"narrow it down with {named('glob')}]"
            )
        return ToolOutput("\n".join(rows), data=facts, truncated=left > 0)


def _row(entry: FileInfo) -> str:
    name = show_path(entry.path.rpartition("/")[2])
    if entry.kind == "dir":
        return f"{name}/"
    if entry.kind == "link":
        return f"{name}@"
    if entry.kind == "other":
        return f"{name}  (FIFO, socket or device)"
    return f"{name}  ({entry.size:,} bytes)"
