"""What has happened in an episode so far: the part of it that a snapshot or a fork copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from repodrome.envs.calls import interrupted
from repodrome.envs.prompt import observation_of, turn_messages
from repodrome.envs.trajectory import AssistantTurn, Step, StopReason, ToolResult


@dataclass
class Record:
    """The conversation, the steps, the limits used, and how it ended.

    Attributes:
        messages: in chat-completions form; a list that only ever grows.
        stop_reason: why the episode is over; None while it goes on.
        final_message: what the agent said last.
        infra_error: what the machine did wrong, or ``""``.
        spent: seconds inside of steps; a trainer may leave an episode idle for minutes.
        calls: tool calls run.
    """

    messages: list[dict[str, Any]]
    steps: list[Step] = field(default_factory=list)
    stop_reason: StopReason | None = None
    final_message: str = ""
    infra_error: str = ""
    spent: float = 0.0
    calls: int = 0

    def copy(self) -> Record:
        """An equal one with lists of its own: whoever holds the old ones sees nothing of it."""
        return replace(self, messages=list(self.messages), steps=list(self.steps))

    def add(self, turn: AssistantTurn, found: Sequence[ToolResult | None], seconds: float) -> Step:
        """Note a turn that was played.

        Args:
            turn: the turn.
            found: the result of each of its calls; None for one that was cut short.
            seconds: how long it took; already part of ``spent``.
        """
        if turn.malformed:
            found, turn = (), turn.model_copy(update={"tool_calls": ()})
        code = "wall_time" if self.stop_reason == "wall_time" else "closed"
        results = tuple(
            result if result is not None else interrupted(call, code)
            for call, result in zip(turn.tool_calls, found, strict=True)
        )
        observation = observation_of(turn, results)
        step = Step(
            index=len(self.steps),
            turn=turn,
            results=results,
            observation=observation,
            seconds=seconds,
        )
        self.steps.append(step)
        self.messages.extend(turn_messages(turn, results, observation))
        return step
