"""How an agent went about its work: what a step shows of misuse, found as the steps come."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from repodrome.envs.rewards import shell
from repodrome.envs.trajectory import Step, ToolCall, ToolResult
from repodrome.tasks.model import Task

KINDS: Mapping[str, str] = {
    "malformed_turn": "a turn that could not be read",
    "invalid_arguments": "a call whose arguments are wrong",
    "unknown_tool": "a call of a tool that isn't there",
    "failed_edit": "an edit that could not be applied",
    "failed_call": "another call that was refused",
    "identical_repeat": "the same call again, with nothing changed in between",
    "reread": "lines read again that had not changed",
    "terminal_for_tool": "a terminal command for what a tool does",
    "destructive": "a command that throws work away",
    "ignored_truncation": "a cut answer taken for the whole",
    "out_of_scope": "a file changed that is not the task's",
    "unfinished_todo": "a todo left open at the end",
}
"""What counts as misuse; the last two are known only at the end."""

_CODES = {
    "unknown_tool": "unknown_tool",
    "invalid_json": "invalid_arguments",
    "invalid_arguments": "invalid_arguments",
}
_NOBODYS = frozenset({"", "infra", "closed", "wall_time", "finished", "failed", "call_limit"})
"""Error codes that are no misuse: the machine's, a limit's, or a tool that ran and said no."""
_EDITORS = frozenset({"edit_file", "write_file", "delete_file", "apply_patch"})
_LOOKERS = frozenset(
    {"read_file", "list_dir", "glob", "grep", "semantic_search", "read_lints", "todo_write"}
)
"""Tools that change no file."""
_REPEATABLE = frozenset({"finish", "terminal_job", "todo_write"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One misuse: its kind, and the step (and call in it) that shows it."""

    kind: str
    step: int
    call: int = 0


@dataclass(slots=True)
class _Read:
    """What is known of one file: the ranges that were shown, and how long it is."""

    ranges: list[tuple[int, int]] = field(default_factory=list)
    total: int = 0
    cut: bool = False

    def covers(self, first: int, last: int) -> bool:
        for start, end in sorted(self.ranges):
            if start <= first <= end:
                first = end + 1
        return first > last

    @property
    def whole(self) -> bool:
        return self.covers(1, self.total)


