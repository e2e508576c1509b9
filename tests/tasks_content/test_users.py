"""What the built-in tasks with a simulated user make of agents that mind it, and of others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from repodrome.harness.agents.scripted import ScriptedAgent
from repodrome.harness.rollout import play
from repodrome.tasks.suites import resolve_task

ANSWER = "TTLCache.get_or_set in cache.py decides that: it runs make outside the lock, on purpose."
EDIT = {"tool_calls": [{"name": "terminal", "arguments": {"command": "echo >> README.md"}}]}


def reward(task: str, *turns: Any) -> float | None:
    agent = ScriptedAgent(turns)
    return asyncio.run(play(resolve_task(task), agent)).reward


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([ANSWER, "The later one, it overwrites the other."], 1.0),
        ([ANSWER, "I don't know."], 0.75),
        ([EDIT, ANSWER, "The later one."], 0.0),
        (["It is a bug."], 0.0),
    ],
    ids=["answers", "answers half", "edits", "guesses"],
)
def test_only_a_question(turns: list[Any], expected: float) -> None:
    assert reward("builtin/steadfast-double-calls", *turns) == expected


def patch(function: str) -> dict[str, Any]:
    """A call that adds a function to sieveql."""
    command = (
        f"""sed -i 's/^    "substr"/    {function}\\n    "substr"/' src/sieveql/functions.py"""
    )
    return {"tool_calls": [{"name": "terminal", "arguments": {"command": command}}]}


HEAD = patch('"head": Function(lambda t, n: t[:n], (2, 2), ("string", "number")),')
PAD = patch('"pad": Function(str.ljust, (2, 2), ("string", "number")),')
BACK = {"tool_calls": [{"name": "terminal", "arguments": {"command": "git checkout -q ."}}]}


@pytest.mark.parametrize(
    ("turns", "expected"),
    [([HEAD, "Done.", BACK, PAD, "Changed."], 1.0), ([HEAD, "Done.", PAD, "Added."], 0.0)],
    ids=["minds", "does not"],
)
def test_a_changed_request(turns: list[Any], expected: float) -> None:
    assert reward("builtin/sieveql-changed-mind", *turns) == expected
