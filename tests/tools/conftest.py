"""A workspace and a way to call tools in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

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
