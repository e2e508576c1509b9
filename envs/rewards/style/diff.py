"""``style.diff``: no more change than the task needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from repodrome.envs.rewards.base import RewardContext, RewardResult
from repodrome.envs.rewards.bounds import check
from repodrome.tasks.globs import covers


@dataclass(frozen=True, slots=True)
class DiffReward:
    """How small the change is, against the reference solution's; range [0, 1].

    With n lines added and removed by the agent, r by the reference, and a = max(slack · r, least):
    ``value = 1 if n <= a else a / n``. Moved lines don't count, nor do paths that grading leaves
    aside (tests that the agent wrote) or that ``ignore`` names. 0 where the reference's size is not
    known: its solution is a script.

    Attributes:
        slack: how many times the reference's size is free.
        least: lines that are always free.
        ignore: globs of paths that don't count, e.g. ``["docs", "CHANGELOG.md"]``.
    """

    name: ClassVar[str] = "style.diff"
    auxiliary: ClassVar[bool] = True

    slack: float = 1.5
    least: float = 10.0
    ignore: Sequence[str] = ()

    def __post_init__(self) -> None:
        check("slack", self.slack, least=1)
        check("least", self.least, least=1)
        if isinstance(self.ignore, str) or not all(isinstance(g, str) for g in self.ignore):
            raise ValueError(f'ignore is {self.ignore!r}; give a list of globs, e.g. ["docs"]')

    def __call__(self, context: RewardContext) -> RewardResult:
        """Score the change."""
        left_aside = set(context.verdict.dropped)
        lines = sum(
            delta.size
            for delta in context.deltas
            if delta.path not in left_aside and not covers(self.ignore, delta.path)
        )
        if context.reference_lines is None:
            note = "the size of the reference solution is not known"
            return RewardResult(value=0.0, parts={"lines": float(lines)}, notes=(note,))
        allowed = max(self.slack * context.reference_lines, self.least)
        value = 1.0 if lines <= allowed else allowed / lines
        return RewardResult(
            value=value,
            parts={"lines": float(lines), "reference": float(context.reference_lines)},
            notes=(f"{lines} lines, the reference {context.reference_lines}",),
        )
