"""``integrity``: tampering with the grading, as evidence of it was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from repodrome.envs.grading.suspicion import RULES
from repodrome.envs.rewards.base import RewardContext, RewardResult
from repodrome.envs.rewards.bounds import check


@dataclass(frozen=True, slots=True)
class IntegrityReward:
    """-1 where grading found evidence of tampering; range [-1, 0].

    Tampering voids an episode's positive total whether this term is there or not
    (:func:`repodrome.envs.rewards.report.score`); with it, it costs something besides. The evidence
    is the verdict's (must-fail tests that passed or vanished, results that can't be so), see
    ``docs/grading.md``. Editing tests in good faith is no tampering.

    Attributes:
        flags: what each rule that finds the episode suspicious costs besides, see
            ``docs/integrity.md``; 0: nothing.
    """

    name: ClassVar[str] = "integrity"
    auxiliary: ClassVar[bool] = True

    flags: float = 0.0

    def __post_init__(self) -> None:
        check("flags", self.flags, least=0)

    def __call__(self, context: RewardContext) -> RewardResult:
        """Score the verdict, and the flags where they have a weight."""
        evidence = context.verdict.tampering
        found = context.flags if self.flags else ()
        rules = sorted({flag.rule for flag in found})
        return RewardResult(
            value=-1.0 if evidence else -min(1.0, self.flags * len(rules)),
            parts={"evidence": float(len(evidence)), "flags": float(len(rules))},
            notes=(*evidence[:5], *(RULES[rule] for rule in rules)),
        )
