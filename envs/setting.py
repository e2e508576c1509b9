"""What an episode is played with: settled before anything starts, and shared with its forks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from repodrome.envs.context import ContextBudget, budget_for
from repodrome.envs.prompt import initial_messages
from repodrome.envs.sandbox.base import SandboxBackend
from repodrome.envs.tokens import Tokenizer
from repodrome.envs.toolsets import toolbox_for
from repodrome.envs.user import FirstOf, RuleUser, SimulatedUser
from repodrome.tasks.model import Task

if TYPE_CHECKING:
    from pathlib import Path

    from repodrome.envs.rewards.plan import RewardPlan
    from repodrome.envs.rewards.report import RewardLike
    from repodrome.envs.rewards.rules import RulesFile
    from repodrome.tools.toolbox import Toolbox


@dataclass(frozen=True, slots=True)
class Setting:
    """What is settled about an episode.

    Attributes:
        task: what it is about.
        seed: of the episode.
        backend: makes its sandboxes.
        toolbox: the agent's tools.
        plan: how it is scored.
        budget: the arithmetic of its context.
        user: who is asked after each turn, if anybody.
        initial: the first messages.
    """

    task: Task
    seed: int
    backend: SandboxBackend
    toolbox: Toolbox
    plan: RewardPlan
    budget: ContextBudget
    user: SimulatedUser | None
    initial: Sequence[Mapping[str, Any]]


def settle(
    task: Task | str,
    *,
    seed: int,
    backend: SandboxBackend | str,
    context_budget: int | None,
    tokenizer: Tokenizer | str | None,
    rewards: Sequence[RewardLike] | None,
    rules: RulesFile | Path | str | None,
    user: SimulatedUser | None,
) -> Setting:
    """Look everything up that is given by name. Args and errors are those of ``Episode.start``."""
    # Imported here: together they cost more than a light user of this module should pay.
    from repodrome.envs.rewards.plan import RewardPlan
    from repodrome.envs.rewards.rules import rules_file
    from repodrome.envs.sandbox.registry import get_backend
    from repodrome.tasks.suites import resolve_task

    if isinstance(task, str):
        task = resolve_task(task)
    if isinstance(backend, str):
        backend = get_backend(backend)
    toolbox = toolbox_for(task, seed)
    initial = initial_messages(task, toolbox.name_of("finish"))
    if user is None:
        user = user_of(task)
    budget = budget_for(task.context, toolbox, initial, context_budget, tokenizer)
    plan = RewardPlan(task, rewards, rules_file(rules))
    plan.terms()  # a wrong name is said now, not after an hour of play
    return Setting(task, seed, backend, toolbox, plan, budget, user, initial)


def user_of(task: Task) -> SimulatedUser | None:
    """The simulated user of a task; None where it has none.

    Raises:
        UsageError: the task's user is a model, and this process knows no endpoint for it.
    """
    spec = task.user
    if not spec.present:
        return None
    users: list[SimulatedUser] = []
    if spec.rules:
        users.append(RuleUser(spec.rules))
    if spec.model:
        from repodrome.envs.user_model import ModelUser

        users.append(ModelUser.from_environment(task.instruction, spec))
    return users[0] if len(users) == 1 else FirstOf(users)
