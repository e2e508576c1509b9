"""The record of an episode, as frozen data: what was said, called, answered and scored."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

StopReason = Literal[
    "finished",  # the agent said it was done
    "max_turns",  # truncated
    "wall_time",  # truncated
    "max_tool_calls",  # truncated
    "closed",  # the caller ended it
    "infra",  # infra-failed
]


class Frozen(BaseModel):
    """Base of the record's models: frozen, unknown keys ignored so that newer files still load."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ToolCall(Frozen):
    """One call as the agent made it; ``arguments`` is the raw text where it was no JSON object."""

    id: str
    name: str
    arguments: dict[str, Any] | str


class AssistantTurn(Frozen):
    """One agent turn: message text and zero or more tool calls, executed in order."""

    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    malformed: str = ""
    """Why the action could not be read; such a turn is an observation and a cost."""
    usage: dict[str, int] = {}
    """Token counts as the agent's model reported them, if it did."""


class ToolResult(Frozen):
    """What came back for one call.

    Attributes:
        call_id: the :class:`ToolCall` it answers.
        text: what the agent read.
        error: code of the :class:`~repodrome.errors.ToolError`, or ``""``.
        data: JSON-able facts from the tool.
        truncated: something was cut.
        seconds: wall time of the call.
    """

    call_id: str
    name: str
    text: str
    error: str = ""
    data: dict[str, Any] = {}
    truncated: bool = False
    seconds: float = 0.0


class Step(Frozen):
    """One turn and its results."""

    index: int
    turn: AssistantTurn
    results: tuple[ToolResult, ...] = ()
    observation: str = ""
    seconds: float = 0.0


class Trajectory(Frozen):
    """Everything that happened in an episode, without the reward."""

    task_id: str
    seed: int
    sandbox: str
    steps: tuple[Step, ...] = ()
    stop_reason: StopReason | None = None
    final_message: str = ""
    infra_error: str = ""


def storable(text: str) -> str:
    """The text with what UTF-8 can't hold (lone surrogates from file names) replaced."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="replace").decode()
    return text
