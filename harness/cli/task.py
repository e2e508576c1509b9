"""``repodrome task``: list, show, new, locate and validate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repodrome.harness.cli import screen
from repodrome.harness.cli.run import JsonOption, SandboxOption, TaskArgument

if TYPE_CHECKING:
    from repodrome.harness.authoring.validate import Validation
    from repodrome.tasks.model import Task

app = typer.Typer(help="List, show, make and check tasks.", no_args_is_help=True)


@app.command("list")
def list_tasks(
    suite: Annotated[
        str | None, typer.Option(help="Only this suite (a name, or a folder of task folders).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List every task that can be played."""
    from rich.table import Table

    from repodrome.harness.cli.refs import tasks_of
    from repodrome.tasks.suites import get_suite, suite_names

    if suite is not None:
        get_suite(suite)  # a wrong name is called a suite, not a task
    tasks = tasks_of([suite] if suite is not None else suite_names())
    if as_json:
        screen.print_json([_summary(task) for task in tasks])
        return
    table = Table()
    longest = max((len(task.id) for task in tasks), default=4)
    widths = {"task": longest, "category": 10, "difficulty": 10}
    borders = 3 * len(widths) + 4
    widths["instruction"] = max(8, screen.out().width - sum(widths.values()) - borders)
    for heading, width in widths.items():
        least = width if heading == "task" else None  # an id that is cut can't be copied
        table.add_column(heading, no_wrap=True, overflow="ellipsis", width=width, min_width=least)
    for task in tasks:
        first = task.instruction.strip().split("\n")[0]
        table.add_row(
            screen.plain(task.id),
            screen.plain(task.metadata.category),
            screen.plain(str(task.metadata.difficulty)),
            screen.plain(first),
        )
    screen.out().print(table)


def _summary(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "suite": task.id.partition("/")[0],
        "instruction": task.instruction,
        "category": task.metadata.category,
        "difficulty": task.metadata.difficulty,
        "tags": list(task.metadata.tags),
        "verifier": task.verifier.kind,
        "rewards": [reward.name for reward in task.rewards],
        "source": task.source.pypi or task.source.git or task.source.directory,
        "fail_to_pass": len(task.verifier.fail_to_pass),
        "pass_to_pass": len(task.verifier.pass_to_pass),
    }


