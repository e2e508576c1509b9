"""Every error that repodrome raises on purpose, as one tree.

::

    RepodromeError
    ├── UsageError              the caller asked for something that can't be; names the fix
    │   ├── UnknownNameError    no task, suite, tool, agent, reward or sandbox of that name
    │   └── TaskFormatError     a task folder is wrong: file, key and fix are named
    ├── ToolError               what the agent did wrong; becomes an observation
    │   └── WorkspaceError      a path or file that the workspace refuses
    ├── ContextFullError        the agent can read no more: the episode is truncated, and graded
    └── InfraError              the machine's fault: infra-failed, never a reward of 0
        ├── SandboxError        a sandbox could not be started, or was lost
        │   └── SandboxUnavailableError   this machine lacks something; names the fix
        ├── SetupError          the environment of a task could not be built
        └── GradingError        the verifier could not be run; not the agent's fault

Three lanes (agent, infrastructure, caller) that never mix; anything outside this tree is a bug of
ours and propagates.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RepodromeError(Exception):
    """Base of every deliberate error."""


class UsageError(RepodromeError):
    """The caller asked for something that can't be; the message names the fix."""


class UnknownNameError(UsageError):
    """A name that isn't registered, with the nearest ones that are.

    Args:
        kind: what was looked for, e.g. ``"task"``.
        name: the name as given.
        known: every name of that kind.

    Attributes:
        suggestions: the nearest known names, best first.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind = kind
        self.name = name
        self.known = sorted(known)
        self.suggestions = difflib.get_close_matches(name, self.known, n=3, cutoff=0.5)
        if self.suggestions:
            tail = f"did you mean {' or '.join(repr(n) for n in self.suggestions)}?"
        elif self.known:
            shown = ", ".join(self.known[:12]) + (", …" if len(self.known) > 12 else "")
            tail = f"known: {shown}"
        else:
            tail = "none is registered"
        super().__init__(f"unknown {kind} {name!r}; {tail}")


class TaskFormatError(UsageError):
    """A task folder is wrong.

    Args:
        file: the file at fault.
        key: the dotted key within it, or ``""``.
        problem: what is wrong.
        fix: what to write instead.
    """

    def __init__(self, file: str, key: str, problem: str, fix: str) -> None:
        self.file, self.key, self.problem, self.fix = file, key, problem, fix
        where = f"{file}: {key}" if key else file
        super().__init__(f"{where}: {problem}. Fix: {fix}")


class ToolError(RepodromeError):
    """What the agent did wrong, as it will read it.

    Args:
        message: what happened and what to do instead, for the agent.
        code: a stable machine-readable word, e.g. ``"not_found"``, for rewards.
        hint: what would help beyond that, e.g. the nearest lines of the file; trainers get it, the
            agent only where its task says so.
    """

    def __init__(self, message: str, *, code: str = "tool_error", hint: str = "") -> None:
        self.code = code
        self.hint = hint
        super().__init__(message)


class WorkspaceError(ToolError):
    """The workspace refuses: codes ``escape``, ``not_found``, ``is_directory``, ``not_directory``,
    ``not_regular``, ``permission``, ``disk_full``, ``too_large``, ``exists``, ``bad_path``."""


class ContextFullError(RepodromeError):
    """The agent's model has no room for the context. Its episode is truncated, and graded."""


class InfraError(RepodromeError):
    """The machine's fault. An episode that meets one is infra-failed and has no reward."""


class SandboxError(InfraError):
    """A sandbox could not be started, or was lost."""


class SandboxUnavailableError(SandboxError):
    """This machine lacks what a sandbox backend needs; the message names the fix."""


class SetupError(InfraError):
    """The environment of a task could not be built; holds the end of its log.

    Args:
        message: what failed.
        log_tail: the last lines that the build printed.
    """

    def __init__(self, message: str, *, log_tail: str = "") -> None:
        self.log_tail = log_tail
        super().__init__(f"{message}\n{log_tail}" if log_tail else message)


class GradingError(InfraError):
    """The verifier could not be run, through no fault of the agent."""
