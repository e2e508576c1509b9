"""A small task, a fake backend, and a cache of the test's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from repodrome.tasks.model import Limits, RewardSpec, Source, Task, VerifierSpec
from tests.fakes.plain_sandbox import PlainBackend


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPODROME_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def backend() -> PlainBackend:
    return PlainBackend()


@pytest.fixture
def make_task(tmp_path: Path) -> Callable[..., Task]:
    """Makes a task that asks for a file ``done.txt``."""

    def make(name: str = "sample", **changes: Any) -> Task:
        folder = tmp_path / "tasks" / name
        (folder / "workspace").mkdir(parents=True)
        (folder / "workspace" / "readme.md").write_text("# Größe 🎵\n")
        return Task(
            **{
                "id": f"test/{name}",
                "instruction": f"Write done.txt. Ünïcode 🎵 {name}",
                "folder": folder,
                "source": Source(directory="workspace"),
                "verifier": VerifierSpec(kind="command", command="test -f done.txt"),
                "rewards": (RewardSpec(name="tests"),),
                "limits": Limits(),
                **changes,
            }
        )

    return make


@pytest.fixture
def task(make_task: Callable[..., Task]) -> Task:
    return make_task()


def call(name: str, /, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


def turn(*calls: dict[str, Any], content: str = "") -> dict[str, Any]:
    return {"content": content, "tool_calls": list(calls)}


def text(*calls: dict[str, Any], content: str = "") -> str:
    return json.dumps(turn(*calls, content=content))
