"""Argument models as schemas for models, and wrong arguments as messages for agents."""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

from repodrome.errors import ToolError, UsageError
from repodrome.tools.base import Arguments, Tool
from repodrome.tools.text import clip_line, safe_text

_KEPT = (
    "type", "description", "enum", "default", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "minLength", "maxLength", "pattern", "minItems", "maxItems",
)  # fmt: skip
_SCALARS = ("string", "integer", "number", "boolean")
_NAMES = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "string_unicode": "valid Unicode text",
}


def tool_schema(tool: Tool) -> dict[str, Any]:
    """One tool in chat-completions form, its parameters flat.

    Raises:
        UsageError: a parameter is not a string, integer, number, boolean or list of these.
    """
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": copy.deepcopy(_parameters(tool.arguments)),
        },
    }


@cache  # pydantic takes half a millisecond a model, and every episode has a toolbox
def _parameters(arguments: type[Arguments]) -> dict[str, Any]:
    raw = arguments.model_json_schema()
    definitions = raw.get("$defs", {})
    return {
        "type": "object",
        "properties": {
            name: _parameter(arguments, name, schema, definitions)
            for name, schema in raw.get("properties", {}).items()
        },
        "required": raw.get("required", []),
        "additionalProperties": False,
    }


def _parameter(
    arguments: type[Arguments],
    name: str,
    schema: Mapping[str, Any],
    definitions: Mapping[str, Any],
) -> dict[str, Any]:
    if "$ref" in schema:  # an enum class
        schema = {**definitions[schema["$ref"].rpartition("/")[2]], **schema}
    flat = {key: schema[key] for key in _KEPT if key in schema}
    if "const" in schema:
        flat["enum"] = [schema["const"]]
        flat.setdefault("type", "string")
    if flat.get("type") == "array":
        items = schema.get("items", {})
        if items.get("type") in _SCALARS:
            flat["items"] = {key: items[key] for key in ("type", "enum") if key in items}
            return flat
    if flat.get("type") not in _SCALARS:
        raise UsageError(
            f"parameter {name!r} of {arguments.__name__} is not flat; make it a string, integer, "
            "number, boolean or a list of these, with a default instead of None"
        )
    return flat


def parse_arguments(tool: Tool, given: Mapping[str, Any] | str) -> BaseModel:
    """Check a call's arguments.

    Strict, but for what can only mean one thing: no text at all is no arguments, null for an
    optional parameter is its default, and 5.0 is the integer 5.

    Raises:
        ToolError: codes ``invalid_json`` and ``invalid_arguments``; every problem is named, with
            what was given and what is legal.
    """
    if isinstance(given, str):
        given = _parse_json(given)
    if not isinstance(given, Mapping):
        raise ToolError(
            f"the arguments of {tool.name} must be an object such as {_example(tool)}, not "
            f"{_shown(given)}",
            code="invalid_arguments",
        )
    fields = tool.arguments.model_fields
    plain: dict[str, Any] = {}
    for name, value in given.items():
        known = fields.get(name) if isinstance(name, str) else None
        if known is not None and value is None and not known.is_required():
            continue
        if known is not None and known.annotation is int and isinstance(value, float):
            value = int(value) if value.is_integer() else value
        if isinstance(value, str):
            _check_unicode(tool, str(name), value)
        plain[str(name)] = value
    try:
        return tool.arguments.model_validate(plain)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=True)
        lines = [_problem(tool, problem) for problem in problems[:8]]
        if len(problems) > 8:
            lines.append(f"… and {len(problems) - 8} more")
        raise ToolError(
            f"wrong arguments for {tool.name}:\n" + "\n".join(f"- {line}" for line in lines),
            code="invalid_arguments",
        ) from error


def _check_unicode(tool: Tool, name: str, value: str) -> None:
    """Refuse half characters, which JSON can hold and files can't.

    A path may hold escaped bytes (U+DC80 to U+DCFF): that is how a name that is not UTF-8 is
    written, and how the tools show it.
    """
    try:
        value.encode("utf-8", "surrogateescape" if name == "path" else "strict")
    except UnicodeEncodeError as error:
        raise ToolError(
            f"wrong arguments for {tool.name}:\n- {safe_text(name)} holds a lone surrogate, "
            f"\\u{ord(value[error.start]):04x}, at character {error.start}; send whole characters",
            code="invalid_arguments",
        ) from error


def _parse_json(text: str) -> Any:
    if not text.strip():
        return {}
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        near = safe_text(text[max(0, error.pos - 30) : error.pos + 10])
        raise ToolError(
            f"the arguments are not valid JSON: {error.msg} at character {error.pos} of "
            f"{len(text):,}, near {near!r}; send one JSON object",
            code="invalid_json",
        ) from error
    except (ValueError, RecursionError) as error:  # an absurd number, or absurd nesting
        raise ToolError(
            f"the arguments are not usable JSON ({type(error).__name__}); send one JSON object",
            code="invalid_json",
        ) from error


def _problem(tool: Tool, problem: Mapping[str, Any]) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    fields = tool.arguments.model_fields
    shown = safe_text(clip_line(name, 100))
    kind = problem["type"]
    if kind == "missing":
        meaning = fields[name].description if name in fields else ""
        return f"{shown} is missing; it is required: {meaning}"
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(name[:100], list(fields), n=1, cutoff=0.5)
        near = near or [field for field in fields if field in name[:100].split("_")][:1]
        hint = f"did you mean {near[0]}? " if near else ""
        return f"{shown} is not a parameter; {hint}Legal: {', '.join(fields) or 'none'}"
    given = _shown(problem["input"])
    if kind in _NAMES:
        fix = ""
        if isinstance(problem["input"], str) and kind not in ("string_unicode", "string_type"):
            fix = "; write it without quotes"
        return f"{shown} must be {_NAMES[kind]}, not {given}{fix}"
    message = str(problem["msg"])
    return f"{shown}: {message[:1].lower()}{message[1:]}; given {given}"


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the string {safe_text(json.dumps(clip_line(value, 80), ensure_ascii=True))}"
    if isinstance(value, (int, float)):
        return f"the number {value}" if abs(value) < 1e15 else "a very large number"
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, (list, tuple)) else type(value).__name__


def _example(tool: Tool) -> str:
    required = [n for n, f in tool.arguments.model_fields.items() if f.is_required()]
    return "{" + ", ".join(f'"{name}": …' for name in required) + "}"
