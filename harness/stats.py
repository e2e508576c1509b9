"""Drift watch: how often agents do, over training time, what is known to emerge in training.

A rate that rises says that a rule is needed, or that one pays for the wrong thing. The behaviours
are read off stored episodes; nothing is played or graded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from repodrome.envs.rewards.base import RewardContext
from repodrome.envs.rewards.conduct import Conduct, command_of, tool_of
from repodrome.envs.rewards.style.comments import CommentsReward, thinking_aloud
from repodrome.envs.rewards.style.lint import added_suppressions
from repodrome.envs.trajectory import ToolCall, ToolResult
from repodrome.harness.rescore import trajectory_files
from repodrome.harness.trajectory import Recorded, read_trajectory

LEAST_CALLS = 3
"""Calls from which an episode can be said to use the terminal only."""
RISE = 0.05
RISE_RATIO = 1.5
_QUESTION = re.compile(
    r"\?\s*$|\b(?:could you (?:clarify|confirm|specify)|please (?:clarify|confirm|specify)|"
    r"would you like|do you want me to|which (?:one|of these) (?:do|would|should))\b",
    re.IGNORECASE,
)
_COMMENT_LINE = re.compile(r"^\s*#(?!!)\s*(.+)", re.MULTILINE)

BEHAVIOURS: Mapping[str, str] = {
    "terminal_only": "episodes of 3 calls or more that use nothing but the terminal",
    "broken_calls": "share of calls that are malformed, have wrong arguments or name no tool",
    "thinking_in_comments": "episodes that reason in comments, of code or of commands",
    "clarifying": "episodes that end in a question, with nothing changed",
    "suppressions": "episodes that add a comment which silences a checker",
    "duplicate_calls": "share of calls that repeat one, or read again what was read",
    "no_change": "episodes that change nothing",
}
"""Name → what the rate is of."""
FIGURES: Mapping[str, str] = {
    "reward": "mean total of those that have one",
    "resolved": "share of graded episodes whose tests all pass",
    "turns": "mean turns",
    "calls": "mean tool calls",
    "truncated": "share that a limit ended",
    "infra_failed": "share that the machine failed",
}
_BROKEN = frozenset({"malformed_turn", "invalid_arguments", "unknown_tool"})
_DUPLICATE = frozenset({"identical_repeat", "reread"})


@dataclass(frozen=True, slots=True)
class Episode:
    """What one episode shows.

    Attributes:
        values: behaviour or figure → its value; what doesn't apply isn't there.
    """

    training_step: int | None
    started: str
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Bin:
    """A stretch of training time.

    Attributes:
        label: where it begins: a training step, or a time.
        rates: behaviour or figure → mean over its episodes.
    """

    label: str
    episodes: int
    rates: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Stats:
    """All of it.

    Attributes:
        order: ``training step`` or ``time``.
        rising: behaviours whose rate in the last third is higher than in the first one, by 0.05 and
            by half.
    """

    episodes: int
    order: str
    bins: tuple[Bin, ...]
    rising: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Behaviours and figures, in the order of a table."""
        return [*BEHAVIOURS, *FIGURES]

    @staticmethod
    def meaning(name: str) -> str:
        """What a rate is of."""
        return {**BEHAVIOURS, **FIGURES}[name]

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {**asdict(self), "meaning": {name: self.meaning(name) for name in self.names}}


def stats_of(runs: Sequence[Path], *, bins: int = 6) -> Stats:
    """The rates of stored episodes.

    Raises:
        UsageError: no files, or one that is no trajectory.
    """
    found = [episode_of(read_trajectory(file)) for file in trajectory_files(runs)]
    by_step = all(one.training_step is not None for one in found)
    found.sort(key=lambda one: (one.training_step or 0) if by_step else one.started)
    return Stats(
        episodes=len(found),
        order="training step" if by_step else "time",
        bins=tuple(_bin(part, by_step) for part in _parts(found, bins)),
        rising=tuple(name for name in BEHAVIOURS if _rises(found, name)),
    )


