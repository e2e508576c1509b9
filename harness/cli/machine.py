"""``repodrome doctor``, ``clean`` and ``version``: about this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from repodrome.harness.cli import screen
from repodrome.harness.cli.run import JsonOption


def doctor(as_json: JsonOption = False) -> None:
    """Say what this machine can do, and how to mend what it can't. Exit status 1: not all well."""
    from repodrome.envs.sandbox.doctor import checks
    from rich.table import Table

    found = checks()
    if as_json:
        screen.print_json(
            {
                "ok": all(check.ok for check in found),
                "checks": [
                    {
                        "name": check.name,
                        "ok": check.ok,
                        "detail": check.detail,
                        "fix": check.fix,
                    }
                    for check in found
                ],
            }
        )
    else:
        table = Table("", "what", "found", "to mend it")
        for check in found:
            mark = screen.plain("ok", "green") if check.ok else screen.plain("no", "bold red")
            table.add_row(
                mark,
                screen.plain(check.name),
                screen.plain(check.detail),
                screen.plain("" if check.ok else check.fix or ""),
            )
        screen.out().print(table)
    if not all(check.ok for check in found):
        raise typer.Exit(screen.EXIT_FAILED)


def clean(
    cache: Annotated[
        bool, typer.Option("--cache", help="Empty the whole cache of trees and layers as well.")
    ] = False,
) -> None:
    """Remove what dead processes left: sandboxes, mounts, cgroups, half-built cache entries."""
    from repodrome.envs.sandbox.reaper import reap
    from repodrome.tasks.store import Store

    console = screen.out()
    for line in reap():
        console.print(screen.plain(f"removed {line}"))
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
