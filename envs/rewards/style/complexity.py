"""``style.complexity``: functions that became hard to follow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from repodrome.envs.rewards import ruff
from repodrome.envs.rewards.base import RewardContext, RewardResult
from repodrome.envs.rewards.bounds import check, falling


@dataclass(frozen=True, slots=True)
class ComplexityReward:
    """How little the change adds to the worst functions; range (0, 1].

    ``value = half / (half + x)``, where x sums, over the functions of changed Python files, the
    cyclomatic complexity above ``limit`` that was not there before:
    ``max(0, after - max(before, limit))``.

    Source: T. J. McCabe, "A Complexity Measure", IEEE Transactions on Software Engineering SE-2
    (1976), as ruff's C901 counts it.

    Attributes:
        limit: complexity that any function may have; at least 10.
        half: so much above it is worth half.
    """

    name: ClassVar[str] = "style.complexity"
    auxiliary: ClassVar[bool] = True
    evidence: ClassVar[str] = ruff.EVIDENCE

    limit: float = 10.0
    half: float = 10.0

    def __post_init__(self) -> None:
        check("limit", self.limit, least=ruff.COMPLEX)
        check("half", self.half, above=0)

    def gather(self, context: RewardContext) -> Any:
        """Run ruff."""
        return ruff.gather(context)

    def __call__(self, context: RewardContext) -> RewardResult:
        """Score the change."""
        files: Mapping[str, Any] = (context.evidence.get(self.evidence) or {}).get("files", {})
        worst: list[tuple[float, str]] = []
        for facts in files.values():
            worst += self._excess(facts["before"]["functions"], facts["after"]["functions"])
        worst.sort(key=lambda item: (-item[0], item[1]))
        excess = sum(amount for amount, _ in worst)
        return RewardResult(
            value=falling(excess, self.half),
            parts={"excess": excess, "functions": float(len(worst))},
            notes=tuple(f"{name} is {amount:g} harder to follow" for amount, name in worst[:3]),
        )

    def _excess(
        self, before: Sequence[Sequence[Any]], after: Sequence[Sequence[Any]]
    ) -> list[tuple[float, str]]:
        """Names needn't be unique within a file: the most complex ones are compared first."""
        old = defaultdict(list)
        for name, complexity in sorted(before, key=lambda f: f[1]):
            old[name].append(complexity)
        found = []
        for name, complexity in sorted(after, key=lambda f: -f[1]):
            known = old[name].pop() if old[name] else 0
            over = float(complexity - max(known, self.limit))
            if over > 0:
                found.append((over, str(name)))
        return found
