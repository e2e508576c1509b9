"""A person at a plain terminal, or a pipe of lines that stands for one."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from repodrome.envs.trajectory import AssistantTurn, ToolCall
from repodrome.harness.agents.base import AgentContext
from repodrome.harness.text import safe

HELP = """\
tool arg=value …   call a tool; quote values with spaces; @FILE reads a value
                   from a file of this machine; numbers, true/false and JSON
                   are read as such where the tool wants them
tool {"arg": …}    the same with the arguments as JSON
                   (lists: paths='["a.py", "b.py"]')
$ command          run a command in the terminal; one that goes on running:
                   terminal command=… background=true, then terminal_job
submit [message]   finish the episode (so does the end of input); or a message
                   where one is asked for: a summary, an answer to the user
tools              list the tools and their arguments
task               show the instruction again
help               this
Ctrl-C             leave without being graded"""
"""Fits 80 columns."""


class HumanAgent:
    """Reads one line a turn from a descriptor, and shows observations with controls escaped.

    Args:
        source: descriptor to read lines from.
        screen: where prompts and observations go; standard error, so that ``--json`` stays clean.
    """

    name = "human"
    interactive = True
    all_tools = False

    def __init__(self, *, source: int = 0, screen: TextIO | None = None) -> None:
        self._source = source
        self._screen = screen if screen is not None else sys.stderr
        self._buffer = b""
        self._ended = False
        self._calls = 0

    async def act(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        context: AgentContext,
    ) -> AssistantTurn:
        """Ask until a line is a turn."""
        schemas = {_schema(tool)["name"]: _schema(tool) for tool in tools}
        if context.last is None:
            self._show(self._wrapped(context.task.instruction.strip()))
            self._show("\n`help` shows what to type.")
        else:
            self._show(context.last.observation.rstrip("\n"))
            for hint in context.last.hints.values():
                if hint not in context.last.observation:
                    self._show(f"(hint: {hint})")
        while True:
            self._screen.write("> ")
            self._screen.flush()
            line = await self._line()
            if line is None:
                self._show("")
                return AssistantTurn(content="Input ended.")
            turn = self._turn(line.strip(), schemas, context)
            if turn is not None:
                return turn

    def _turn(
        self, line: str, schemas: Mapping[str, Mapping[str, Any]], context: AgentContext
    ) -> AssistantTurn | None:
        """The turn that a line stands for; None where it was answered here."""
        word, _, rest = line.partition(" ")
        if not line:
            return None
        if word == "help":
            self._show(HELP)
        elif word == "task":
            self._show(self._wrapped(context.task.instruction.strip()))
        elif word == "tools":
            usages = [_usage(schema) for schema in schemas.values()]
            self._show("\n".join(self._wrapped(usage, indent="    ") for usage in usages))
        elif word == "submit":
            return AssistantTurn(content=rest.strip() or "Submitted.")
        elif line.startswith("$"):
            if "command" not in _properties(schemas.get("terminal", {})):
                self._show("`$` needs the tool `terminal`; `tools` lists what this task has.")
                return None
            return self._call("terminal", {"command": line[1:].strip()})
        elif word not in schemas:
            from repodrome.errors import UnknownNameError

            problem = f"{UnknownNameError('tool', word, schemas)} (`help` shows what to type)"
            self._show(self._wrapped(problem))
        else:
            try:
                return self._call(word, read_arguments(rest.strip(), schemas[word]))
            except ValueError as error:
                self._show(f"{error}\n{_usage(schemas[word])}")
        return None

    def _call(self, name: str, arguments: dict[str, Any]) -> AssistantTurn:
        self._calls += 1
        call = ToolCall(id=f"human-{self._calls}", name=name, arguments=arguments)
        return AssistantTurn(tool_calls=(call,))

    def _wrapped(self, text: str, *, indent: str = "") -> str:
        """Prose at the terminal's width; as it is where that is no terminal."""
        if not self._screen.isatty():
            return text
        width = max(20, shutil.get_terminal_size().columns - 1)
        return "\n".join(
            textwrap.fill(line, width, subsequent_indent=indent, break_on_hyphens=False)
            for line in text.split("\n")
        )

    def _show(self, text: str) -> None:
        self._screen.write(safe(text) + "\n")
        self._screen.flush()

    async def _line(self) -> str | None:
        """The next line without its end, None at the end of input.

        Waits on the descriptor instead of in a thread, so that Ctrl-C never waits for a key.
        """
        from anyio import wait_readable

        while b"\n" not in self._buffer and not self._ended:
            try:
                await wait_readable(self._source)
            except PermissionError:
                pass  # a regular file or /dev/null can't be waited for, and never blocks
            chunk = os.read(self._source, 65536)
            self._ended = not chunk
            self._buffer += chunk
        if not self._buffer:
            return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode("utf-8", "replace").rstrip("\r")


def _schema(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """The function part of a tool in chat-completions form, or the tool itself."""
    inner = tool.get("function", tool)
    return inner if isinstance(inner, Mapping) else tool


def _properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found = schema.get("parameters", {}).get("properties", {})
    return found if isinstance(found, Mapping) else {}


def _usage(schema: Mapping[str, Any]) -> str:
    required = set(schema.get("parameters", {}).get("required", ()))
    words = [f"{name}=…" if name in required else f"[{name}=…]" for name in _properties(schema)]
    return " ".join([str(schema["name"]), *words])


def read_arguments(text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments from ``arg=value …`` or a JSON object, with the types the schema wants.

    Raises:
        ValueError: unbalanced quotes, a word without ``=``, bad JSON, an unreadable ``@FILE``.
    """
    if text.startswith("{"):
        arguments = json.loads(text)
        if not isinstance(arguments, dict):
            raise ValueError("the arguments must be a JSON object")
        return arguments
    properties = schema.get("parameters", {}).get("properties", {})
    out: dict[str, Any] = {}
    for word in shlex.split(text):
        key, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"{word!r} is not arg=value; quote values with spaces")
        if value.startswith("@"):
            try:
                with open(value[1:], encoding="utf-8") as file:
                    value = file.read()
            except OSError as error:
                raise ValueError(f"can't read {value[1:]}: {error.strerror}") from error
        out[key] = value if _wants_text(properties.get(key, {})) else _typed(value)
    return out


def _wants_text(schema: Mapping[str, Any]) -> bool:
    kinds = [schema.get("type")] + [option.get("type") for option in schema.get("anyOf", ())]
    return "string" in kinds


def _typed(value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value
