"""todo_write: the plan."""

from __future__ import annotations

import pytest

from tests.tools.conftest import Desk

pytestmark = pytest.mark.anyio


async def test_replaces_merges_and_answers_with_the_whole_plan(desk: Desk) -> None:
    first = await desk.call("todo_write", todos=["in_progress: read", "fix: the bug", "test it"])
    assert first.text.split("\n") == [
        "in_progress: read",
        "pending: fix: the bug",
        "pending: test it",
        "[3 entries, 3 unfinished]",
    ]
    merged = await desk.call(
        "todo_write",
        todos=["completed: read", "in_progress: fix: the bug", "cancelled: docs"],
        merge=True,
    )
    assert merged.data == {
        "todos": [
            {"text": "read", "status": "completed"},
            {"text": "fix: the bug", "status": "in_progress"},
            {"text": "test it", "status": "pending"},
            {"text": "docs", "status": "cancelled"},
        ],
        "unfinished": 2,
    }
    copied = desk.state.copy()
    assert "[1 entry, 0 unfinished]" in await desk.ok("todo_write", todos=["completed: all"])
    assert len(copied.todos) == 4
    assert "[0 entries" in await desk.ok("todo_write", todos=[])


async def test_refusals_leave_the_plan_as_it_was(desk: Desk) -> None:
    await desk.ok("todo_write", todos=["in_progress: a"])
    text = await desk.fails("two_in_progress", "todo_write", todos=["in_progress: b"], merge=True)
    assert "'a' and 'b'" in text
    await desk.fails("invalid_arguments", "todo_write", todos=["x", "completed: x"])
    await desk.fails("invalid_arguments", "todo_write", todos=["pending:  "])
    await desk.fails("invalid_arguments", "todo_write", todos=["x" * 301])
    await desk.fails("invalid_arguments", "todo_write", todos=[3])
    for number, code in ((51, "too_many_todos"), (200_000, "invalid_arguments")):
        todos = [f"n{n}" for n in range(number)]
        await desk.fails(code, "todo_write", todos=todos)
    assert [todo.text for todo in desk.state.todos] == ["a"]
    assert "a b\\x1b" in await desk.ok("todo_write", todos=["a\nb\x1b"])
