"""What an agent that begins a new context is told of the state of its work."""

from __future__ import annotations

from collections.abc import Sequence

from repodrome.envs.sandbox.base import Sandbox
from repodrome.tools.base import Todo, ToolState

MAX_PATHS = 50
"""Most changed files that are named; the others are counted."""

# Against the workspace's first commit, since an agent may commit; what is ignored is no work.
_CHANGED = """\
mine() { git -c safe.directory='*' -c core.fsmonitor=false "$@"; }
first=$(mine rev-list --max-parents=0 HEAD | tail -n 1) &&
mine diff --name-only --no-renames -z "$first" -- . &&
mine ls-files -z --others --exclude-standard"""
_TIMEOUT_SECONDS = 10.0
"""The agent owns the repository, and nobody's time runs meanwhile."""


async def changed_paths(sandbox: Sandbox, state: ToolState) -> tuple[str, ...] | None:
    """The files that differ from the pristine workspace, sorted; None when nobody can say.

    Asked of git within the sandbox: only a hint for agents and for the user's rules, since the
    agent owns that repository; where git can't say, of the tools. What counts is what the sandbox
    exports at the end.

    Raises:
        InfraError: the sandbox failed.
    """
    result = await sandbox.exec(["bash", "-c", _CHANGED], timeout=_TIMEOUT_SECONDS)
    if result.exit_code != 0:
        return tuple(sorted(state.changed)) or None
    names = result.stdout.decode("utf-8", "replace").split("\0")
    return tuple(sorted({name for name in names if name}))


def state_text(
    changed: Sequence[str] | None, *, earlier: int, turns_left: int, todos: Sequence[Todo] = ()
) -> str:
    """The state of the work, in words.

    Args:
        changed: paths; None: not known.
        earlier: how many summaries there were before the one that is handed over.
        turns_left: turns until the episode ends.
        todos: the agent's plan.
    """
    lines = [
        "You are in the middle of this work; what was said before is gone "
        f"({_plural(earlier, 'earlier summary', 'earlier summaries')}, "
        f"{_plural(turns_left, 'turn', 'turns')} left)."
    ]
    if changed is None:
        lines.append("Changed files: not known; look with git.")
    elif not changed:
        lines.append("Changed files: none so far.")
    else:
        lines.append("Changed files:")
        lines += [f"- {_shown(path)}" for path in changed[:MAX_PATHS]]
        if len(changed) > MAX_PATHS:
            lines.append(f"- and {len(changed) - MAX_PATHS} more")
    if todos:
        lines += ["Your plan:", *(f"- {todo.status}: {todo.text}" for todo in todos)]
    return "\n".join(lines)


def _plural(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _shown(path: str) -> str:
    """A path on one line: names may hold newlines."""
    return path if path.isprintable() else ascii(path)