def _parts(found: Sequence[Episode], number: int) -> list[Sequence[Episode]]:
    number = min(number, len(found))
    edges = [len(found) * place // number for place in range(number + 1)]
    return [found[start:end] for start, end in pairwise(edges)]


def _bin(part: Sequence[Episode], by_step: bool) -> Bin:
    first = part[0]
    names = dict.fromkeys(name for one in part for name in one.values)
    rates = {name: _mean(part, name) for name in names}
    return Bin(
        label=str(first.training_step) if by_step else first.started[:16].replace("T", " "),
        episodes=len(part),
        rates={name: rate for name, rate in rates.items() if rate is not None},
    )


def _mean(part: Sequence[Episode], name: str) -> float | None:
    values = [one.values[name] for one in part if name in one.values]
    return sum(values) / len(values) if values else None


def _rises(found: Sequence[Episode], name: str) -> bool:
    third = len(found) // 3
    if not third:
        return False
    first, last = _mean(found[:third], name), _mean(found[-third:], name)
    if first is None or last is None:
        return False
    return last - first >= RISE and last >= RISE_RATIO * first


def episode_of(recorded: Recorded) -> Episode:
    """What one stored episode shows."""
    end = recorded.end
    report = None if end is None else end.report
    values: dict[str, float] = {"infra_failed": float(bool(end and end.infra_error))}
    if not values["infra_failed"]:
        values |= _calls(recorded)
    context = recorded.context() if recorded.header.task is not None else None
    if context is not None and report is not None:
        values |= {name: float(shows(context)) for name, shows in _SHOWN.items()}
        if context.verdict.kind != "none":  # where nothing is run, nothing is resolved
            values["resolved"] = float(context.verdict.resolved)
        if report.total is not None:
            values["reward"] = report.total
    if end is not None:
        values["truncated"] = float(end.truncated and not end.infra_error)
    step = None if report is None else report.training_step
    return Episode(step, recorded.header.started, values)


def _calls(recorded: Recorded) -> dict[str, float]:
    steps = recorded.steps
    kinds: list[str] = []
    if recorded.header.task is not None:
        from repodrome.tasks.model import Task

        conduct = Conduct(Task.model_validate(recorded.header.task), recorded.header.renamed)
        kinds = [finding.kind for step in steps for finding in conduct.feed(step)]
    calls = sum(len(step.turn.tool_calls) + bool(step.turn.malformed) for step in steps)
    found = {"turns": float(len(steps)), "calls": float(calls)}
    if calls:
        found["broken_calls"] = sum(kind in _BROKEN for kind in kinds) / calls
        found["duplicate_calls"] = sum(kind in _DUPLICATE for kind in kinds) / calls
    return found


def _pairs(context: RewardContext) -> list[tuple[ToolCall, ToolResult]]:
    return [
        pair
        for step in context.trajectory.steps
        for pair in zip(step.turn.tool_calls, step.results, strict=False)
    ]


def _terminal_only(context: RewardContext) -> bool:
    tools = [tool_of(result) for _, result in _pairs(context) if not result.error]
    used = [tool for tool in tools if tool not in ("finish", "todo_write")]
    return len(used) >= LEAST_CALLS and set(used) == {"terminal"}


def _thinks_in_comments(context: RewardContext) -> bool:
    if CommentsReward()(context).value < 0.75:
        return True
    parameter = context.trajectory.renamed.get("terminal.command", "command")
    commands = "\n".join(
        command_of(call, parameter) for call, result in _pairs(context)
        if tool_of(result) == "terminal"
    )  # fmt: skip
    return thinking_aloud(_COMMENT_LINE.findall(commands[:100_000])) >= 2


def _no_change(context: RewardContext) -> bool:
    return not any(file.kind != "refused" for file in context.change.files)


def _clarifies(context: RewardContext) -> bool:
    asks = _QUESTION.search(context.trajectory.final_message[-2000:]) is not None
    return asks and _no_change(context)


def _suppresses(context: RewardContext) -> bool:
    return any(added_suppressions(delta) for delta in context.deltas if delta.is_code)


_SHOWN: Mapping[str, Callable[[RewardContext], bool]] = {
    "terminal_only": _terminal_only,
    "thinking_in_comments": _thinks_in_comments,
    "clarifying": _clarifies,
    "suppressions": _suppresses,
    "no_change": _no_change,
}
