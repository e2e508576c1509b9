"""``repodrome replay``: execute a recorded episode again and find the first difference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from repodrome.harness.cli import screen
from repodrome.harness.cli.run import JsonOption


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A trajectory, .jsonl.")],
    task: Annotated[
        str | None, typer.Option(help="Play this task instead of the recorded reference to one.")
    ] = None,
    sandbox: Annotated[
        str | None, typer.Option("--sandbox", help="Default: the recorded one.")
    ] = None,
    score: Annotated[bool, typer.Option("--score", help="Grade, and compare the reward.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Play FILE's turns in a fresh episode and report the first divergence.

    Durations, dates, addresses, process ids and temporary names are not compared.
    Exit status: 0 the same, 1 diverged, 2 bad usage, 3 infrastructure failure.
    """
    from repodrome.harness.cli.loop import run as run_loop
    from repodrome.harness.cli.show import Watcher, number
    from repodrome.harness.replay import replay as replay_file

    watch = Watcher(screen.err(), steps=False, graded=score)
    result = run_loop(
        lambda: replay_file(file, task=task, backend=sandbox, score=score, on_event=watch)
    )
    if as_json:
        screen.print_json(result.to_json())
    else:
        console = screen.out()
        for warning in result.warnings:
            screen.progress(f"note: {warning}")
        found = result.divergence
        if found is None:
            reward = f", reward {number(result.reward)}" if score else ""
            console.print(screen.plain(f"same: {result.steps} steps of {result.task}{reward}"))
        else:
            where = f"step {found.step + 1}"
            if found.call is not None:
                where += f", call {found.call + 1}"
            console.print(screen.plain(f"diverged at {where}: {found.what}", "bold red"))
            console.print(screen.plain(found.diff or f"{found.expected!r} → {found.got!r}"))
    if result.divergence is not None:
        raise typer.Exit(screen.EXIT_FAILED)
