"""What a tool is: pydantic arguments in, a capped text out, typed errors between.

A tool is a small frozen object. The toolbox checks the call's arguments against ``arguments``,
awaits ``run`` and turns every :class:`~repodrome.errors.ToolError` into an observation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from repodrome.tools.index.source import IndexSource
from repodrome.tools.workspace import Workspace


class Arguments(BaseModel):
    """Base of a tool's arguments: flat, strict, nothing unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


TodoStatus = Literal["pending", "in_progress", "completed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Todo:
    """One entry of the agent's plan."""

    text: str
    status: TodoStatus = "pending"


@dataclass(slots=True)
class ToolState:
    """What the tools of one episode remember between calls.

    Attributes:
        seen: path → content hash as last read or written through a tool; overwriting an existing
            file needs it to be here.
        changed: paths that tools have written, moved or deleted, in order, each once.
        todos: the agent's plan.
        finished: the final message once the agent has finished.
        extra: room for third-party tools, keyed by tool name; must stay JSON-able.
    """

    seen: dict[str, str] = field(default_factory=dict)
    changed: dict[str, None] = field(default_factory=dict)
    todos: list[Todo] = field(default_factory=list)
    finished: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def copy(self) -> ToolState:
        """An independent copy, for snapshots and forks."""
        import copy

        return copy.deepcopy(self)


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool may use while it runs.

    Attributes:
        workspace: the files and processes.
        state: what the tools of the episode remember.
        index: the search index of the tree that the workspace began as, if there is one.
    """

    workspace: Workspace
    state: ToolState
    index: IndexSource | None = None


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """What a tool answers.

    Attributes:
        text: what the agent reads; always ends with a notice when something was cut.
        data: JSON-able facts for rewards and viewers (exit code, bytes dropped, paths changed…).
        truncated: something was cut from ``text``.
        is_error: the call was legal, but what it asked for failed (only for observations that are
            not a :class:`~repodrome.errors.ToolError`).
    """

    text: str
    data: Mapping[str, Any] = field(default_factory=dict)
    truncated: bool = False
    is_error: bool = False


@runtime_checkable
class Tool(Protocol):
    """One thing the agent may do.

    Attributes:
        name: as the agent calls it.
        description: for the agent; says what it does, its limits and what comes back. Other tools
            and parameters in it, and in errors, are written with :func:`repodrome.tools.words.
            named`, so that renaming reaches them.
        arguments: the pydantic model of its arguments; its field descriptions go into the schema.
        read_only: it changes nothing, so that calls of one turn may run side by side.
    """

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str: ...

    @property
    def arguments(self) -> type[Arguments]: ...

    @property
    def read_only(self) -> bool: ...

    async def run(self, arguments: Any, context: ToolContext) -> ToolOutput:
        """Do it.

        Raises:
            ToolError: what the agent did wrong.
            InfraError: the sandbox failed.
        """
