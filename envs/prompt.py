"""The first messages of an episode, in chat-completions form.

They depend on the task alone, so that episodes of a group share them to the byte.
"""

from __future__ import annotations

from typing import Any

from repodrome.envs.sandbox.base import WORKSPACE
from repodrome.tasks.model import Task

SYSTEM = f"""\
You are a software engineer working in a repository that is checked out at {WORKSPACE}, inside an \
isolated Linux sandbox without network access.

Use the tools to look around, change files and run commands; paths are relative to {WORKSPACE} or \
absolute. Your work is judged by running hidden tests on the final state of the repository, so \
change the code itself and check what you changed by running it. Nobody answers questions: where \
something is unclear, take the reading that fits the code best. When you are done, call `finish` \
with a short summary of what you changed."""


def initial_messages(task: Task) -> list[dict[str, Any]]:
    """The system message and the task's instruction."""
    return [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": task.instruction.strip()},
    ]
