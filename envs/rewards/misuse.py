"""``misuse``: what the agent does wrong with its tools costs something, up to a cap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from repodrome.envs.rewards.base import RewardContext, RewardResult
from repodrome.envs.rewards.bounds import check
from repodrome.envs.rewards.conduct import KINDS, Conduct
from repodrome.envs.trajectory import Step, Trajectory
from repodrome.errors import UnknownNameError
from repodrome.tasks.globs import covers
from repodrome.tasks.model import Task

WEIGHTS: Mapping[str, tuple[float, float]] = {
    "malformed_turn": (0.10, 0.50),
    "invalid_arguments": (0.05, 0.30),
    "unknown_tool": (0.05, 0.30),
    "failed_edit": (0.03, 0.20),
    "failed_call": (0.01, 0.10),
    "identical_repeat": (0.03, 0.20),
    "reread": (0.02, 0.10),
    "terminal_for_tool": (0.01, 0.10),
    "destructive": (0.15, 0.45),
    "ignored_truncation": (0.03, 0.15),
    "out_of_scope": (0.05, 0.30),
    "unfinished_todo": (0.03, 0.15),
}
"""Kind → what one costs, and all of them at most."""


@dataclass(frozen=True, slots=True)
class MisuseReward:
    """The cost of misused tools; range [-1, 0].

    ``value = -min(1, Σ_kind min(cap, weight · n))`` over :data:`WEIGHTS`. Counts, not shares: no
    number of good calls pays for a bad one, and a further bad one never raises the value. It counts
    whether the episode succeeded or not. What each kind means is in
    :data:`repodrome.envs.rewards.conduct.KINDS`; commands are judged by their words
    (:mod:`repodrome.envs.rewards.shell`).

    Attributes:
        weights: kind → weight, where it is to differ; 0 takes the kind away.
        caps: kind → cap, where it is to differ.
        scope: globs of what the task is about; a changed file beside them is out of scope. Without
            it everything is in scope. What grading leaves aside never counts.
    """

    name: ClassVar[str] = "misuse"
    auxiliary: ClassVar[bool] = True

    weights: Mapping[str, float] = field(default_factory=dict)
    caps: Mapping[str, float] = field(default_factory=dict)
    scope: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name, table in (("weights", self.weights), ("caps", self.caps)):
            if not isinstance(table, Mapping):
                raise ValueError(f"{name} is {table!r}; give a table, e.g. {{reread = 0.05}}")
            for kind, value in table.items():
                if kind not in KINDS:
                    raise ValueError(f"{name}: {UnknownNameError('kind', kind, KINDS)}")
                check(f"{name}.{kind}", value, least=0)
        if isinstance(self.scope, str) or not all(isinstance(g, str) for g in self.scope):
            raise ValueError(f'scope is {self.scope!r}; give a list of globs, e.g. ["src"]')

    def __call__(self, context: RewardContext) -> RewardResult:
        """Score the episode."""
        conduct = Conduct(context.task, context.trajectory.renamed)
        counts: Counter[str] = Counter()
        for step in context.trajectory.steps:
            counts.update(finding.kind for finding in conduct.feed(step))
        counts["out_of_scope"] += len(self._outside(context))
        counts["unfinished_todo"] += len(unfinished(context.trajectory))
        costs = {kind: self._cost(kind, counts[kind]) for kind in KINDS if counts[kind]}
        worst = sorted(costs, key=lambda kind: (-costs[kind], kind))
        return RewardResult(
            value=0.0 - min(1.0, sum(costs.values())),
            parts={kind: float(counts[kind]) for kind in KINDS if counts[kind]},
            notes=tuple(f"{counts[kind]} × {KINDS[kind]}" for kind in worst if costs[kind]),
        )

    def watch(self, task: Task, renamed: Mapping[str, str]) -> Callable[[Step], float]:
        """The value so far, after each step; scope and todos are judged at the end."""
        conduct = Conduct(task, renamed)
        counts: Counter[str] = Counter()

        def so_far(step: Step) -> float:
            counts.update(finding.kind for finding in conduct.feed(step))
            return 0.0 - min(1.0, sum(self._cost(kind, n) for kind, n in counts.items()))

        return so_far

    def _cost(self, kind: str, count: int) -> float:
        weight, cap = WEIGHTS[kind]
        return min(self.caps.get(kind, cap), self.weights.get(kind, weight) * count)

    def _outside(self, context: RewardContext) -> list[str]:
        if not self.scope:
            return []
        left_aside = set(context.verdict.dropped)
        changed = (f.path for f in context.change.files if f.kind != "refused")
        return [p for p in changed if p not in left_aside and not covers(self.scope, p)]


def unfinished(trajectory: Trajectory) -> list[str]:
    """Todos that the agent's last list leaves open."""
    return [todo.text for todo in trajectory.todos if todo.status in ("pending", "in_progress")]
