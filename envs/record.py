"""What has happened in an episode so far: the part of it that a snapshot or a fork copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from repodrome.envs.calls import interrupted
from repodrome.envs.prompt import observation_with, step_messages
from repodrome.envs.tokens import MessageCounter
from repodrome.envs.trajectory import (
    AssistantTurn,
    Opening,
    Said,
    SegmentTrigger,
    Step,
    StopReason,
    ToolResult,
)


@dataclass
class Record:
    """The conversation, the steps, the limits used, and how it ended.

    Attributes:
        counter: counts the context's tokens.
        schema_tokens: what the tool schemas take of each context.
        openings: how each context began, the present one last.
        messages: the present context in chat-completions form; only ever appended to, until the
            next context begins with a list of its own.
        tokens: of the present context.
        asked: how often a summary has been asked for in this context.
        stop_reason: why the episode is over; None while it goes on.
        final_message: what the agent said last.
        infra_error: what the machine did wrong, or ``""``.
        spent: seconds inside of steps; a trainer may leave an episode idle for minutes.
        calls: tool calls run.
    """

    counter: MessageCounter
    schema_tokens: int = 0
    openings: list[Opening] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    tokens: int = 0
    asked: int = 0
    steps: list[Step] = field(default_factory=list)
    stop_reason: StopReason | None = None
    final_message: str = ""
    infra_error: str = ""
    spent: float = 0.0
    calls: int = 0

    def copy(self) -> Record:
        """An equal one with lists of its own: whoever holds the old ones sees nothing of it."""
        return replace(
            self,
            openings=list(self.openings),
            messages=list(self.messages),
            steps=list(self.steps),
        )

    def open(
        self,
        messages: Sequence[Mapping[str, Any]],
        trigger: SegmentTrigger = "",
        summary: str = "",
    ) -> Opening:
        """Begin the first context, or the next one."""
        self.messages = [dict(message) for message in messages]
        self.tokens = self.schema_tokens + self.counter.messages(self.messages)
        self.asked = 0
        opening = Opening(
            index=len(self.openings),
            first_step=len(self.steps),
            trigger=trigger,
            summary=summary,
            messages=tuple(self.messages),
            tokens=self.tokens,
        )
        self.openings.append(opening)
        if self.steps:
            shown = {"observation": self.messages[-1]["content"]}
            self.steps[-1] = self.steps[-1].model_copy(update=shown)
        return opening

    def tokens_with(self, turn: AssistantTurn) -> int:
        """The size of the context with a turn that has no results yet."""
        bare = Step(index=0, turn=turn)
        return self.tokens + self.counter.messages(step_messages(bare))

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
        step = Step(
            index=len(self.steps),
            turn=turn,
            results=results,
            seconds=seconds,
            segment=self.openings[-1].index,
        )
        self.steps.append(step)
        self._show(step)
        return self.steps[-1]

    def say(self, *said: Said) -> None:
        """Tell the agent something beside the last step's results, before it has read them."""
        last = self.steps[-1]
        shown = step_messages(last)
        del self.messages[-len(shown) :]
        self.tokens -= self.counter.messages(shown)
        self._show(last.model_copy(update={"said": last.said + said}))

    def _show(self, step: Step) -> None:
        """Put the last step at the end of the context."""
        shown = step_messages(step)
        self.messages.extend(shown)
        self.tokens += self.counter.messages(shown)
        self.steps[-1] = step.model_copy(
            update={"observation": observation_with(step), "tokens": self.tokens}
        )
