"""Checks of a task's instruction that need no sandbox."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from repodrome.harness.authoring.findings import Finding, error, note
from repodrome.tasks.model import Task

SHORT_CHARS = 390
"""The median length to aim at, characters."""

_PLACEHOLDERS = ("todo", "fixme", "describe the task", "lorem ipsum", "write here, in a few")
# Names that say nothing about what is hidden.
_COMMON = {"__init__.py", "conftest.py", "test.sh", "readme.md", "pytest.ini"}


def check_instruction(
    task: Task, hidden: Iterable[str], visible: Iterable[str] = ()
) -> list[Finding]:
    """What is wrong with the instruction.

    Args:
        hidden: paths of the hidden files.
        visible: paths that the agent can see; naming one of them gives nothing away.
    """
    text = task.instruction.strip()
    found: list[Finding] = []
    if not text:
        return [error("instruction", "the instruction is empty", "say what is wanted")]
    low = text.lower()
    for word in _PLACEHOLDERS:
        if low.startswith(word) or f"<{word}" in low:
            found.append(
                error("instruction", f"it still holds the placeholder {word!r}", "write it out")
            )
    if len(text) < 20:
        found.append(
            error(
                "instruction",
                f"it has {len(text)} characters",
                "say what is wanted, so that it can be done without guessing",
            )
        )
    if len(text) > SHORT_CHARS:
        found.append(
            note(
                "instruction",
                f"it has {len(text)} characters; suites aim at a median of at most {SHORT_CHARS}",
                "leave out what a colleague would find in the code",
            )
        )
    seen = {PurePosixPath(path).name for path in visible}
    names = {PurePosixPath(path).name for path in hidden} - seen
    for name in sorted(names):
        if name.lower() not in _COMMON and name in text:
            found.append(
                error(
                    "instruction",
                    f"it names the hidden file {name}",
                    "describe the behaviour instead; hidden tests stay hidden",
                )
            )
    return found
