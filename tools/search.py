"""Runs a search program in the sandbox, its output bounded by a pipe instead of by patience."""

from __future__ import annotations

from collections.abc import Sequence

from repodrome.errors import ToolError
from repodrome.tools.workspace import CommandResult, Workspace

MISSING = 127
# head ends the search as soon as enough has come; the status is the search's own.
_SCRIPT = (
    'command -v "$2" >/dev/null 2>&1 || exit 127; n=$1; shift; export LC_ALL=C.UTF-8; '
    '"$@" | head -c "$n"; exit "${PIPESTATUS[0]}"'
)


async def search(
    workspace: Workspace, argv: Sequence[str], *, timeout: float, max_bytes: int
) -> tuple[CommandResult, bool]:
    """Run a program in the workspace's root and take at most ``max_bytes`` of its output.

    Returns:
        The result (exit code :data:`MISSING` where there is no such program) and whether the output
        was cut.

    Raises:
        ToolError: an argument holds a NUL, or it ran past its timeout (seconds).
    """
    if any("\0" in part for part in argv):
        raise ToolError("an argument holds a NUL character; leave it out", code="invalid_arguments")
    result = await workspace.exec(
        ["bash", "--noprofile", "--norc", "-c", _SCRIPT, "search", str(max_bytes), *argv],
        cwd=workspace.root,
        timeout=timeout,
        max_output=max_bytes + (64 << 10),
    )
    if result.timed_out:
        raise ToolError(
            f"the search was stopped after {timeout:g} s; make the pattern simpler or the path "
            "narrower",
            code="timeout",
        )
    return result, len(result.stdout) >= max_bytes
