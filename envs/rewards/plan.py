"""Which rewards score an episode: the task's own or given ones, and the rules of that moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from repodrome.envs.rewards.base import RewardContext, RewardReport
from repodrome.envs.rewards.record import with_evidence
from repodrome.envs.rewards.report import RewardLike, Term, score, terms_of
from repodrome.envs.rewards.rules import RulesFile
from repodrome.errors import UsageError
from repodrome.tasks.model import Task


@dataclass(frozen=True, slots=True)
class RewardPlan:
    """How an episode of a task will be scored.

    Attributes:
        task: the task.
        given: the terms instead of the task's own.
        rules: looked at when the episode is scored, not before.
    """

    task: Task
    given: Sequence[RewardLike] | None = None
    rules: RulesFile | None = None

    def __post_init__(self) -> None:
        """Refuse what would be taken for a list.

        Raises:
            UsageError: the terms are one name or one table.
        """
        if isinstance(self.given, (str, Mapping)):
            raise UsageError(f"rewards is a list of terms; write rewards=[{self.given!r}]")

    def terms(self, training_step: int | None = None) -> tuple[list[Term], str]:
        """The terms of this moment, and the version of the rules.

        Raises:
            UsageError: a reward can't be made.
        """
        given = self.task.rewards if self.given is None else self.given
        if self.rules is None:
            terms = terms_of(given, folder=self.task.folder, training_step=training_step)
            return terms, ""
        rules = self.rules.current()
        return rules.terms(self.task, given, training_step), rules.version

    def score(
        self, context: RewardContext, training_step: int | None = None
    ) -> tuple[RewardReport, RewardContext]:
        """Score an episode. Blocks while evidence is gathered.

        Returns:
            The report, and the context with that evidence, to be kept.

        Raises:
            InfraError: a linter or a judge failed.
            UsageError: a reward can't be made.
        """
        terms, version = self.terms(training_step)
        context = with_evidence(context, (term.reward for term in terms))
        report = score(context, terms, rules=version, training_step=training_step)
        return report, context
