"""What ``scripts/demo`` plays: three agents on tasks of our own and on a real project's code.

python examples/demo.py [TASK …]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from rich.console import Console

from repodrome.envs.sandbox.doctor import checks
from repodrome.harness.agents.registry import get_agent
from repodrome.harness.agents.scripted import ScriptedAgent
from repodrome.harness.cli import loop, screen, show
from repodrome.harness.rollout import Job, Result, play_many
from repodrome.tasks.model import Task
from repodrome.tasks.suites import get_suite, resolve_task

OUT = Path("runs/demo")

# Looks around, runs something, changes a file that is none of the task's business, and gives up:
# an honest try that must earn nothing.
TURNS = [
    {
        "content": "First a look around.",
        "tool_calls": [
            {"name": "list_dir", "arguments": {"path": "."}},
            {"name": "grep", "arguments": {"pattern": "^def ", "path": "."}},
        ],
    },
    {
        "content": "What does git say?",
        "tool_calls": [
            {"name": "terminal", "arguments": {"command": "git log --oneline && git status"}}
        ],
    },
    {
        "content": "A note for later.",
        "tool_calls": [
            {"name": "write_file", "arguments": {"path": "NOTES.md", "content": "# To do\n"}}
        ],
    },
    {
        "content": "",
        "tool_calls": [
            {
                "name": "finish",
                "arguments": {"message": "I looked around and left a note; the task is not done."},
            }
        ],
    },
]


def chosen(refs: list[str]) -> list[Task]:
    """The tasks named, or the first of each suite."""
    if refs:
        return [resolve_task(ref) for ref in refs]
    found = []
    for name in ("builtin", "pypi"):
        names = get_suite(name).task_names()
        if names:
            found.append(get_suite(name).task(names[0]))
    return found


def main() -> int:
    """Play, and show the rewards; 0 when every agent earned what it should."""
    console = Console(highlight=False)
    missing = [check for check in checks() if not check.ok]
    for check in missing:
        console.print(screen.plain(f"doctor: {check.name}: {check.detail}; {check.fix}", "yellow"))
    if any(check.required for check in missing):
        console.print(
            screen.plain("no sandbox can be started here until that is mended", "bold red")
        )
        return 1
    begun = time.monotonic()
    jobs: list[Job] = []
    for task in chosen(sys.argv[1:]):
        jobs += [
            Job(task=task, agent=lambda: get_agent("oracle")),
            Job(task=task, agent=lambda: get_agent("nop")),
            Job(task=task, agent=lambda: ScriptedAgent(TURNS)),
        ]
    results: list[Result] = []
    for number, job in enumerate(jobs, start=1):
        agent = job.agent()
        title = f"[{number}/{len(jobs)}] {agent.name} plays {job.task.id}"
        console.rule(screen.plain(title, "bold"))
        if agent.name == "oracle":
            console.print(screen.plain(job.task.instruction.strip(), "italic"))
        watcher = show.Watcher(console)
        results += loop.run(
            lambda job=job, watcher=watcher: play_many(
                [job], out=OUT, on_event=lambda _, event: watcher(event)
            )
        )
        console.print(show.report_table(results[-1]))
    console.rule("the end")
    console.print(show.results_table(results))
    seconds = time.monotonic() - begun
    console.print(f"{len(results)} episodes in {seconds:.1f} s; trajectories are in {OUT}/")
    console.print("Replay one with: .venv/bin/repodrome replay FILE")
    wanted = [1.0 if result.agent == "oracle" else 0.0 for result in results]
    if [result.reward for result in results] != wanted:
        console.print(screen.plain("not every agent earned what it should", "bold red"))
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(screen.EXIT_INTERRUPTED)