@app.command()
def show(task: TaskArgument, as_json: JsonOption = False) -> None:
    """Show one task: its instruction, source, limits, tests and rewards."""
    from rich.table import Table

    from repodrome.harness.cli.refs import tasks_of

    found = tasks_of([task])
    if as_json:
        shown = [each.model_dump(mode="json") for each in found]
        screen.print_json(shown[0] if len(shown) == 1 else shown)
        return
    console = screen.out()
    for each in found:
        console.print(screen.plain(each.id, "bold"))
        console.print(screen.plain(each.instruction.strip()))
        table = Table(show_header=False)
        source = each.source
        where = source.directory or source.git or f"{source.pypi} {source.version}"
        table.add_row("folder", screen.plain(str(each.folder)))
        table.add_row("source", screen.plain(where))
        verifier = each.verifier
        expected = [
            f"{len(tests)} {name}"
            for name, tests in (
                ("FAIL_TO_PASS", verifier.fail_to_pass),
                ("PASS_TO_PASS", verifier.pass_to_pass),
            )
            if tests
        ]
        table.add_row("verifier", screen.plain(", ".join([verifier.kind, *expected])))
        terms = ", ".join(f"{reward.name} × {reward.weight_text}" for reward in each.rewards)
        table.add_row("rewards", screen.plain(terms))
        limits = each.limits
        table.add_row(
            "limits",
            screen.plain(
                f"{limits.max_turns} turns, {limits.max_tool_calls} tool calls, "
                f"{limits.timeout_sec:g} s"
            ),
        )
        if each.user.present:
            rules = len(each.user.rules)
            who = [
                f"{rules} rule{'s' * (rules != 1)}",
                *([each.user.model] if each.user.model else []),
            ]
            table.add_row("user", screen.plain(", ".join(who)))
        if each.ignored_keys:
            table.add_row("unknown keys", screen.plain(", ".join(each.ignored_keys)))
        console.print(table)


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to make.")],
    from_repo: Annotated[
        Path | None,
        typer.Option("--from-repo", help="Take the workspace from this local repository."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Default: the folder's name.")] = None,
    verifier: Annotated[
        str,
        typer.Option(
            help="What judges it: pytest; output (what a program prints for held-out inputs); "
            "benchmark (and how long it takes)."
        ),
    ] = "pytest",
) -> None:
    """Make a commented task folder to fill in."""
    from repodrome.tasks.scaffold import new_task

    name = name or folder.resolve().name
    made = new_task(folder, name=name, from_repo=from_repo, verifier=verifier)
    screen.out().print(screen.plain(f"made {made}"))
    write = "--write " if verifier == "pytest" else ""
    screen.progress(f"fill it in, then: repodrome task validate {write}{folder}")


@app.command()
def locate(
    repository: Annotated[Path, typer.Argument(metavar="REPOSITORY", help="A local git clone.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Where the task folders go.")],
    count: Annotated[int, typer.Option(min=1, help="How many tasks at most.")] = 20,
    scan: Annotated[int, typer.Option(min=1, help="How many commits are looked at.")] = 2000,
    as_json: JsonOption = False,
) -> None:
    """Make tasks from REPOSITORY's history: which lines did a commit have to change?

    Exit status: 0 made some, 1 found none that are of use, 2 bad usage.
    """
    from repodrome.harness.authoring.locate_items import locate_items

    made = []
    for folder in locate_items(repository, out, count=count, scan=scan):
        made.append(str(folder))
        if not as_json:
            screen.out().print(screen.plain(f"made {folder}"))
    if as_json:
        screen.print_json({"made": made})
    if not made:
        screen.progress("no commit of use: see `repodrome task locate --help`, or try --scan")
        raise typer.Exit(screen.EXIT_FAILED)
    number = "1 task" if len(made) == 1 else f"{len(made)} tasks"
    screen.progress(f"{number}; play with: repodrome run {out} --agent oracle")


@app.command()
def validate(
    refs: Annotated[
        list[str],
        typer.Argument(metavar="TASK|SUITE…", help="Tasks, task folders or suites."),
    ],
    repeats: Annotated[int, typer.Option(min=1, help="How often oracle and nop are played.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Tasks checked at once.")] = 2,
    write: Annotated[
        bool, typer.Option("--write", help="Compute the expected test ids; write expected.json.")
    ] = False,
    audit: Annotated[
        bool,
        typer.Option("--audit", help="Also try attacks, and faults in the solution; minutes each."),
    ] = False,
    sandbox: SandboxOption = "bubblewrap",
    as_json: JsonOption = False,
) -> None:
    """Check that the oracle earns everything, nop nothing, and that nothing leaks.

    Exit status: 0 all valid, 1 any invalid, 2 bad usage, 3 infrastructure failure, 130 interrupted.
    """
    from repodrome.errors import TaskFormatError
    from repodrome.harness.authoring.findings import of_error
    from repodrome.harness.authoring.validate import Validation, validate_many
    from repodrome.harness.cli.loop import run as run_loop
    from repodrome.harness.cli.refs import each_task

    tasks: list[Task] = []
    results: list[Validation] = []
    for name, task in each_task(refs):
        if isinstance(task, TaskFormatError):
            finding = of_error("format", task)
            results.append(Validation(task=name, ok=False, findings=(finding,)))
            _print_progress(results[-1])
        else:
            tasks.append(task)

    async def main() -> list[Validation]:
        return await validate_many(
            tasks,
            backend=sandbox,
            repeats=repeats,
            write=write,
            audit=audit,
            jobs=jobs,
            progress=screen.progress,
            on_done=_print_progress,
        )

    results += run_loop(main)
    if as_json:
        screen.print_json(
            {
                "ok": all(result.ok for result in results),
                "tasks": [result.to_json() for result in results],
            }
        )
    else:
        _print_table(results)
    if any(result.ok is False for result in results):
        raise typer.Exit(screen.EXIT_FAILED)
    if any(result.ok is None for result in results):
        raise typer.Exit(screen.EXIT_INFRA)


def _word(result: Validation) -> str:
    return {True: "valid", False: "invalid", None: "infra failure"}[result.ok]


def _print_progress(result: Validation) -> None:
    screen.progress(f"{result.task}: {_word(result)} after {result.seconds:.1f} s")


def _audited(result: Validation) -> tuple[str, str]:
    """The mutation score, and the marks."""
    if result.audit is None:
        return "", ""
    found = result.audit
    caught = found.mutants - len(found.survivors)
    marks = [*found.marks, *(["attackable"] if found.paying else [])]
    return f"{caught} of {found.mutants}" if found.mutants else "", ", ".join(marks)


def _repeats(values: Sequence[float | None]) -> str:
    """``1`` for one repeat, ``1 ×20`` where all are alike, ``1 ×19, 0.5 ×1`` otherwise."""
    from repodrome.harness.cli.show import number

    counted = Counter(number(value) for value in values)
    if len(values) < 2:
        return ", ".join(counted)
    return ", ".join(f"{value} ×{count}" for value, count in counted.most_common())


def _print_table(results: list[Validation]) -> None:
    from rich.table import Table

    from repodrome.harness.cli.show import duration

    styles = {True: "green", False: "bold red", None: "yellow"}
    audited = any(result.audit is not None for result in results)
    headings = ["mutants caught", "marks"] if audited else []
    table = Table()
    # A name that is cut can't be copied.
    table.add_column("task", no_wrap=True, min_width=max(len(r.task) for r in results))
    for heading in ("", "oracle", "nop", *headings):
        table.add_column(heading)
    table.add_column("time", no_wrap=True)
    for result in results:
        table.add_row(
            screen.plain(result.task),
            screen.plain(_word(result), styles[result.ok]),
            _repeats(result.oracle),
            _repeats(result.nop),
            *(_audited(result) if audited else ()),
            duration(result.seconds),
        )
    console = screen.out()
    console.print(table)
    for result in results:
        if result.infra_error:
            console.print(screen.plain(f"{result.task}: {result.infra_error}", "yellow"))
        if result.written:
            console.print(screen.plain(f"{result.task}: wrote {result.written}"))
        for finding in result.findings:
            style = "red" if finding.level == "error" else ""
            fix = f"\n    to mend it: {finding.fix}" if finding.fix else ""
            text = f"{result.task}: {finding.check}: {finding.problem}{fix}"
            console.print(screen.plain(text, style))
