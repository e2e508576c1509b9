"""Sandboxed, agentic coding environments with Gymnasium faces and rewards that can be trusted.

Importing it registers ``repodrome/Repo-v0`` and ``repodrome/Locate-v0`` with Gymnasium and nothing
else; what is exported here is loaded when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gymnasium.envs.registration import register, registry

from repodrome.version import __version__

if TYPE_CHECKING:
    from repodrome.envs.episode import Episode
    from repodrome.envs.gym_env import RepoEnv
    from repodrome.envs.rewards.base import RewardReport
    from repodrome.envs.trajectory import AssistantTurn, Step, ToolCall, ToolResult, Trajectory
    from repodrome.envs.vector import RepoVectorEnv
    from repodrome.errors import (
        GradingError,
        InfraError,
        RepodromeError,
        SandboxError,
        SandboxUnavailableError,
        SetupError,
        TaskFormatError,
        ToolError,
        UnknownNameError,
        UsageError,
        WorkspaceError,
    )
    from repodrome.tasks.model import RewardSpec, Task
    from repodrome.tasks.suites import get_suite, resolve_task

_HOMES = {
    "Episode": "repodrome.envs.episode",
    "RepoEnv": "repodrome.envs.gym_env",
    "RewardReport": "repodrome.envs.rewards.base",
    "AssistantTurn": "repodrome.envs.trajectory",
    "Step": "repodrome.envs.trajectory",
    "ToolCall": "repodrome.envs.trajectory",
    "ToolResult": "repodrome.envs.trajectory",
    "Trajectory": "repodrome.envs.trajectory",
    "RepoVectorEnv": "repodrome.envs.vector",
    "GradingError": "repodrome.errors",
    "InfraError": "repodrome.errors",
    "RepodromeError": "repodrome.errors",
    "SandboxError": "repodrome.errors",
    "SandboxUnavailableError": "repodrome.errors",
    "SetupError": "repodrome.errors",
    "TaskFormatError": "repodrome.errors",
    "ToolError": "repodrome.errors",
    "UnknownNameError": "repodrome.errors",
    "UsageError": "repodrome.errors",
    "WorkspaceError": "repodrome.errors",
    "RewardSpec": "repodrome.tasks.model",
    "Task": "repodrome.tasks.model",
    "get_suite": "repodrome.tasks.suites",
    "resolve_task": "repodrome.tasks.suites",
}

__all__ = [  # noqa: RUF022 (grouped as above)
    "__version__",
    "Episode",
    "RepoEnv",
    "RewardReport",
    "AssistantTurn",
    "Step",
    "ToolCall",
    "ToolResult",
    "Trajectory",
    "RepoVectorEnv",
    "GradingError",
    "InfraError",
    "RepodromeError",
    "SandboxError",
    "SandboxUnavailableError",
    "SetupError",
    "TaskFormatError",
    "ToolError",
    "UnknownNameError",
    "UsageError",
    "WorkspaceError",
    "RewardSpec",
    "Task",
    "get_suite",
    "resolve_task",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'repodrome' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if "repodrome/Repo-v0" not in registry:
    register(
        id="repodrome/Repo-v0",
        entry_point="repodrome.envs.gym_env:RepoEnv",
        vector_entry_point="repodrome.envs.vector:RepoVectorEnv",
    )
    register(
        id="repodrome/Locate-v0",
        entry_point="repodrome.envs.locate:LocateEnv",
        vector_entry_point="repodrome.envs.locate:LocateVectorEnv",
    )
