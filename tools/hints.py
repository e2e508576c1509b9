"""Hints for failed calls: made by rule from what is known, never by a model."""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from repodrome.errors import ToolError
from repodrome.tools.files import relative
from repodrome.tools.presentation import Presented
from repodrome.tools.text import cap_text, clip_line, show_path
from repodrome.tools.workspace import Workspace

MAX_BYTES = 2000
"""Longest hint."""


def unknown_tool(name: str, names: Sequence[str]) -> ToolError:
    """The error for a tool that isn't there; its hint has the nearest ones and the list."""
    near = difflib.get_close_matches(name[:100], names, n=2, cutoff=0.5)
    head = f"did you mean {' or '.join(near)}? " if near else ""
    return ToolError(
        f"there is no tool {clip_line(name, 100)!r}; use one that you were given",
        code="unknown_tool",
        hint=f"{head}The tools are: {', '.join(names)}",
    )


async def hint_for(
    error: ToolError, shown: Presented, given: Mapping[str, Any] | str, workspace: Workspace
) -> str:
    """What would help after this error: the error's own hint, near paths, or the call's form.

    Raises:
        InfraError: the sandbox failed.
    """
    hint = error.hint
    if not hint and error.code == "not_found" and isinstance(given, Mapping):
        named = [given.get(shown.parameters.get("path", ""))]
        several = given.get(shown.parameters.get("paths", ""))
        named += several if isinstance(several, list) else []
        for path in named:
            if not hint and isinstance(path, str) and await _is_missing(workspace, path):
                hint = await _near_paths(workspace, path)
    return cap_text(hint or f"Usage: {shown.usage()}", MAX_BYTES)[0]


async def _is_missing(workspace: Workspace, path: str) -> bool:
    try:
        await workspace.stat(path)
    except ToolError as error:
        return error.code == "not_found"
    return False


async def _near_paths(workspace: Workspace, path: str) -> str:
    """The entries nearest to a path that isn't there, of the last directory on it that is."""
    directory, _, missing = relative(workspace, path).rpartition("/")
    while True:
        try:
            entries = await workspace.list_dir(directory or ".")
            break
        except ToolError:
            if not directory:
                return ""
            directory, _, missing = directory.rpartition("/")
    names = [entry.path.rpartition("/")[2] for entry in entries[:5000]]
    near = difflib.get_close_matches(missing[:255], names, n=5, cutoff=0.5) or sorted(names)[:10]
    if not near:
        return f"{show_path(directory or '.')} is empty"
    listed = ", ".join(show_path(posixpath.join(directory, name)) for name in near)
    return f"Nearest in {show_path(directory or '.')}: {listed}"
