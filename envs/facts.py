"""What can be read of an episode at any time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from repodrome.envs.play import Play
from repodrome.envs.prompt import segments_of
from repodrome.envs.record import Record
from repodrome.envs.setting import Setting
from repodrome.envs.trajectory import Segment, Step, StopReason, Trajectory

if TYPE_CHECKING:
    from repodrome.envs.rewards.report import RewardLike

_TRUNCATED: frozenset[StopReason] = frozenset(
    ("max_turns", "wall_time", "max_tool_calls", "max_context", "closed", "infra")
)


class EpisodeFacts:
    """An episode as far as it is only looked at.

    Attributes:
        task: what it is about.
        seed: of the episode; members of a group share it.
        backend: what made its sandbox.
    """

    def __init__(self, setting: Setting, play: Play) -> None:
        self.task = setting.task
        self.seed = setting.seed
        self.backend = setting.backend
        self._setting = setting
        self._play = play
        self._schemas: list[dict[str, Any]] | None = None

    @property
    def _record(self) -> Record:
        return self._play.record

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The present context in chat-completions form. Don't change it.

        It only ever grows, until the context budget is reached: then the next one begins, as a list
        of its own. :attr:`segments` has all of them.
        """
        return self._record.messages

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Every context so far, the present one last; each has the episode's final reward."""
        return segments_of(self._record.openings, self._record.steps)

    @property
    def segment(self) -> int:
        """The index of the present context."""
        return len(self._record.openings) - 1

    @property
    def tokens(self) -> int:
        """The size of the present context, tool schemas included."""
        return self._record.tokens

    @property
    def summary_wanted(self) -> bool:
        """The context is full: the next turn is to be a summary, as plain text."""
        return self._record.asked > 0

    @property
    def tools(self) -> list[dict[str, Any]]:
        """The schemas of the agent's tools, in chat-completions form. Don't change them."""
        if self._schemas is None:
            self._schemas = self._setting.toolbox.schemas()
        return self._schemas

    @property
    def given_rewards(self) -> Sequence[RewardLike] | None:
        """The reward terms in place of the task's own; None: the task's."""
        return self._setting.plan.given

    @property
    def context_budget(self) -> int:
        """Tokens that a context may hold; 0: no bound."""
        return self._setting.budget.tokens

    @property
    def steps(self) -> Sequence[Step]:
        """The steps so far."""
        return self._record.steps

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the episode is over; None while it goes on."""
        return self._record.stop_reason

    @property
    def terminated(self) -> bool:
        """The agent has finished."""
        return self._record.stop_reason == "finished"

    @property
    def truncated(self) -> bool:
        """A limit, the caller or an infrastructure failure ended it."""
        return self._record.stop_reason in _TRUNCATED

    @property
    def infra_failed(self) -> bool:
        """The machine failed: the episode says nothing about the agent and has no reward."""
        return bool(self._record.infra_error)

    @property
    def infra_error(self) -> str:
        """What failed, or ``""``."""
        return self._record.infra_error

    @property
    def trajectory(self) -> Trajectory:
        """The record so far, built anew at each call."""
        return Trajectory(
            task_id=self.task.id,
            seed=self.seed,
            sandbox=self.backend.name,
            steps=tuple(self._record.steps),
            openings=tuple(self._record.openings),
            stop_reason=self._record.stop_reason,
            final_message=self._record.final_message,
            infra_error=self._record.infra_error,
            renamed=self._setting.toolbox.renamed,
        )
