"""``repodrome doctor``, ``clean`` and ``version``: about this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from repodrome.harness.cli import screen
from repodrome.harness.cli.run import JsonOption


def doctor(as_json: JsonOption = False) -> None:
    """Say what this machine can do, and how to mend what it can't.

    Exit status: 0 episodes can be played, 1 something that they need is missing. What is marked
    "weak" is not needed; the line says what is weaker without it.
    """
    from rich.table import Table

    from repodrome.envs.sandbox.doctor import checks

    found = checks()
    well = all(check.ok or not check.required for check in found)
    if as_json:
        screen.print_json(
            {
                "ok": well,
                "checks": [
                    {
                        "name": check.name,
                        "ok": check.ok,
                        "detail": check.detail,
                        "fix": check.fix,
                        "required": check.required,
                    }
                    for check in found
                ],
            }
        )
    else:
        table = Table("", "what", "found", "to mend it")
        for check in found:
            if check.ok:
                mark = screen.plain("ok", "green")
            elif check.required:
                mark = screen.plain("no", "bold red")
            else:
                mark = screen.plain("weak", "yellow")
            table.add_row(
                mark,
                screen.plain(check.name),
                screen.plain(check.detail),
                screen.plain("" if check.ok else check.fix or ""),
            )
        screen.out().print(table)
    if not well:
        raise typer.Exit(screen.EXIT_FAILED)


def clean(
    cache: Annotated[
        bool, typer.Option("--cache", help="Empty the whole cache of trees and layers as well.")
    ] = False,
    all_owners: Annotated[
        bool,
        typer.Option(
            "--all-owners",
            help="At Docker daemons, also what processes of other machines and containers have "
            "there, whose end can't be seen from here. Cuts off those that still run.",
        ),
    ] = False,
) -> None:
    """Remove what dead processes left: sandboxes, containers, cgroups, half-built cache entries."""
    from repodrome.envs.sandbox.docker.reaper import reap_hosts
    from repodrome.envs.sandbox.reaper import reap
    from repodrome.tasks.store import Store

    console = screen.out()
    for line in reap():
        console.print(screen.plain(f"removed {line}"))
    for line in reap_hosts(all_owners=all_owners):
        console.print(screen.plain(line))
    cleaned = Store().clean(stale_only=not cache)
    size = cleaned.size / (1 << 20)
    console.print(
        screen.plain(
            f"{'cache' if cache else 'unfinished cache entries'}: "
            f"removed {cleaned.removed} ({size:.1f} MiB)"
        )
    )


def version() -> None:
    """Print the version."""
    from repodrome.version import __version__

    screen.out().print(screen.plain(f"repodrome {__version__}"))
