"""``integrity``: tampering with the grading, as evidence of it was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from repodrome.envs.rewards.base import RewardContext, RewardResult


@dataclass(frozen=True, slots=True)
class IntegrityReward:
    """-1 where grading found evidence of tampering, else 0; range [-1, 0].

    Tampering voids an episode's positive total whether this term is there or not
    (:func:`repodrome.envs.rewards.report.score`); with it, it costs something besides. The evidence
    is the verdict's (must-fail tests that passed or vanished, results that can't be so), see
    ``docs/grading.md``. Editing tests in good faith is no tampering.
    """

    name: ClassVar[str] = "integrity"
    auxiliary: ClassVar[bool] = True

    def __call__(self, context: RewardContext) -> RewardResult:
        """Score the verdict."""
        evidence = context.verdict.tampering
        return RewardResult(
            value=-1.0 if evidence else 0.0,
            parts={"evidence": float(len(evidence))},
            notes=tuple(evidence[:5]),
        )
