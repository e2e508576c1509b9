"""What a reward is: frozen parameters and a pure, bounded function of the record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Protocol, Self, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from repodrome.envs.grading.suspicion import Flag, suspicions
from repodrome.envs.grading.verdict import Verdict
from repodrome.envs.rewards.lines import FileDelta, deltas
from repodrome.envs.sandbox.base import Change
from repodrome.envs.trajectory import Step, Trajectory
from repodrome.tasks.model import Task


class RewardContext(BaseModel):
    """All that a reward may look at; everything in it can be read back from a stored trajectory.

    Attributes:
        pristine: path → content before, of changed files that are not too large.
        reference_lines: lines that the reference solution adds and removes; None if not known.
        evidence: what :class:`Gathering` rewards found out, by :attr:`Gathering.evidence`.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    task: Task
    trajectory: Trajectory
    change: Change
    verdict: Verdict
    pristine: Mapping[str, bytes] = {}
    reference_lines: int | None = None
    evidence: Mapping[str, Any] = {}

    @cached_property
    def deltas(self) -> tuple[FileDelta, ...]:
        """The change, line by line."""
        return deltas(self.change, self.pristine)

    @cached_property
    def flags(self) -> tuple[Flag, ...]:
        """What looks suspicious."""
        return suspicions(self.trajectory, self.change, self.pristine)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, but what was worked out from the old fields stays behind."""
        copied = super().model_copy(update=update, deep=deep)
        for name in ("deltas", "flags"):
            copied.__dict__.pop(name, None)
        return copied


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
    """One line of a report: ``weight * value`` counts towards the total, unless gated.

    Attributes:
        auxiliary: gated on the execution rewards.
        spec: the name that it is made by, where that is another (``rewards.py:Mine``).
        params: the reward's own parameters, so that it can be made again from the report.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    weight: float
    value: float
    gated: bool = False
    auxiliary: bool = False
    parts: dict[str, float] = {}
    notes: tuple[str, ...] = ()
    spec: str = ""
    params: dict[str, Any] = {}


class RewardReport(BaseModel):
    """The score of one episode. ``total`` is None exactly when the episode is infra-failed.

    Attributes:
        rules: version of the rules file that scored it, ``""`` without one.
        training_step: the trainer's step, on which scheduled weights depend; None if not given.
        flags: what looks suspicious; it changes no reward by itself.
    """

    model_config = ConfigDict(frozen=True)

    total: float | None
    rewards: tuple[RewardPart, ...] = ()
    infra_failed: bool = False
    infra_error: str = ""
    verdict: Verdict | None = Field(default=None)
    rules: str = ""
    training_step: int | None = None
    flags: tuple[Flag, ...] = ()


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


@runtime_checkable
class Gathering(Reward, Protocol):
    """A reward that needs facts from outside of the record: a linter's word, a judge's.

    They are asked for once, kept with the trajectory, and read from there by ``__call__``, which
    stays pure: scoring again gives the same value even where the linter is a newer one.

    Attributes:
        evidence: the key under which they are kept; equal keys are gathered once.
    """

    @property
    def evidence(self) -> str: ...

    def gather(self, context: RewardContext) -> Any:
        """Find them out; JSON-able. May block: it is called in a thread.

        Raises:
            InfraError: the machine, or a service, failed.
        """


@runtime_checkable
class Stepwise(Reward, Protocol):
    """A reward whose value is known, in part, while the episode still goes on."""

    def watch(self, task: Task, renamed: Mapping[str, str]) -> Callable[[Step], float]:
        """A function that is told each step in order, and returns the value so far.

        At the end of the episode ``__call__`` may know more.

        Args:
            task: the task.
            renamed: as in :class:`~repodrome.envs.trajectory.Trajectory`.
        """
