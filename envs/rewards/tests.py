"""The execution reward: did the hidden tests pass?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from repodrome.envs.grading.verdict import TestStatus
from repodrome.envs.rewards.base import RewardContext, RewardResult


@dataclass(frozen=True, slots=True)
class TestsReward:
    """1.0 when resolved; range [0, 1].

    Attributes:
        mode: ``strict``: all or nothing. ``fractional``: the share of FAIL_TO_PASS that pass, as
            long as every PASS_TO_PASS passes; a verifier's own score where it names no tests.
    """

    __test__: ClassVar[bool] = False
    name: ClassVar[str] = "tests"
    auxiliary: ClassVar[bool] = False

    mode: Literal["strict", "fractional"] = "strict"

    def __post_init__(self) -> None:
        if self.mode not in ("strict", "fractional"):
            raise ValueError(f"mode is {self.mode!r}; give 'strict' or 'fractional'")

    def __call__(self, context: RewardContext) -> RewardResult:
        """Score the verdict; evidence of tampering is worth nothing."""
        verdict = context.verdict
        asked, guarded = verdict.fail_to_pass, verdict.pass_to_pass
        passed = sum(s is TestStatus.PASSED for s in asked.values())
        kept = sum(s is TestStatus.PASSED for s in guarded.values())
        parts = {
            "resolved": float(verdict.resolved),
            "fail_to_pass": passed / len(asked) if asked else 0.0,
            "pass_to_pass": kept / len(guarded) if guarded else 1.0,
        }
        notes = [f"{passed} of {len(asked)} asked-for tests pass"] if asked else []
        notes += [f"{len(guarded) - kept} tests no longer pass"] if kept < len(guarded) else []
        notes += ["the tests ran past their time"] if verdict.timed_out else []
        if verdict.tampering:
            value = 0.0
            notes = [f"tampering: {evidence}" for evidence in verdict.tampering]
        elif self.mode == "strict" or verdict.resolved:
            value = float(verdict.resolved)
        elif asked:
            value = parts["fail_to_pass"] if kept == len(guarded) else 0.0
        elif guarded:
            value = 0.0
        else:
            value = min(1.0, max(0.0, verdict.score or 0.0))
        return RewardResult(value=value, parts=parts, notes=tuple(notes))