class Conduct:
    """Looks at one step after the other. Costs microseconds a call.

    Args:
        task: says which tools the agent has.
        renamed: what the agent knew by another name, as in the trajectory.
    """

    def __init__(self, task: Task, renamed: Mapping[str, str]) -> None:
        self._tools = task.tools
        self._parameter = renamed.get("terminal.command", "command")
        self._limit = renamed.get("read_file.limit", "limit")
        self._segment = 0
        self._reads: dict[str, _Read] = {}
        self._answers: dict[tuple[str, str], str] = {}
        self._truncated: set[tuple[str, str]] = set()

    def feed(self, step: Step) -> list[Finding]:
        """What this step shows."""
        if step.segment != self._segment:
            # A new context: what was read in the old one is forgotten, by the agent too.
            self._segment = step.segment
            self._answers.clear()
            self._truncated.clear()
            self._reads.clear()
        if step.turn.malformed:
            return [Finding("malformed_turn", step.index)]
        found = []
        for place, (call, result) in enumerate(
            zip(step.turn.tool_calls, step.results, strict=False)
        ):
            kinds = self._call(call, result)
            found += [Finding(kind, step.index, place) for kind in kinds]
        return found

    def _call(self, call: ToolCall, result: ToolResult) -> Iterable[str]:
        tool = tool_of(result)
        wrong = self._error(tool, result)
        if wrong:
            yield wrong
        if not wrong and tool == "terminal":
            yield from self._command(call, result)
        elif tool == "write_file" and not result.error:
            read = self._reads.get(path_of(result))
            if read is not None and read.cut and not read.whole:
                yield "ignored_truncation"
        yield from self._repeats(tool, call, result)

    def _error(self, tool: str, result: ToolResult) -> str:
        code = result.error
        if code in _CODES:
            return _CODES[code]
        if code in _NOBODYS:
            return ""
        return "failed_edit" if tool in _EDITORS else "failed_call"

    def _command(self, call: ToolCall, result: ToolResult) -> Iterable[str]:
        command = command_of(call, self._parameter)
        tool = shell.instead_of(command)
        if tool and self._has(tool):
            yield "terminal_for_tool"
        if shell.is_destructive(command):
            yield "destructive"

    def _has(self, tool: str) -> bool:
        included = self._tools.include is None or tool in self._tools.include
        return included and tool not in self._tools.exclude

    def _repeats(self, tool: str, call: ToolCall, result: ToolResult) -> Iterable[str]:
        if result.error in ("infra", "closed", "wall_time", "call_limit", "finished"):
            return
        key = (tool, arguments_text(call))
        # An edit that succeeds twice has changed something twice.
        idle = tool == "terminal" or tool in _LOOKERS or bool(result.error)
        again = idle and tool not in _REPEATABLE and self._answers.get(key) == result.text
        if again:
            yield "ignored_truncation" if key in self._truncated else "identical_repeat"
        elif tool == "read_file" and not result.error and self._seen(result):
            yield "reread"
        if self._changes(tool, call, result) and not again:
            self._forget(tool, result)
        self._answers[key] = result.text
        if result.truncated:
            self._truncated.add(key)
        if tool == "read_file" and not result.error:
            self._remember(call, result)

    def _changes(self, tool: str, call: ToolCall, result: ToolResult) -> bool:
        """Whether files may be others after this call."""
        if tool in _LOOKERS or (result.error and tool != "terminal"):
            return False
        return tool != "terminal" or not shell.only_looks(command_of(call, self._parameter))

    def _forget(self, tool: str, result: ToolResult) -> None:
        """What was seen may no longer be so: of the edited files, or of all."""
        self._answers.clear()
        self._truncated.clear()
        if tool in ("edit_file", "write_file", "delete_file"):
            self._reads.pop(path_of(result), None)
        else:
            self._reads.clear()

    def _seen(self, result: ToolResult) -> bool:
        first, last = range_of(result)
        read = self._reads.get(path_of(result))
        return read is not None and last >= first and read.covers(first, last)

    def _remember(self, call: ToolCall, result: ToolResult) -> None:
        first, last = range_of(result)
        if last < first:
            return
        read = self._reads.setdefault(path_of(result), _Read())
        read.ranges.append((first, last))
        read.total = number(result.data, "total_lines")
        wanted = call.arguments.get(self._limit) if isinstance(call.arguments, dict) else None
        # A piece that was asked for is no cut answer.
        as_wanted = isinstance(wanted, int) and number(result.data, "lines") >= wanted
        read.cut = read.cut or (result.truncated and not as_wanted)


def tool_of(result: ToolResult) -> str:
    """The tool's own name, whatever the task calls it."""
    return result.tool or result.name


def command_of(call: ToolCall, parameter: str = "command") -> str:
    """The command of a ``terminal`` call, ``""`` where it has none.

    Args:
        parameter: what the agent knows ``command`` by.
    """
    if isinstance(call.arguments, str):
        return ""
    command = call.arguments.get(parameter, "")
    return command if isinstance(command, str) else ""


def arguments_text(call: ToolCall) -> str:
    """The arguments as one text, equal for equal ones."""
    if isinstance(call.arguments, str):
        return call.arguments
    return json.dumps(call.arguments, sort_keys=True, default=str)


def path_of(result: ToolResult) -> str:
    """The path that a result is about, ``""`` where it names none."""
    path = result.data.get("path", "")
    return path if isinstance(path, str) else ""


def range_of(result: ToolResult) -> tuple[int, int]:
    """First and last line that a ``read_file`` showed; the last is less where it showed none."""
    first = number(result.data, "first_line")
    return first, first + number(result.data, "lines") - 1


def number(data: Mapping[str, Any], key: str) -> int:
    """A whole number among a tool's facts, 0 where it isn't there."""
    value = data.get(key, 0)
    return value if isinstance(value, int) else 0
