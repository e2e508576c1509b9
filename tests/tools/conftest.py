"""A workspace and a way to call tools in it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from repodrome.envs.sandbox.base import Sandbox, SandboxLimits, SandboxSpec
from repodrome.envs.sandbox.registry import get_backend
from repodrome.tools.base import ToolContext, ToolState
from repodrome.tools.presentation import Presentation
from repodrome.tools.toolbox import CallOutcome, Toolbox
from tests.fakes.local_workspace import LocalWorkspace

Call = Callable[..., Awaitable[CallOutcome]]


@dataclass
class Desk:
    """One episode's worth of tools over a temporary directory."""

    path: Path
    toolbox: Toolbox = field(
        default_factory=lambda: Toolbox.build(presentation=Presentation(hints=True))
    )
    state: ToolState = field(default_factory=ToolState)

    def __post_init__(self) -> None:
        self.workspace = LocalWorkspace(self.path)

    async def call(self, name: str, **arguments: Any) -> CallOutcome:
        return await self.toolbox.call(name, arguments, ToolContext(self.workspace, self.state))

    async def ok(self, name: str, **arguments: Any) -> str:
        """The text of a call that must succeed."""
        outcome = await self.call(name, **arguments)
        assert outcome.error_code == "", outcome.text
        return outcome.text

    async def fails(self, code: str, name: str, **arguments: Any) -> str:
        """The text of a call that must fail with this code."""
        outcome = await self.call(name, **arguments)
        assert outcome.error_code == code, outcome.text
        return outcome.text

    def put(self, name: str, data: bytes | str) -> Path:
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data.encode() if isinstance(data, str) else data)
        return target


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    root = tmp_path / "workspace"
    root.mkdir()
    return Desk(root)


@pytest.fixture
async def sandbox(tmp_path: Path, sandbox_backend: str) -> AsyncIterator[Sandbox]:
    """A small one with ``src/a.py`` in its workspace."""
    backend = get_backend(sandbox_backend)
    layer = tmp_path / "layer"
    for name in ("workspace/src", "env", "home"):
        (layer / name).mkdir(parents=True)
    (layer / "workspace/src/a.py").write_text("def f():\n    return 1\n")
    tmp_path.chmod(0o755)
    owner = getattr(backend, "owner", (os.getuid(), os.getgid()))
    for path in (layer, *layer.rglob("*")):
        os.chown(path, *owner, follow_symlinks=False)
    limits = SandboxLimits(memory_mb=256, pids=64, disk_mb=48, inodes=2000)
    async with await backend.start(SandboxSpec(layers=(layer,), limits=limits)) as started:
        yield started
    await backend.close()
