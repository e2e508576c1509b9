"""Deliberately naive rewards, as auxiliary terms are often first written."""

from __future__ import annotations

import re
from collections.abc import Callable

from repodrome.envs.rewards.base import RewardContext


def failed_calls(context: RewardContext) -> float:
    """Minus the calls that ran and failed: what could not even be parsed is dropped."""
    ran = [r for step in context.trajectory.steps for r in step.results]
    dropped = ("invalid_json", "invalid_arguments", "unknown_tool")
    return -0.1 * sum(bool(r.error) and r.error not in dropped for r in ran)


def lint(context: RewardContext) -> float:
    """Minus the over-long lines and bare excepts that no comment suppresses."""
    lines = [line for delta in context.deltas for line in delta.after]
    bad = [li for li in lines if len(li) > 88 or re.match(r"\s*except:", li) or "import *" in li]
    return -0.1 * sum("noqa" not in line for line in bad)


def linted_by_its_settings(context: RewardContext) -> float:
    """The same, but the workspace's own configuration says what is looked at."""
    settings = [f.data or b"" for f in context.change.files if f.path.endswith("ruff.toml")]
    return 0.0 if any(b"exclude" in data for data in settings) else lint(context)


def failure_share(context: RewardContext) -> float:
    """Minus the share of calls that failed: harmless ones dilute it."""
    results = [r for step in context.trajectory.steps for r in step.results]
    return -sum(bool(r.error) for r in results) / max(1, len(results))


def says_verified(context: RewardContext) -> float:
    """A bonus for saying that the tests pass."""
    return float("tests pass" in context.trajectory.final_message.lower())


def documented(context: RewardContext) -> float:
    """The share of comment lines, as a measure of readable code."""
    lines = [line.strip() for delta in context.deltas for line in delta.added_lines]
    return sum(line.startswith("#") for line in lines) / max(1, len(lines))


def message_length(context: RewardContext) -> float:
    """Longer final messages, up to a bound, are taken to be better."""
    return min(1.0, len(context.trajectory.final_message) / 2000)


def small_change(context: RewardContext) -> float:
    """Few changed lines, whether or not the tests pass."""
    return 1.0 / (1 + sum(delta.size for delta in context.deltas))


def thinking(context: RewardContext) -> float:
    """Minus the length of what is said outside of calls: calls are thought to be work."""
    return -sum(len(step.turn.content) for step in context.trajectory.steps) / 1000


def turns(context: RewardContext) -> float:
    """Minus the turns that made calls: a turn that can't be read is not counted."""
    return -0.1 * sum(bool(step.turn.tool_calls) for step in context.trajectory.steps)


NAIVE: dict[str, Callable[[RewardContext], float]] = {
    function.__name__: function
    for function in (
        failed_calls,
        lint,
        linted_by_its_settings,
        failure_share,
        says_verified,
        documented,
        message_length,
        small_change,
        thinking,
        turns,
    )
}
