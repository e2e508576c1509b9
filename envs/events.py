"""What an episode tells whoever watches it, as it happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from repodrome.envs.rewards.base import RewardReport
from repodrome.envs.trajectory import AssistantTurn, Opening, Step, StopReason, ToolCall, ToolResult

EventKind = Literal[
    "progress",  # text: a line about set-up
    "started",  # the sandbox is ready; seconds: how long that took
    "turn",  # turn: the agent's turn as it was read
    "call",  # call: a tool call begins
    "result",  # call and result: it ended
    "step",  # step: the turn and all its results
    "segment",  # opening: a context begins
    "stopped",  # stop_reason
    "scored",  # report; seconds: how long grading took
    "closed",
]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; only the fields named beside its kind are set."""

    kind: EventKind
    text: str = ""
    seconds: float = 0.0
    turn: AssistantTurn | None = None
    call: ToolCall | None = None
    result: ToolResult | None = None
    step: Step | None = None
    opening: Opening | None = None
    stop_reason: StopReason | None = None
    report: RewardReport | None = None


EventHandler = Callable[[Event], None]
