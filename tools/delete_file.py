"""``delete_file``: remove a file, a link or an empty directory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from repodrome.errors import ToolError, WorkspaceError
from repodrome.tools.base import Arguments, ToolContext, ToolOutput
from repodrome.tools.files import relative
from repodrome.tools.text import show_path


class DeleteFileArguments(Arguments):
    """Arguments of ``delete_file``."""

    path: str = Field(description="File, link or empty directory to remove.")


@dataclass(frozen=True, slots=True)
class DeleteFile:
    """Removes one entry of the workspace; never a tree."""

    name: str = "delete_file"
    description: str = (
        "Delete one file, one link (not what it leads to) or one empty directory. A directory that "
        "holds anything is refused."
    )
    arguments: ClassVar[type[Arguments]] = DeleteFileArguments
    read_only: ClassVar[bool] = False

    async def run(self, arguments: DeleteFileArguments, context: ToolContext) -> ToolOutput:
        """Delete it.

        Raises:
            ToolError: it is the workspace itself, missing, or a directory with entries.
        """
        path = relative(context.workspace, arguments.path)
        shown = show_path(path)
        if path == ".":
            raise ToolError("the workspace itself can't be deleted; name a file", code="bad_path")
        try:
            await context.workspace.delete(arguments.path)
        except WorkspaceError as error:
            if error.code == "not_empty":
                raise WorkspaceError(
                    f"{shown} is a directory with entries; delete those first", code="not_empty"
                ) from error
            raise
        context.state.seen.pop(path, None)
        context.state.changed[path] = None
        return ToolOutput(f"deleted {shown}", data={"path": path})
