"""What plays an episode: messages and tool schemas in, one assistant turn out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from repodrome.envs.trajectory import AssistantTurn, Step
from repodrome.tasks.model import Task
from repodrome.tasks.source import Materialised


def _nobody(line: str) -> None:
    """Tells nobody."""


@dataclass(frozen=True, slots=True)
class AgentContext:
    """What an agent may know beside the messages.

    Honest agents play from the messages alone; the task's folder holds the hidden tests and the
    solution, and ``materialised`` what was taken out of its source, which only the oracle looks at.

    Attributes:
        task: the task being played.
        seed: of the episode.
        materialised: the task's pristine tree and reference on the host.
        last: the step before this turn, None on the first one.
        summary_wanted: the context is full, and the turn is to be a summary, as plain text.
        tell: shows a line to whoever watches, e.g. why an answer takes its time.
    """

    task: Task
    seed: int
    materialised: Materialised
    last: Step | None = None
    summary_wanted: bool = False
    tell: Callable[[str], None] = _nobody


@runtime_checkable
class Agent(Protocol):
    """One player of one episode; it may keep state, so every episode gets a fresh one.

    Attributes:
        name: as results and trajectories show it.
        interactive: it shows the episode to a person itself, so nobody else should.
        all_tools: it is given every standard tool, whatever the task takes away. Written into the
            trajectory's header, so that a replay does the same.
    """

    name: str
    interactive: bool
    all_tools: bool

    async def act(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        context: AgentContext,
    ) -> AssistantTurn:
        """The next turn.

        Raises:
            UsageError: it can't play this task (no solution, a bad script); the fix is named.
            ContextFullError: the messages are more than it can read; the episode is truncated.
            InfraError: the machine failed, e.g. its model's server; the episode is infra-failed.
        """
