"""What agents read: the conversation in chat-completions form, and observations.

The first messages depend on task and seed alone, so that episodes of a group share them to the
byte.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from repodrome.envs.sandbox.base import WORKSPACE
from repodrome.envs.trajectory import AssistantTurn, ToolResult
from repodrome.tasks.model import Task

MAX_OBSERVATION_CHARS = 16 << 20
"""Longest observation, in characters; tools cap their own far below."""

SYSTEM = f"""\
You are a software engineer working in a repository that is checked out at {WORKSPACE}, inside an \
isolated Linux sandbox without network access.

Use the tools to look around, change files and run commands; paths are relative to {WORKSPACE} or \
absolute. Your work is judged by running hidden tests on the final state of the repository, so \
change the code itself and check what you changed by running it. Nobody answers questions: where \
something is unclear, take the reading that fits the code best. When you are done, {{end}} with a \
short summary of what you changed."""


def initial_messages(task: Task, finish: str | None = "finish") -> list[dict[str, Any]]:
    """The system message and the task's instruction.

    Args:
        task: what it is about.
        finish: what the agent calls the tool that finishes; None where it has none.
    """
    end = f"call `{finish}`" if finish else "answer without calling a tool,"
    return [
        {"role": "system", "content": SYSTEM.replace("{end}", end)},
        {"role": "user", "content": task.instruction.strip()},
    ]


def observation_of(turn: AssistantTurn, results: Sequence[ToolResult]) -> str:
    """What came back for a turn, as one text."""
    if turn.malformed:
        return f"Your turn could not be read: {turn.malformed}"
    if len(results) == 1:
        return results[0].text[:MAX_OBSERVATION_CHARS]
    text = "\n\n".join(f"[{r.call_id} {r.name}]\n{r.text}" for r in results)
    return text[:MAX_OBSERVATION_CHARS]


def turn_messages(
    turn: AssistantTurn, results: Sequence[ToolResult], observation: str
) -> list[dict[str, Any]]:
    """A turn and what came back for it, as messages; each result answers its call's id."""
    message: dict[str, Any] = {"role": "assistant", "content": turn.content}
    if turn.malformed:
        return [message, {"role": "user", "content": observation}]
    if turn.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": call.arguments
                    if isinstance(call.arguments, str)
                    else json.dumps(call.arguments, ensure_ascii=False),
                },
            }
            for call in turn.tool_calls
        ]
    answers: list[dict[str, Any]] = [
        {"role": "tool", "tool_call_id": result.call_id, "content": result.text}
        for result in results
    ]
    return [message, *answers]
