"""How many small faults in their solutions the tests of tasks notice, as a table in Markdown.

``python -m benchmarks.mutation_scores [SUITE|TASK …]``, by default the suite ``builtin``. What is
not noticed goes to standard error, a line each: many such faults change nothing that can be seen.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from repodrome.envs.environment import prepare
from repodrome.envs.sandbox.registry import get_backend
from repodrome.harness.agents.registry import get_agent
from repodrome.harness.authoring.task_audit import TaskAudit, audit_task
from repodrome.harness.cli.refs import tasks_of
from repodrome.harness.rollout import change_of
from repodrome.tasks.model import Task


async def audited(task: Task) -> TaskAudit:
    """The audit of one task, without attacks."""
    backend = get_backend("bubblewrap")
    solution = await change_of(task, get_agent("oracle"), backend=backend.name)
    return await audit_task(
        task,
        await prepare(task, backend),
        solution,
        backend=backend,
        progress=lambda _: None,
        attacks=False,
    )


_WITHOUT = {
    "mutants": "(the agent's own tests are judged by faults)",
    "none": "(no program is judged)",
}


def row(task: Task, found: TaskAudit) -> str:
    """A line of the table."""
    noticed = _WITHOUT.get(task.verifier.kind, "none tried")
    if found.mutants:
        noticed = f"{found.mutants - len(found.survivors)} of {found.mutants}"
    marks = ", ".join(f"`{mark}`" for mark in found.marks)
    return f"| `{task.id}` | `{task.verifier.kind}` | {noticed} | {marks} |"


def main(names: Sequence[str]) -> None:
    """Print the table as it comes."""
    print("| task | verifier | faults noticed | marks |\n|---|---|---|---|")
    for task in tasks_of(names or ["builtin"]):
        found = asyncio.run(audited(task))
        print(row(task, found), flush=True)
        for survivor in found.survivors:
            print(f"{task.id}: {survivor}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
