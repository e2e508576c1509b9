"""How an episode went."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repodrome.envs.rewards.base import RewardReport
from repodrome.envs.trajectory import StopReason


@dataclass(frozen=True, slots=True)
class Result:
    """How one episode went.

    Attributes:
        task: the task's id.
        report: None when the episode was never scored.
        infra_failed: the machine failed; there is no reward, which is not a reward of 0.
        steps: agent turns.
        segments: contexts; 1 unless a context budget was reached.
        usage: token counts as the agent's model reported them, over all turns.
        timings: seconds: ``start`` (set-up and reset), ``agent`` (waiting for its turns),
            ``tools``, ``score`` and ``total``.
        trajectory: the file, None where none was asked for.
    """

    task: str
    agent: str
    sandbox: str
    seed: int
    report: RewardReport | None = None
    stop_reason: StopReason | None = None
    terminated: bool = False
    truncated: bool = False
    infra_failed: bool = False
    infra_error: str = ""
    steps: int = 0
    segments: int = 0
    usage: dict[str, int] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    trajectory: Path | None = None

    @property
    def reward(self) -> float | None:
        """The total; None when infra-failed or not scored."""
        if self.infra_failed or self.report is None:
            return None
        return self.report.total

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        report = self.report
        return {
            "task": self.task,
            "agent": self.agent,
            "sandbox": self.sandbox,
            "seed": self.seed,
            "reward": self.reward,
            "rewards": [] if report is None else [part.model_dump() for part in report.rewards],
            "stop_reason": self.stop_reason,
            "terminated": self.terminated,
            "truncated": self.truncated,
            "infra_failed": self.infra_failed,
            "infra_error": self.infra_error,
            "steps": self.steps,
            "segments": self.segments,
            "usage": self.usage,
            "timings": {phase: round(seconds, 4) for phase, seconds in self.timings.items()},
            "trajectory": None if self.trajectory is None else str(self.trajectory),
        }
