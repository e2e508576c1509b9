"""What plays an episode: messages and tool schemas in, one assistant turn out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from repodrome.envs.trajectory import AssistantTurn, Step
from repodrome.tasks.model import Task
from repodrome.tasks.source import Materialised


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
    """

    task: Task
    seed: int
    materialised: Materialised
    last: Step | None = None
    summary_wanted: bool = False


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
        """
