"""The agent that plays a file of turns, for demonstrations, tests and repeats."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repodrome.envs.actions import parse_turn
from repodrome.envs.trajectory import AssistantTurn, Step
from repodrome.errors import UsageError
from repodrome.harness.agents.base import AgentContext

_FORM = (
    "write a JSON list, or one JSON value a line, of turns such as "
    '{"content": "…", "tool_calls": [{"name": "read_file", "arguments": {"path": "x.py"}}]}'
)


@dataclass(frozen=True, slots=True)
class Summary:
    """A turn for the place where a summary is asked for; elsewhere it is left out."""

    turn: AssistantTurn


Scripted = str | Mapping[str, Any] | AssistantTurn | Summary


class ScriptedAgent:
    """Plays the given turns in order, then finishes.

    Asked for a summary it gives the next one of the script (``{"summary": "…"}``) where that comes
    next, else one of its own; the other turns are kept for later.

    Args:
        turns: actions in any form that :mod:`repodrome.envs.actions` reads, and summaries.
        name: as results show it.
    """

    interactive = False
    all_tools = False

    def __init__(self, turns: Sequence[Scripted], *, name: str = "scripted") -> None:
        self.name = name
        self._turns = [_summary(turn) or turn for turn in turns]
        self._next = 0

    @classmethod
    def from_file(cls, path: str | Path) -> ScriptedAgent:
        """Read a JSON list of turns, or JSON lines; a trajectory file plays its own turns again.

        Raises:
            UsageError: missing, not JSON, or not a list of turns; file, line and form are named.
        """
        return cls(load_turns(Path(path)), name=f"scripted:{path}")

    async def act(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        context: AgentContext,
    ) -> AssistantTurn:
        """The next turn of the script; a plain message without calls once it is used up."""
        turn = self._turn_for(context.summary_wanted)
        return parse_turn(turn, turn=self._next - 1)

    def _turn_for(self, summary_wanted: bool) -> str | Mapping[str, Any] | AssistantTurn:
        while self._next < len(self._turns):
            turn = self._turns[self._next]
            if summary_wanted and not isinstance(turn, Summary):
                return f"{self._next} of the script's {len(self._turns)} turns are played."
            self._next += 1
            if not isinstance(turn, Summary):
                return turn
            if summary_wanted:
                return turn.turn
        return "The script is used up."


def _summary(turn: Scripted) -> Summary | None:
    """A script's ``{"summary": "…"}`` as what it stands for."""
    if isinstance(turn, Mapping) and isinstance(turn.get("summary"), str):
        return Summary(AssistantTurn(content=turn["summary"]))
    return None


def load_turns(path: Path) -> list[Scripted]:
    """The turns of a script file.

    Raises:
        UsageError: missing, not JSON, or not turns.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"can't read the script {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the script {path} is not UTF-8 text; {_FORM}") from error
    rows = _rows(path, text)
    if rows and isinstance(rows[0][1], dict) and rows[0][1].get("type") == "header":
        from repodrome.harness.trajectory import read_trajectory

        return _played(read_trajectory(path).steps)
    if not rows:
        raise UsageError(f"the script {path} holds no turns; {_FORM}")
    for where, row in rows:
        if not isinstance(row, str | dict):
            raise UsageError(
                f"{path} {where}: a turn is an object or a string, not {_kind(row)}; {_FORM}"
            )
    return [row for _, row in rows]


def _played(steps: Sequence[Step]) -> list[Scripted]:
    """A recording's turns; those that answered a request for a summary as such."""
    turns: list[Scripted] = []
    asked = False
    for step in steps:
        turns.append(Summary(step.turn) if asked else step.turn)
        asked = any(said.kind == "summary_request" for said in step.said)
    return turns


def _rows(path: Path, text: str) -> list[tuple[str, Any]]:
    """Every value with where it stands; JSON first, JSON lines where that fails."""
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as whole_error:
        rows: list[tuple[str, Any]] = []
        for number, line in enumerate(text.split("\n"), start=1):
            if not line.strip():
                continue
            try:
                rows.append((f"line {number}", json.loads(line)))
            except json.JSONDecodeError as error:
                one_value = text.lstrip().startswith("[")
                line_at = whole_error.lineno if one_value else number
                shown = whole_error if one_value else error
                raise UsageError(
                    f"{path} line {line_at} column {shown.colno} is not JSON: {shown.msg}; {_FORM}"
                ) from error
        return rows
    if isinstance(whole, list):
        return [(f"turn {number}", row) for number, row in enumerate(whole, start=1)]
    return [("turn 1", whole)]


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", list: "a list"}
    return names.get(type(value), type(value).__name__)
