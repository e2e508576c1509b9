"""The toolbox: the tools of one task, and the one place where calls become observations."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from repodrome.errors import ToolError, UnknownNameError, UsageError
from repodrome.tools.base import Tool, ToolContext, ToolOutput
from repodrome.tools.hints import hint_for, unknown_tool
from repodrome.tools.perturb import Perturbation, perturbed
from repodrome.tools.presentation import Presentation, Presented, present
from repodrome.tools.registry import get_tool, standard_tools, tool_names
from repodrome.tools.schema import parse_arguments, tool_schema
from repodrome.tools.text import cap_text, safe_text
from repodrome.tools.words import spoken

MAX_OUTPUT_BYTES = 100_000
"""Most bytes of any tool's answer, whatever the tool itself allows."""


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """What came of one call.

    Attributes:
        text: what the agent reads; always encodable as UTF-8 and without control characters.
        error_code: code of the :class:`~repodrome.errors.ToolError`, ``"failed"`` where the tool
            itself reported a failure, else ``""``. The toolbox's own codes are ``unknown_tool``,
            ``invalid_json`` and ``invalid_arguments``.
        data: JSON-able facts from the tool.
        truncated: something was cut from ``text``.
        seconds: wall time.
        tool: the tool's own name before any renaming; ``""`` for an unknown one.
        hint: for a failed call, what would help; part of ``text`` only where the task says so.
    """

    text: str
    error_code: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    truncated: bool = False
    seconds: float = 0.0
    tool: str = ""
    hint: str = ""


