"""``repodrome rescore`` and ``repodrome stats``: what stored episodes are worth, and show."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repodrome.harness.cli import screen

if TYPE_CHECKING:
    from rich.table import Table

    from repodrome.harness.rescore import Rescored, Summary
    from repodrome.harness.stats import Stats
    from repodrome.tasks.model import RewardSpec

RunsArgument = Annotated[
    list[Path], typer.Argument(metavar="RUNS…", help="Trajectory files, or directories of them.")
]
_JSON = typer.Option("--json", help="Print exactly one JSON object on standard output.")
SHOWN = 20
"""Moved episodes that the table names."""


def reward_specs(given: Sequence[str] | None) -> tuple[RewardSpec, ...] | None:
    """Terms from ``NAME[:KEY=VALUE,…]``; values as in TOML.

    Raises:
        UsageError: one can't be read.
    """
    from repodrome.envs.rewards.report import as_spec
    from repodrome.errors import UsageError

    if not given:
        return None
    specs = []
    for text in given:
        name, settings = _split(text)
        try:
            table = tomllib.loads(f"x = {{{settings}}}")["x"]
        except tomllib.TOMLDecodeError as error:
            raise UsageError(
                f"--reward {text!r} can't be read ({error}); write e.g. "
                "--reward 'style.lint:weight=0.1,select=[\"F\"]'"
            ) from error
        spec = as_spec({"name": name, **table})
        assert spec is not None
        specs.append(spec)
    return tuple(specs)


def _split(text: str) -> tuple[str, str]:
    """Name and settings; the name of a reward in a file holds a colon of its own."""
    name, colon, settings = text.partition(":")
    if colon and name.endswith(".py"):
        attribute, _, settings = settings.partition(":")
        name = f"{name}:{attribute}"
    return name, settings


def rescore(
    runs: RunsArgument,
    rules: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Rules to score by; default: each episode's own terms."),
    ] = None,
    training_step: Annotated[
        int | None,
        typer.Option(min=0, help="For weights with a schedule; default: the recorded step."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Score stored episodes again, without playing them, and print what moved.

    The files stay as they are. Infra-failed and unfinished episodes are left out.
    Exit status: 0 done, 2 bad usage, 3 a linter or judge failed.
    """
    from repodrome.harness.rescore import rescore_all, summary

    found = rescore_all(runs, rules=rules, training_step=training_step, jobs=jobs)
    whole = summary(found)
    if as_json:
        screen.print_json({**whole.to_json(), "episodes": [one.to_json() for one in found]})
        return
    console = screen.out()
    moved = sorted((o for o in found if o.moved), key=lambda o: -abs(o.difference))
    if moved:
        console.print(_moved_table(moved[:SHOWN]))
    if len(moved) > SHOWN:
        screen.progress(f"… and {len(moved) - SHOWN} more; --json has all")
    console.print(_terms_table(whole))
    console.print(screen.plain(str(whole)))
    for reason, count in whole.skipped.items():
        screen.progress(f"left out, {count} of them: {reason}")


def _moved_table(moved: Sequence[Rescored]) -> Table:
    from rich.table import Table

    from repodrome.harness.cli.show import number

    table = Table(title="moved")
    for heading in ("task", "file", "before", "now", "terms"):
        table.add_column(heading, overflow="fold")
    for one in moved:
        terms = (f"{name} {before:+.3g} → {now:+.3g}" for name, before, now in one.terms_moved)
        table.add_row(
            screen.plain(one.task),
            screen.plain(one.file.name),
            number(one.before),
            number(one.now),
            screen.plain(", ".join(terms)),
        )
    return table


def _terms_table(whole: Summary) -> Table:
    from rich.table import Table

    table = Table(title="mean of weight × value, as it counts")
    for heading in ("term", "before", "now"):
        table.add_column(heading)
    for name, (before, now) in whole.terms.items():
        table.add_row(screen.plain(name), f"{before:+.4f}", f"{now:+.4f}")
    table.add_section()
    table.add_row("total", f"{whole.mean_before:+.4f}", f"{whole.mean_now:+.4f}")
    return table


def stats(
    runs: RunsArgument,
    bins: Annotated[int, typer.Option(min=1, help="Stretches of training time.")] = 6,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Show what agents do over training time: the behaviours that are known to emerge.

    Episodes are ordered by their training step, where the reports have one, else by when they
    began. What is on the rise from the first third to the last one is marked.
    """
    from repodrome.harness.stats import stats_of

    found = stats_of(runs, bins=bins)
    if as_json:
        screen.print_json(found.to_json())
        return
    screen.out().print(_stats_table(found))
    for name in found.rising:
        screen.progress(f"on the rise: {name} ({found.meaning(name)})")


def _stats_table(found: Stats) -> Table:
    from rich.table import Table

    episodes = "1 episode" if found.episodes == 1 else f"{found.episodes:,} episodes"
    table = Table(title=f"{episodes}, in the order of {found.order}")
    table.add_column("rate", no_wrap=True)
    for stretch in found.bins:
        table.add_column(screen.plain(stretch.label), justify="right")
    table.add_column("")
    table.add_row("episodes", *(str(stretch.episodes) for stretch in found.bins), "")
    for name in found.names:
        cells = (_cell(stretch.rates.get(name)) for stretch in found.bins)
        table.add_row(name, *cells, "rising" if name in found.rising else "")
    return table


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
