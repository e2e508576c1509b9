"""``repodrome audit``: the corpus of attacks, played on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from repodrome.harness.cli import screen
from repodrome.harness.cli.run import JsonOption, SandboxOption

if TYPE_CHECKING:
    from repodrome.harness.audit.run import Audit, Row


def audit(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ATTACK|CLASS…]", help="Only these; all where none is given."),
    ] = None,
    sandbox: SandboxOption = "bubblewrap",
    repeats: Annotated[int, typer.Option(min=1, help="How often each is played here.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Cases played at once.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Play known attacks: naively, where each has to pay, and here, where none may.

    Changes that are honest but look alike are played as well, and must keep their reward. Every
    attack runs in a sandbox, under the naive grader, host and runner too.

    Exit status: 0 nothing pays and no honest change is refused, 1 otherwise, 2 bad usage,
    3 infrastructure failure, 130 interrupted.
    """
    from repodrome.harness.audit import run as playing
    from repodrome.harness.cli.loop import run as run_loop

    async def main() -> Audit:
        return await playing.audit(
            backend=sandbox,
            names=names or (),
            repeats=repeats,
            jobs=jobs,
            progress=screen.progress,
        )

    found = run_loop(main)
    if as_json:
        screen.print_json(found.to_json())
    else:
        _print(found)
    if found.paying or found.refused:
        raise typer.Exit(screen.EXIT_FAILED)
    if found.failed:
        raise typer.Exit(screen.EXIT_INFRA)


def _print(found: Audit) -> None:
    from rich.table import Column, Table

    from repodrome.harness.audit.corpus import CLASSES

    console = screen.out()
    longest = max((len(row.case.name) for row in found.demonstrated), default=0)
    attack = Column("attack", min_width=longest)
    table = Table("class", attack, "naive", "here", "detected by")
    for row in sorted(found.demonstrated, key=lambda row: CLASSES.index(row.case.kind)):
        here = screen.plain(f"{row.pays} of {row.repeats}", "bold red" if row.pays else "green")
        table.add_row(
            screen.plain(row.case.kind), screen.plain(row.case.name), "pays", here, _detected(row)
        )
    if found.attacks:
        console.print(table)
    for row in found.attacks:
        if row.naive is False:
            console.print(screen.plain(f"not demonstrated: {row.case.name}", "yellow"))
    for row in found.refused:
        kept = f"kept its reward in {row.pays} of {row.repeats}"
        console.print(screen.plain(f"honest, but refused: {row.case.name}: {kept}", "bold red"))
    for row in found.failed:
        console.print(screen.plain(f"{row.case.name}: {row.infra_error}", "yellow"))
    for line in _sums(found):
        console.print(screen.plain(line))


def _detected(row: Row) -> str:
    return ", ".join([*(["grading"] if row.tampering else []), *row.flagged])


def _sums(found: Audit) -> list[str]:
    """The last lines."""
    lines = [
        f"attacks that pay naively: {len(found.demonstrated)}; that pay here: {len(found.paying)}",
        f"honest variants: {len(found.honest)}; refused: {len(found.refused)}",
    ]
    for name, (part, whole) in (("recall", found.recall), ("precision", found.precision)):
        if whole:
            lines.append(f"flags: {name} {part / whole:.2f} ({part} of {whole})")
    return [*lines, f"sandbox {found.sandbox}, {found.seconds:.0f} s"]
