"""``todo_write``: the agent's plan."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, get_args

from pydantic import Field

from repodrome.errors import ToolError
from repodrome.tools.base import Arguments, Todo, TodoStatus, ToolContext, ToolOutput
from repodrome.tools.text import clip_line, count, safe_text

_STATUSES: tuple[TodoStatus, ...] = get_args(TodoStatus)


class TodoWriteArguments(Arguments):
    """Arguments of ``todo_write``."""

    todos: list[str] = Field(
        description="The entries, each as 'STATUS: TEXT', e.g. 'in_progress: write the parser'. "
        "STATUS is pending, in_progress (at most one), completed or cancelled; without one an "
        "entry is pending."
    )
    merge: bool = Field(
        default=False,
        description="Keep the other entries: one with the same text gets the new status, new ones "
        "go to the end. Without it the entries given are the whole plan.",
    )


@dataclass(frozen=True, slots=True)
class TodoWrite:
    """Keeps a plan in the episode's state; the last one is part of the trajectory.

    Entries are lines of text and not objects, since parameters are flat.

    Attributes:
        max_todos: most entries.
        max_chars: longest text of one.
    """

    name: str = "todo_write"
    description: str = (
        "Write down or update the plan for a task of several steps; answers with the whole plan. "
        "Mark an entry in_progress when you begin it and completed as soon as it is done; leave "
        "none unfinished at the end: cancel what is no longer wanted."
    )
    max_todos: int = 50
    max_chars: int = 300
    arguments: ClassVar[type[Arguments]] = TodoWriteArguments
    read_only: ClassVar[bool] = False

    async def run(self, arguments: TodoWriteArguments, context: ToolContext) -> ToolOutput:
        """Change the plan.

        Raises:
            ToolError: an entry is empty, too long or there twice, there are too many, or more than
                one would be in progress; the plan stays as it was.
        """
        self._check_number(len(arguments.todos))
        given = [self._parsed(line) for line in arguments.todos]
        for text, times in Counter(todo.text for todo in given).items():
            if times > 1:
                raise ToolError(
                    f"the entry {clip_line(text, 80)!r} is given more than once; give it once",
                    code="invalid_arguments",
                )
        plan = _merged(context.state.todos, given) if arguments.merge else given
        self._check_number(len(plan))
        running = [todo.text for todo in plan if todo.status == "in_progress"]
        if len(running) > 1:
            shown = " and ".join(repr(clip_line(text, 80)) for text in running[:3])
            raise ToolError(
                f"{len(running)} entries would be in progress: {shown}; only one may be, so set "
                "the others to completed or pending in the same call",
                code="two_in_progress",
            )
        context.state.todos = plan
        open_ = sum(todo.status in ("pending", "in_progress") for todo in plan)
        rows = [f"{todo.status}: {todo.text}" for todo in plan]
        rows.append(f"[{count(len(plan), 'entry', 'entries')}, {open_} unfinished]")
        return ToolOutput(
            "\n".join(rows),
            data={"todos": [dataclasses.asdict(todo) for todo in plan], "unfinished": open_},
        )

    def _check_number(self, entries: int) -> None:
        if entries > self.max_todos:
            raise ToolError(
                f"that makes {entries:,} entries; the most is {self.max_todos}: make them coarser",
                code="too_many_todos",
            )

    def _parsed(self, line: str) -> Todo:
        head, colon, rest = line.partition(":")
        status = next((one for one in _STATUSES if colon and head.strip() == one), None)
        text = " ".join(safe_text(rest if status else line).split())
        if not text:
            raise ToolError(
                f"the entry {line[:80]!r} has no text; write 'STATUS: TEXT'",
                code="invalid_arguments",
            )
        if len(text) > self.max_chars:
            raise ToolError(
                f"the entry {clip_line(text, 80)!r} is longer than {self.max_chars} characters; "
                "shorten it",
                code="invalid_arguments",
            )
        return Todo(text, status or "pending")


def _merged(old: Iterable[Todo], new: Iterable[Todo]) -> list[Todo]:
    plan = {todo.text: todo for todo in old}
    plan.update((todo.text, todo) for todo in new)
    return list(plan.values())
