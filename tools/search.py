"""Runs a search program in the sandbox, its output bounded by a pipe instead of by patience."""

from __future__ import annotations

from collections.abc import Sequence

from repodrome.errors import ToolError
from repodrome.tools.words import named
from repodrome.tools.workspace import CommandResult, Workspace

MISSING = 127
_NO_PROCESS = b"Resource temporarily unavailable"  # EAGAIN, as libc says it in LC_ALL=C.UTF-8
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
        ToolError: an argument holds a NUL, it ran past its timeout (seconds), or the sandbox has
            no room for its processes.
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
    if result.exit_code is None or (
        result.exit_code not in (0, 1, 141) and _NO_PROCESS in result.stderr
    ):
        # Else it would seem that there is nothing to be found.
        raise ToolError(
            "no program could be run in the sandbox: it has as many processes as it may have, or "
            f"they are killed; end what runs there ({named('terminal')})",
            code="no_process",
        )
    return result, len(result.stdout) >= max_bytes