class Toolbox:
    """The tools that an agent has, by the names it calls them. Holds no state of an episode.

    Args:
        tools: the tools, in the order agents see them.
        presentation: how the agent sees them.
        max_output_bytes: most bytes of any answer.

    Raises:
        UsageError: two tools share a name, or one has an illegal name or parameter.
    """

    def __init__(
        self,
        tools: Iterable[Tool],
        *,
        presentation: Presentation = Presentation(),  # noqa: B008 - frozen
        max_output_bytes: int = MAX_OUTPUT_BYTES,
    ) -> None:
        self._presentation = presentation
        self._max_output_bytes = max_output_bytes
        shown = present(tools, presentation)
        self._tools = {one.name: one for one in shown}
        self._names = {one.own: one.name for one in shown}
        for one in shown:
            self._names |= {f"{one.own}.{own}": name for own, name in one.parameters.items()}
        self._schemas = [tool_schema(one, self._names) for one in shown]

    @classmethod
    def build(
        cls,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        config: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        read_only: bool = False,
        extra: Sequence[Tool] = (),
        presentation: Presentation = Presentation(),  # noqa: B008 - frozen
        max_output_bytes: int = MAX_OUTPUT_BYTES,
    ) -> Toolbox:
        """Choose and set tools.

        Args:
            include: the only tools, in this order; None means every standard tool.
            exclude: tools taken away.
            config: tool name → its settings; ``name`` and ``description`` may be among them.
            read_only: of all these, only tools that change nothing.
            extra: further tools as objects, behind the others.
            presentation: how the agent sees them.
            max_output_bytes: most bytes of any answer.

        Raises:
            UnknownNameError: a tool or setting of that name isn't there.
            UsageError: a setting's value is wrong.
        """
        own = {tool.name: tool for tool in extra}
        chosen: dict[str, Tool] = {}
        if include is None:
            chosen.update(standard_tools())
        else:
            chosen.update((name, own[name] if name in own else get_tool(name)) for name in include)
        chosen.update(own)
        for name in exclude:
            if name not in chosen and name not in tool_names():
                raise UnknownNameError("tool", name, [*tool_names(), *own])
            chosen.pop(name, None)
        for name, settings in (config or {}).items():
            if name in chosen:
                chosen[name] = configured(chosen[name], settings)
            elif name not in tool_names():
                raise UnknownNameError("tool", name, [*tool_names(), *own])
        if read_only:
            chosen = {name: tool for name, tool in chosen.items() if tool.read_only}
        return cls(chosen.values(), presentation=presentation, max_output_bytes=max_output_bytes)

    def perturbed(self, kinds: Iterable[Perturbation], key: str) -> Toolbox:
        """The same tools under other names or in another order; see :mod:`repodrome.tools.perturb`.

        Args:
            kinds: what to change.
            key: what is drawn from; equal keys give equal toolboxes.
        """
        shown = list(self._tools.values())
        return Toolbox(
            [one.tool for one in shown],
            presentation=perturbed(self._presentation, shown, kinds, key),
            max_output_bytes=self._max_output_bytes,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The tools' names as the agent knows them, in order."""
        return tuple(self._tools)

    @property
    def renamed(self) -> dict[str, str]:
        """What the agent knows by another name: ``"tool"`` or ``"tool.parameter"`` → its name."""
        return {own: name for own, name in self._names.items() if own.rpartition(".")[2] != name}

    def name_of(self, own: str) -> str | None:
        """What the agent calls a tool of this own name; None where it doesn't have it."""
        return self._names.get(own)

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def __iter__(self) -> Iterator[Tool]:
        return (one.tool for one in self._tools.values())

    def get(self, name: str) -> Tool | None:
        """The tool that the agent calls by this name."""
        shown = self._tools.get(name)
        return None if shown is None else shown.tool

    def is_read_only(self, name: str) -> bool:
        """Whether calls of it may run side by side; False for an unknown one."""
        shown = self._tools.get(name)
        return shown is not None and shown.tool.read_only

    def schemas(self) -> list[dict[str, Any]]:
        """Every tool in chat-completions form, in order; a fresh copy."""
        return copy.deepcopy(self._schemas)

    async def call(
        self, name: str, arguments: Mapping[str, Any] | str, context: ToolContext
    ) -> CallOutcome:
        """Make one call. Whatever the agent did wrong comes back as text and an error code.

        Args:
            name: the tool, as the agent calls it.
            arguments: an object, or its JSON text.
            context: the episode's workspace and state.

        Raises:
            InfraError: the sandbox failed.
        """
        started = time.perf_counter()
        shown = self._tools.get(name)
        code = hint = ""
        output: ToolOutput | None = None
        try:
            output = await self._run(shown, name, arguments, context)
            text = output.text
            if output.is_error and shown is not None:
                code, hint = "failed", f"Usage: {shown.usage()}"
        except ToolError as error:
            text, code = f"Error: {error}", error.code
            hint = error.hint
            if shown is not None:
                hint = await hint_for(error, shown, arguments, context.workspace)
            hint = safe_text(spoken(hint, self._names))
            if hint and self._presentation.hints:
                text += f"\nHint: {hint}"
        text, cut = cap_text(safe_text(spoken(text, self._names)), self._max_output_bytes)
        return CallOutcome(
            text=text,
            error_code=code,
            data=_clean(dict(output.data)) if output else {},
            truncated=cut or (output is not None and output.truncated),
            seconds=time.perf_counter() - started,
            tool="" if shown is None else shown.own,
            hint=hint,
        )

    async def _run(
        self,
        shown: Presented | None,
        name: str,
        arguments: Mapping[str, Any] | str,
        context: ToolContext,
    ) -> ToolOutput:
        if shown is None:
            raise unknown_tool(name, self.names)
        return await shown.tool.run(parse_arguments(shown, arguments), context)


def configured(tool: Tool, settings: Mapping[str, Any]) -> Tool:
    """The tool with some of its settings changed.

    Raises:
        UnknownNameError: it has no such setting.
        UsageError: a value is wrong, or it has no settings at all.
    """
    if not settings:
        return tool
    if not dataclasses.is_dataclass(tool):
        raise UsageError(
            f"tool {tool.name!r} can't be configured: it is not a dataclass; pass it ready-made"
        )
    known = {f.name: getattr(tool, f.name) for f in dataclasses.fields(tool) if f.init}
    for key in settings:
        if key not in known:
            raise UnknownNameError(f"setting of tool {tool.name!r}", key, known)
    try:
        checked = _adapter(type(tool)).validate_python({**known, **settings})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, p['loc']))}: {p['msg']}, given {p['input']!r}"
            for p in error.errors(include_url=False)
        )
        raise UsageError(f"wrong settings for tool {tool.name!r}: {problems}") from error
    made: Tool = checked
    return made


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _clean(value: Any) -> Any:
    """The same facts with every string encodable as UTF-8."""
    if isinstance(value, str):
        return safe_text(value)
    if isinstance(value, Mapping):
        return {safe_text(str(key)): _clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    return value
