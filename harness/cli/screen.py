"""What commands share: the two consoles, error lines, and the way out.

Standard output carries the answer, standard error everything else (progress, errors), so that
``--json`` can be piped. Everything printed through here is plain text: no markup is interpreted,
and control characters are shown as escapes.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from repodrome.errors import InfraError, UsageError
from repodrome.harness.text import safe

EXIT_FAILED = 1
"""The answer is no: a replay diverged, a task is invalid, this machine lacks something."""
EXIT_USAGE = 2
EXIT_INFRA = 3
EXIT_INTERRUPTED = 130


def out() -> Console:
    """Standard output, as it is now (tests and pipes replace it)."""
    return Console(file=sys.stdout, markup=False, highlight=False, emoji=False, soft_wrap=True)


def err() -> Console:
    """Standard error, as it is now."""
    return Console(file=sys.stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)


def plain(text: str, style: str = "") -> Text:
    """``text`` for a console, harmless whoever wrote it."""
    return Text(safe(text), style=style)


def progress(text: str) -> None:
    """A line about what is going on, on standard error."""
    err().print(plain(text, "dim"))


def print_json(value: Any) -> None:
    """One JSON value on one line of standard output; ASCII, so that nothing steers a terminal."""
    sys.stdout.write(json.dumps(value, ensure_ascii=True, default=str) + "\n")
    sys.stdout.flush()


class Lanes(TyperGroup):
    """Turns deliberate errors into one line and an exit status; bugs keep their traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            err().print(plain(f"error: {error}", "bold red"))
            raise typer.Exit(EXIT_USAGE) from error
        except InfraError as error:
            err().print(plain(f"infrastructure failure: {error}", "bold red"))
            raise typer.Exit(EXIT_INFRA) from error
        except KeyboardInterrupt as error:
            err().print(plain("interrupted", "yellow"))
            raise typer.Exit(EXIT_INTERRUPTED) from error
