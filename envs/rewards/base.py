"""What a reward is: frozen parameters and a pure, bounded function of the record."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from repodrome.envs.grading.verdict import Verdict
from repodrome.envs.sandbox.base import Change
from repodrome.envs.trajectory import Trajectory
from repodrome.tasks.model import Task


class RewardContext(BaseModel):
    """All that a reward may look at; everything in it can be read back from a stored trajectory."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    task: Task
    trajectory: Trajectory
    change: Change
    verdict: Verdict


class RewardResult(BaseModel):
    """One reward's value.

    Attributes:
        value: in the reward's own documented range, before its weight.
        parts: named numbers that explain the value.
        notes: sentences for people.
    """

    model_config = ConfigDict(frozen=True)

    value: float
    parts: dict[str, float] = {}
    notes: tuple[str, ...] = ()


class RewardPart(BaseModel):
    """One line of a report: ``weight * value`` counts towards the total, unless gated."""

    model_config = ConfigDict(frozen=True)

    name: str
    weight: float
    value: float
    gated: bool = False
    parts: dict[str, float] = {}
    notes: tuple[str, ...] = ()


class RewardReport(BaseModel):
    """The score of one episode. ``total`` is None exactly when the episode is infra-failed."""

    model_config = ConfigDict(frozen=True)

    total: float | None
    rewards: tuple[RewardPart, ...] = ()
    infra_failed: bool = False
    infra_error: str = ""
    verdict: Verdict | None = Field(default=None)


@runtime_checkable
class Reward(Protocol):
    """A named term of the total.

    Attributes:
        name: as tasks name it, e.g. ``"tests"``.
        auxiliary: gated: it counts only when execution succeeded (style can't buy back a failure).
    """

    name: str
    auxiliary: bool

    def __call__(self, context: RewardContext) -> RewardResult:
        """Score. Pure: same context, same result."""
