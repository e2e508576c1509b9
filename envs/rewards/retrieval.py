"""The retrieval reward: did the agent name the right files and lines, and only those?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from repodrome.envs.rewards.base import RewardContext, RewardResult
from repodrome.envs.trajectory import Trajectory
from repodrome.tasks.locate import Location, by_file, read_answer

Ranges = Mapping[str, Sequence[tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class RetrievalReward:
    """The mean of F_β over files and F_β over lines; range [0, 1].

    F_β = (1 + β²) · P · R / (β² · P + R), with P the share of what was named that is right, and R
    the share of what is right that was named; 0 where nothing right was named. With β = 0.5, as
    SWE-grep was trained (Cognition, "Introducing SWE-grep and SWE-grep-mini", 2025), precision
    counts for more: what is named in vain fills the reader's context.

    The answer is the final message, read by :func:`repodrome.tasks.locate.read_answer`; what is
    right is the task's ``[locate] gold``. Where that names no lines, files alone count.

    Attributes:
        beta: above 1 recall counts for more, below 1 precision.
    """

    name: ClassVar[str] = "retrieval"
    auxiliary: ClassVar[bool] = False

    beta: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.beta < 100:
            raise ValueError(f"beta is {self.beta}; give a number above 0, e.g. 0.5")

    def __call__(self, context: RewardContext) -> RewardResult:
        """Score the final message."""
        gold = by_file(Location.parse(text) for text in context.task.locate.gold)
        named = by_file(read_answer(context.trajectory.final_message))
        files = _f_beta(len(gold.keys() & named.keys()), len(named), len(gold), self.beta)
        parts = {"files": files[0], "files_precision": files[1], "files_recall": files[2]}
        value = files[0]
        if any(gold.values()):
            lines = _f_beta(_common(named, gold), _count(named), _count(gold), self.beta)
            parts |= {"lines": lines[0], "lines_precision": lines[1], "lines_recall": lines[2]}
            value = (files[0] + lines[0]) / 2
        if context.verdict.tampering:
            value = 0.0
        note = f"{len(gold.keys() & named.keys())} of {len(gold)} files, {len(named)} named"
        return RewardResult(value=value, parts=parts | _calls(context.trajectory), notes=(note,))


def _f_beta(right: int, named: int, wanted: int, beta: float) -> tuple[float, float, float]:
    """F_β, precision and recall."""
    if not right:
        return 0.0, 0.0, 0.0
    precision, recall = right / named, right / wanted
    square = beta * beta
    return (1 + square) * precision * recall / (square * precision + recall), precision, recall


def _count(files: Ranges) -> int:
    return sum(last - first + 1 for ranges in files.values() for first, last in ranges)


def _common(one: Ranges, other: Ranges) -> int:
    """Lines that are in both; ranges of a file don't overlap each other."""
    return sum(
        max(0, min(last, end) - max(first, begin) + 1)
        for path, ranges in one.items()
        for first, last in ranges
        for begin, end in other.get(path, ())
    )


def _calls(trajectory: Trajectory) -> dict[str, float]:
    """How the search went: calls a turn that made any, and the share of calls made before."""
    turns = [step.turn.tool_calls for step in trajectory.steps if step.turn.tool_calls]
    seen = {(call.name, str(call.arguments)) for calls in turns for call in calls}
    total = sum(map(len, turns))
    return {
        "calls_per_turn": total / len(turns) if turns else 0.0,
        "duplicate_calls": 1 - len(seen) / total if total else 0.0,
    }
