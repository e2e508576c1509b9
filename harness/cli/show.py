"""Episodes as a person reads them: steps while they happen, reports as tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from repodrome.envs.events import Event
from repodrome.envs.trajectory import AssistantTurn, Step, ToolCall
from repodrome.harness.cli.screen import plain
from repodrome.harness.text import shorten

if TYPE_CHECKING:
    from repodrome.harness.rollout import Result

OBSERVATION_LINES = 12
THOUGHT_LINES = 4


def call_line(call: ToolCall) -> str:
    """A call on one line: its name and arguments, long values cut."""
    if isinstance(call.arguments, str):
        return f"{call.name}({_cut(call.arguments, 120)})"
    words = [
        f"{key}={_cut(value if isinstance(value, str) else json.dumps(value), 80)}"
        for key, value in call.arguments.items()
    ]
    return f"{call.name}({', '.join(words)})"


def _cut(text: str, width: int) -> str:
    first, *rest = text.split("\n")
    if len(first) > width or rest:
        return f"{first[:width]}… ({len(text)} characters)"
    return first


class Watcher:
    """Prints an episode's events to a console.

    Args:
        console: where.
        label: put before each line where several episodes play at once.
        steps: whether steps are shown at all; progress always is.
        graded: whether the episode is graded when it has stopped.
    """

    def __init__(
        self, console: Console, *, label: str = "", steps: bool = True, graded: bool = True
    ) -> None:
        self._console = console
        self._label = f"[{label}] " if label else ""
        self._steps = steps
        self._graded = graded

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if event.kind == "progress":
            self._line(event.text, "dim")
        elif event.kind == "started":
            self._line(f"sandbox ready after {duration(event.seconds)}", "dim")
        elif event.kind == "step" and event.step is not None:
            if self._steps:
                self._step(event.step)
        elif event.kind == "segment" and event.opening is not None:
            if event.opening.index:
                self._line(f"context {event.opening.index + 1} begins", "dim")
        elif event.kind == "stopped":
            then = "; grading …" if self._graded else ""
            self._line(f"stopped: {event.stop_reason}{then}", "dim")

    def _line(self, text: str, style: str = "") -> None:
        self._console.print(plain(self._label + text, style))

    def _step(self, step: Step) -> None:
        turn = step.turn
        self._line(f"step {step.index + 1} · {duration(step.seconds)}{counted(turn)}", "bold")
        if turn.reasoning.strip():
            self._line(shorten(turn.reasoning.strip(), lines=THOUGHT_LINES), "dim italic")
        if turn.content.strip():
            self._line(shorten(turn.content.strip(), lines=OBSERVATION_LINES))
        if turn.malformed:
            self._line(step.observation, "red")
        for call, result in zip(turn.tool_calls, step.results, strict=False):
            self._line(f"  → {call_line(call)}", "cyan")
            text = shorten(result.text.rstrip("\n"), lines=OBSERVATION_LINES)
            for row in text.split("\n"):
                self._line(f"    {row}", "red" if result.error else "dim")
        for said in step.said:
            self._line(f"{said.kind.replace('_', ' ')}: {shorten(said.text, lines=4)}", "yellow")


def counted(turn: AssistantTurn) -> str:
    """`` · 5,210 + 84 tokens``: read and written, as the agent's model reported them."""
    read, written = (turn.usage.get(key) for key in ("prompt_tokens", "completion_tokens"))
    return "" if read is None or written is None else f" · {read:,} + {written:,} tokens"


def duration(seconds: float) -> str:
    """``0.4 ms``, ``12 ms``, ``3.2 s``, ``2 min 05 s``."""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def number(value: float | None) -> str:
    """A reward for a table."""
    return "–" if value is None else f"{value:.3g}"


def report_table(result: Result) -> Table:
    """The reward report of one episode."""
    table = Table(title=plain(f"{result.task} · {result.agent} · seed {result.seed}"))
    for heading in ("reward", "weight", "value", "counts", "notes"):
        table.add_column(heading)
    report = result.report
    for part in () if report is None else report.rewards:
        table.add_row(
            plain(part.name),
            number(part.weight),
            number(part.value),
            "gated" if part.gated else number(part.weight * part.value),
            plain(shorten("; ".join(part.notes), lines=4)),
        )
    table.add_section()
    table.add_row("total", "", "", number(result.reward), plain(result_note(result)))
    return table


def result_note(result: Result) -> str:
    """How the episode ended, in a few words."""
    if result.infra_failed:
        return f"infra failure, no reward: {shorten(result.infra_error, lines=6)}"
    verdict = None if result.report is None else result.report.verdict
    words = [f"{result.stop_reason} after {result.steps} step{'s' if result.steps != 1 else ''}"]
    if verdict is not None:
        wanted = {**verdict.fail_to_pass, **verdict.pass_to_pass}
        if wanted:
            passed = sum(status.value == "passed" for status in wanted.values())
            words.append(f"{passed} of {len(wanted)} tests passed")
        if verdict.tampering:
            words.append(f"tampering: {', '.join(verdict.tampering)}")
    if result.report is not None and result.report.flags:
        rules = sorted({flag.rule for flag in result.report.flags})
        words.append(f"suspicious: {', '.join(rules)}")
    return ", ".join(words)


def results_table(results: Sequence[Result], *, title: str = "rewards") -> Table:
    """One line an episode."""
    # A column that says the same on each line only takes room from the last one.
    one = len({result.agent for result in results}) == 1
    agents = [] if one else [result.agent for result in results]
    table = Table(title=plain(f"{title} of {results[0].agent}" if one else title))
    fits = max(len(result.task) for result in results) <= 40
    headings = ("task", *(("agent",) if agents else ()), "seed", "reward", "time", "how it went")
    for heading in headings:
        number_like = heading in ("seed", "reward", "time")
        table.add_column(
            heading,
            justify="right" if number_like else "left",
            overflow="fold",
            no_wrap=number_like or (heading == "task" and fits),
        )
    for place, result in enumerate(results):
        table.add_row(
            plain(result.task),
            *(plain(agent) for agent in agents[place : place + 1]),
            str(result.seed),
            number(result.reward),
            duration(result.timings.get("total", 0.0)),
            plain(result_note(result)),
        )
    return table


Labelled = Callable[[int, Event], None]


def labelled(console: Console, labels: Sequence[str], *, steps: bool) -> Labelled:
    """A watcher for several episodes: each line says whose it is."""
    watchers = [
        Watcher(console, label=label if len(labels) > 1 else "", steps=steps) for label in labels
    ]

    def show(place: int, event: Event) -> None:
        watchers[place](event)

    return show
