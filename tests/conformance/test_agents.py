"""Every built-in agent passes the suite that any agent must pass."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from repodrome.harness.agents.base import Agent
from repodrome.harness.agents.human import HumanAgent
from repodrome.harness.agents.registry import _BUILTIN, get_agent
from repodrome.tasks.model import Source, Task, VerifierSpec
from tests.conformance.agent_suite import CHECKS, Check
from tests.fakes.chat_server import ChatServer, calls

pytestmark = pytest.mark.anyio
LOOK = {"tool_calls": [{"name": "read_file", "arguments": {"path": "a.py"}}]}
NAMES = ("oracle", "nop", "scripted", "human", "openai")


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Task:
    monkeypatch.setenv("REPODROME_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "task"
    for path, text in (("workspace/a.py", "x = 1\n"), ("solution/workspace/a.py", "x = 2\n")):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(text)
    return Task(
        id="t/t",
        instruction="Make x 2.",
        folder=folder,
        source=Source(directory="workspace"),
        verifier=VerifierSpec(kind="command", command="grep -q 2 a.py"),
    )


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A model that looks, and is done."""
    look = calls(("read_file", {"path": "a.py"}))
    with ChatServer(lambda body: look if len(body["messages"]) == 2 else "Done.") as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield


@pytest.fixture
def typed() -> Iterator[list[int]]:
    """Descriptors to type at a person's agent."""
    opened: list[int] = []
    yield opened
    for descriptor in opened:
        os.close(descriptor)


def test_every_builtin_agent_is_here() -> None:
    assert set(NAMES) == set(_BUILTIN)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", NAMES)
async def test_conforms(
    name: str, check: Check, task: Task, tmp_path: Path, typed: list[int], model: None
) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps([LOOK, LOOK, "Done."]))

    def make() -> Agent:
        if name == "human":
            read, write = os.pipe()
            typed.append(read)
            os.write(write, b"read_file path=a.py\nsubmit Done.\n")
            os.close(write)
            return HumanAgent(source=read, screen=io.StringIO())
        return get_agent({"scripted": f"scripted:{script}", "openai": "openai:m"}.get(name, name))

    await check(make, task, "bubblewrap")
