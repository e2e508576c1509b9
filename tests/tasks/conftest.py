"""Small task folders, written as the test says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from repodrome.tasks.store import Store

MakeTask = Callable[..., Path]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


@pytest.fixture
def make_task(tmp_path: Path) -> MakeTask:
    """Writes a folder: its task.toml, then path → text (or bytes) for every other file."""

    def make(
        toml: str = "", files: dict[str, str | bytes] | None = None, name: str = "one"
    ) -> Path:
        folder = tmp_path / "tasks" / name
        content: dict[str, str | bytes] = {"task.toml": toml, "instruction.md": "Do it.\n"}
        for path, data in (content | (files or {})).items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data.encode() if isinstance(data, str) else data)
        return folder

    return make
