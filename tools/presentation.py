"""How a task shows its tools: other names, descriptions, orders and checks; the tools stay."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from repodrome.errors import UnknownNameError, UsageError
from repodrome.tools.base import Tool

Checks = Literal["exact", "strict", "lenient"]
"""How closely arguments are checked; see :func:`repodrome.tools.schema.parse_arguments`."""

_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Presentation:
    """What differs from how the tools present themselves.

    Attributes:
        rename: ``"tool"`` or ``"tool.parameter"``, by their own names → what the agent calls them.
        describe: the same keys → another description.
        order: tools to put first, by their own names.
        parameter_order: tool → parameters to put first.
        checks: how closely arguments are checked.
        hints: whether a failed call's hint is shown to the agent.
    """

    rename: Mapping[str, str] = field(default_factory=dict)
    describe: Mapping[str, str] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    parameter_order: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    checks: Checks = "strict"
    hints: bool = False


@dataclass(frozen=True, slots=True)
class Presented:
    """One tool as the agent sees it.

    Attributes:
        own: its name before any renaming.
        name: what the agent calls it.
        description: what the agent reads of it.
        parameters: own name of each parameter → the agent's, in the order the agent sees.
        descriptions: own name of a parameter → a description in place of its own.
        checks: how closely its arguments are checked.
    """

    tool: Tool
    own: str
    name: str
    description: str
    parameters: Mapping[str, str]
    descriptions: Mapping[str, str] = field(default_factory=dict)
    checks: Checks = "strict"

    def usage(self) -> str:
        """Its call in one line: ``read_file(path, offset=1, limit=2000)``."""
        fields = self.tool.arguments.model_fields
        words = [
            shown if fields[own].is_required() else f"{shown}={_as_json(fields[own].get_default())}"
            for own, shown in self.parameters.items()
        ]
        return f"{self.name}({', '.join(words)})"


def _as_json(value: object) -> str:
    import json

    return json.dumps(value, default=str)


def present(tools: Iterable[Tool], how: Presentation) -> list[Presented]:
    """Every tool as the agent sees it, in order.

    Raises:
        UnknownNameError: ``rename`` or ``describe`` names what isn't there.
        UsageError: a name is illegal, or two are the same.
    """
    shown = [_presented(tool, own_name(tool), how) for tool in tools]
    known = [key for one in shown for key in (one.own, *(f"{one.own}.{p}" for p in one.parameters))]
    for key in (*how.rename, *how.describe):
        if key not in known:
            raise UnknownNameError("tool or parameter", key, known)
    taken: set[str] = set()
    for one in shown:
        if one.name in taken:
            raise UsageError(f"two tools are called {one.name!r}; rename one of them")
        taken.add(one.name)
    places = {name: place for place, name in enumerate(how.order)}
    return sorted(shown, key=lambda one: places.get(one.own, len(places)))


def _presented(tool: Tool, own: str, how: Presentation) -> Presented:
    name = how.rename.get(own, tool.name)
    if not _TOOL_NAME.fullmatch(name):
        raise UsageError(
            f"tool name {name!r} is not legal; use 1 to 64 letters, digits, '_' or '-'"
        )
    first = [p for p in how.parameter_order.get(own, ()) if p in tool.arguments.model_fields]
    order = [*first, *(p for p in tool.arguments.model_fields if p not in first)]
    parameters = {p: how.rename.get(f"{own}.{p}", p) for p in order}
    for parameter in parameters.values():
        if not _PARAMETER_NAME.fullmatch(parameter):
            raise UsageError(
                f"parameter name {parameter!r} of tool {own!r} is not legal; use letters, digits "
                "and '_', not a digit first"
            )
    if len(set(parameters.values())) < len(parameters):
        raise UsageError(f"two parameters of tool {own!r} have one name; rename one of them")
    return Presented(
        tool=tool,
        own=own,
        name=name,
        description=how.describe.get(own, tool.description),
        parameters=parameters,
        descriptions={p: how.describe[k] for p in order if (k := f"{own}.{p}") in how.describe},
        checks=how.checks,
    )


def own_name(tool: Tool) -> str:
    """The name it had before any renaming: what rewards and ``rename`` know it by."""
    if dataclasses.is_dataclass(tool):
        for one in dataclasses.fields(tool):
            if one.name == "name" and isinstance(one.default, str):
                return one.default
    return tool.name
