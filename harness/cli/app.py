"""The command line as a whole."""

from __future__ import annotations

import typer

from repodrome.harness.cli import audit, image, machine, replay, rewards, run, screen, search, task

app = typer.Typer(
    name="repodrome",
    cls=screen.Lanes,
    help="Play sandboxed coding tasks, score them, and make new ones.",
    no_args_is_help=True,
    # A bug shows Python's own traceback: no locals, which may hold what an agent wrote.
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(run.run)
app.command()(replay.replay)
app.command()(rewards.rescore)
app.command()(rewards.stats)
app.add_typer(task.app, name="task")
app.add_typer(image.app, name="image")
app.command()(search.search)
app.command()(audit.audit)
app.command()(machine.doctor)
app.command()(machine.clean)
app.command()(machine.version)
