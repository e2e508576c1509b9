"""The record of an episode, as frozen data: what was said, called, answered and scored."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from repodrome.tools.base import Todo

StopReason = Literal[
    "finished",  # the agent said it was done
    "max_turns",  # truncated
    "wall_time",  # truncated
    "max_tool_calls",  # truncated
    "max_context",  # truncated: the agent's model has no room for the context
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
    reasoning: str = ""
    """What the model thought before it answered, where its server says so; no part of messages."""


class ToolResult(Frozen):
    """What came back for one call.

    Attributes:
        call_id: the :class:`ToolCall` it answers.
        text: what the agent read.
        error: code of the :class:`~repodrome.errors.ToolError`, or ``""``.
        data: JSON-able facts from the tool.
        truncated: something was cut.
        seconds: wall time of the call.
        began: seconds from the start of the turn's calls to the start of this one.
        tool: the tool's own name, whatever the agent calls it; ``""`` for an unknown one.
        hint: for a failed call, what would help; the agent has read it only where its task says so.
    """

    call_id: str
    name: str
    text: str
    error: str = ""
    data: dict[str, Any] = {}
    truncated: bool = False
    seconds: float = 0.0
    began: float = 0.0
    tool: str = ""
    hint: str = ""


SaidKind = Literal[
    "summary_request",  # the context is full
    "answer",  # the user, to a question
    "interrupt",  # the user, unasked, while the agent works
    "change",  # the user wants something else now
]


class Said(Frozen):
    """A message that the agent got beside its results.

    Attributes:
        kind: what it is.
        text: what the agent read.
        rule: index of the task's ``[[user.rules]]`` entry that said it; None for others.
    """

    kind: SaidKind
    text: str
    rule: int | None = None


class Step(Frozen):
    """One turn and what came back for it.

    Attributes:
        said: what else the agent was told, after the results, in the same message list.
        observation: all of it as one text; of a turn that began a new context, what that opens
            with.
        segment: index of the context in which the turn was played.
        tokens: of that context after the turn, tool schemas included.
    """

    index: int
    turn: AssistantTurn
    results: tuple[ToolResult, ...] = ()
    said: tuple[Said, ...] = ()
    observation: str = ""
    seconds: float = 0.0
    segment: int = 0
    tokens: int = 0

    @property
    def hints(self) -> dict[str, str]:
        """Call id → hint, of the calls that failed."""
        return {result.call_id: result.hint for result in self.results if result.hint}


SegmentTrigger = Literal[
    "",  # it has not ended, or the episode ended in it
    "budget",  # full, and the agent summarised
    "no_summary",  # full, and the agent gave no summary
]


class Opening(Frozen):
    """How a context began.

    Attributes:
        index: of its segment, from 0.
        first_step: the first step that is played in it.
        trigger: why the context before it ended.
        summary: the agent's summary of what was before, as the context holds it.
        messages: with which it begins, in chat-completions form.
        tokens: of these messages and the tool schemas.
    """

    index: int = 0
    first_step: int = 0
    trigger: SegmentTrigger = ""
    summary: str = ""
    messages: tuple[dict[str, Any], ...] = ()
    tokens: int = 0


class Segment(Frozen):
    """One context of an episode, as a trainer takes it: each has the episode's final reward.

    Attributes:
        index: from 0.
        first_step, steps: the steps that were played in it: the first one's index, and how many.
        messages: all of it, in chat-completions form.
        tokens: of it, tool schemas included.
        trigger: why it ended.
        summary: what the agent summarised at its end, as the next one holds it.
    """

    index: int
    first_step: int
    steps: int
    messages: tuple[dict[str, Any], ...]
    tokens: int
    trigger: SegmentTrigger = ""
    summary: str = ""


class Trajectory(Frozen):
    """Everything that happened in an episode, without the reward.

    Attributes:
        renamed: what the agent knew by another name: ``"tool"`` or ``"tool.parameter"`` → its name.
        openings: how each of its contexts began; empty in records of older versions.
    """

    task_id: str
    seed: int
    sandbox: str
    steps: tuple[Step, ...] = ()
    openings: tuple[Opening, ...] = ()
    stop_reason: StopReason | None = None
    final_message: str = ""
    infra_error: str = ""
    renamed: dict[str, str] = {}

    @property
    def todos(self) -> tuple[Todo, ...]:
        """The agent's plan as it was at the end."""
        for step in reversed(self.steps):
            for result in reversed(step.results):
                if result.tool == "todo_write" and not result.error:
                    return tuple(
                        Todo(todo["text"], todo["status"]) for todo in result.data["todos"]
                    )
        return ()

    def own_arguments(self, call: ToolCall, tool: str) -> dict[str, Any]:
        """A call's arguments by the parameters' own names; empty where they were no object.

        Args:
            call: the call as the agent made it.
            tool: the tool's own name, as its result has it.
        """
        if isinstance(call.arguments, str):
            return {}
        prefix = f"{tool}."
        own = {
            name: key.removeprefix(prefix)
            for key, name in self.renamed.items()
            if key.startswith(prefix)
        }
        return {own.get(name, name): value for name, value in call.arguments.items()}


def storable(text: str) -> str:
    """The text with what UTF-8 can't hold (lone surrogates from file names) replaced."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="replace").decode()
    return text
