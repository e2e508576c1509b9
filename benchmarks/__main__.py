"""``python -m benchmarks [--quick] [--json FILE] [--work DIR] [SUBJECT…]``."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.timing import MORE_IS_BETTER, PYTHON, SHARE, Row, machine

SUBJECTS = (
    *("floors", "imports", "reset", "steps", "forks", "grading", "crowd", "vector", "docker"),
    *("rewards", "tools", "long", "search_speed", "search_quality"),
)
LONG = ("search_quality",)
"""Those that --quick leaves out unless they are named."""


def main() -> int:
    """Run the chosen subjects, each in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks", description="How fast repodrome is here.")
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=", ".join(SUBJECTS))
    parser.add_argument("--quick", action="store_true", help="fewer samples; about two minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    parser.add_argument(
        "--work", type=Path, help="keep generated repositories and caches there, for the next run"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := [name for name in options.subjects if name not in SUBJECTS]:
        parser.error(f"no subject {', '.join(unknown)}; there are {', '.join(SUBJECTS)}")
    if options.one:
        return _one(options.one, options.quick, options.work)
    place = tempfile.TemporaryDirectory(prefix="bench-") if not options.work else None
    with place or nullcontext():
        work = Path(place.name) if place else options.work.absolute()
        work.mkdir(parents=True, exist_ok=True)
        chosen = tuple(name for name in SUBJECTS if not (options.quick and name in LONG))
        return _all(options.subjects or chosen, options.quick, work, options.json)


def _one(name: str, quick: bool, work: Path) -> int:
    subject = importlib.import_module(f"benchmarks.{name}")
    for row in subject.run(quick, work):
        print(row.to_json(), flush=True)
    return 0


def _all(subjects: tuple[str, ...], quick: bool, work: Path, target: Path | None) -> int:
    console = Console(width=None if sys.stdout.isatty() else 130)
    facts = machine()
    environment = {**os.environ, "REPODROME_CACHE": str(work / "cache")}
    found: dict[str, list[Row]] = {}
    failed = []
    for name in subjects:
        rows = found[name] = []
        argv = [PYTHON, "-m", "benchmarks", "--one", name, "--work", str(work)]
        argv += ["--quick"] if quick else []
        with (
            Console(stderr=True).status(f"{name} …"),
            subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as process,
        ):
            assert process.stdout is not None
            rows += [Row.from_json(line) for line in process.stdout]
        if process.returncode:
            failed.append(name)
        console.print(_table(name, rows))
    facts["load average, after"] = machine()["load average"]
    for key, value in facts.items():
        console.print(f"[dim]{key}:[/] {value}", highlight=False)
    if target:
        rows_json = {name: [json.loads(r.to_json()) for r in rows] for name, rows in found.items()}
        target.write_text(json.dumps({"machine": facts, "rows": rows_json}, indent=1))
    if failed:
        console.print(f"[red]failed: {', '.join(failed)}[/]; what they said is above")
    return 1 if failed else 0


def _table(name: str, rows: list[Row]) -> Table:
    table = Table(title=name, title_justify="left", expand=True)
    table.add_column("figure", ratio=1)
    for heading in ("goal p50/p95", "p50", "p95", "n", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        goal = "floor" if row.floor else _goal(row)
        met = {None: "", True: "[green]ok[/]", False: "[red]missed[/]"}[row.met]
        p95 = _number(row.p95, row.unit) if len(row.values) > 1 else ""
        style = "dim" if row.floor else ""
        n = str(len(row.values))
        table.add_row(row.figure, goal, _number(row.p50, row.unit), p95, n, met, style=style)
    return table


def _goal(row: Row) -> str:
    if row.goal is None:
        return ""
    sign = "≥" if row.unit in MORE_IS_BETTER else "≤"
    second = f" / {sign}{row.goal_p95:g}" if row.goal_p95 is not None else ""
    return f"{sign}{row.goal:g}{second} {row.unit}".rstrip()


def _number(value: float, unit: str) -> str:
    if unit == SHARE:
        return f"{value:.3f}"
    digits = 0 if unit == "" or value >= 1000 else 1 if value >= 100 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
