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
from repodrome.tools.base import Arguments
from repodrome.tools.presentation import Presented
from repodrome.tools.text import clip_line, safe_text
from repodrome.tools.words import spoken

_KEPT = (
    "type", "description", "enum", "default", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "minLength", "maxLength", "pattern", "minItems", "maxItems",
)  # fmt: skip
_MOST = 10_000
"""Arguments of a call, and entries of a list, that are looked at: checking takes its time."""
_LARGEST = 1 << 63
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


def tool_schema(shown: Presented, names: Mapping[str, str]) -> dict[str, Any]:
    """One tool in chat-completions form, its parameters flat.

    Args:
        shown: the tool as the agent sees it.
        names: what the agent calls the tools and parameters that descriptions name.

    Raises:
        UsageError: a parameter is not a string, integer, number, boolean or list of these.
    """
    plain = _parameters(shown.tool.arguments)
    properties = {}
    for own, name in shown.parameters.items():
        properties[name] = copy.deepcopy(plain["properties"][own])
        text = shown.descriptions.get(own, properties[name].get("description", ""))
        properties[name]["description"] = spoken(text, names)
    return {
        "type": "function",
        "function": {
            "name": shown.name,
            "description": spoken(shown.description, names),
            "parameters": {
                "type": "object",
                "properties": properties,
                "required": [n for own, n in shown.parameters.items() if own in plain["required"]],
                "additionalProperties": False,
            },
        },
    }


@cache  # pydantic takes half a millisecond a model, and every episode has a toolbox
def _parameters(arguments: type[Arguments]) -> dict[str, Any]:
    raw = arguments.model_json_schema()
    definitions = raw.get("$defs", {})
    return {
        "properties": {
            name: _parameter(arguments, name, schema, definitions)
            for name, schema in raw.get("properties", {}).items()
        },
        "required": raw.get("required", []),
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


def parse_arguments(shown: Presented, given: Mapping[str, Any] | str) -> BaseModel:
    """Check a call's arguments, which go by the names that the agent knows.

    ``"strict"`` checks take only what can mean one thing: no text at all is no arguments, null for
    an optional parameter is its default, and 5.0 is the integer 5. ``"exact"`` ones don't take the
    last two. ``"lenient"`` ones leave out what they don't know, and read ``"5"`` as 5, 1 and
    ``"true"`` as true, and a single value as a list of it.

    Raises:
        ToolError: codes ``invalid_json`` and ``invalid_arguments``; every problem is named, with
            what was given and what is legal.
    """
    if isinstance(given, str):
        given = _parse_json(given)
    if not isinstance(given, Mapping):
        raise ToolError(
            f"the arguments of {shown.name} must be an object such as {_example(shown)}, not "
            f"{_shown(given)}",
            code="invalid_arguments",
        )
    plain = _plain(shown, given)
    try:
        lenient = shown.checks == "lenient"
        return shown.tool.arguments.model_validate(plain, strict=False if lenient else None)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=True)
        lines = [_problem(shown, problem) for problem in problems[:8]]
        if len(problems) > 8:
            lines.append(f"… and {len(problems) - 8} more")
        raise _wrong(shown, lines) from error


def _plain(shown: Presented, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments by the tool's own names, with what the checks let pass put right.

    Raises:
        ToolError: some text is no text.
    """
    fields = shown.tool.arguments.model_fields
    own_names = {name: own for own, name in shown.parameters.items()}
    lenient = shown.checks == "lenient"
    plain: dict[str, Any] = {}
    if len(given) > _MOST:
        raise _wrong(shown, [f"{len(given):,} arguments; legal are {', '.join(own_names)}"])
    for key, value in given.items():
        name = str(key)
        _check_size(shown, name, value)
        own = own_names.get(name)
        _check_unicode(shown, name, value, own or "")
        if own is None:
            # Behind a mark, so that it can't be taken for a parameter of that own name.
            plain |= {} if lenient else {f"?{name}": value}
            continue
        known = fields[own]
        if shown.checks != "exact":
            if value is None and not known.is_required():
                continue
            if known.annotation is int and isinstance(value, float) and value.is_integer():
                value = int(value)
        is_list = _parameters(shown.tool.arguments)["properties"][own]["type"] == "array"
        if lenient and is_list and not isinstance(value, list):
            value = [value]
        plain[own] = value
    return plain


def _wrong(shown: Presented, lines: list[str]) -> ToolError:
    return ToolError(
        f"wrong arguments for {shown.name}:\n" + "\n".join(f"- {line}" for line in lines),
        code="invalid_arguments",
    )


def _check_size(shown: Presented, name: str, value: Any) -> None:
    """Refuse what no call needs, and what would hold everybody up or can't be printed."""
    line = ""
    if isinstance(value, list) and len(value) > _MOST:
        line = f"holds {len(value):,} entries; the most is {_MOST:,}"
    elif isinstance(value, int) and abs(value) > _LARGEST:
        line = "is too large a number"
    if line:
        raise _wrong(shown, [f"{safe_text(clip_line(name, 100))} {line}"])


def _check_unicode(shown: Presented, name: str, value: Any, own: str) -> None:
    """Refuse half characters, which JSON can hold and files can't.

    A path may hold escaped bytes (U+DC80 to U+DCFF): that is how a name that is not UTF-8 is
    written, and how the tools show it.
    """
    for text in value if isinstance(value, list) else [value]:
        if not isinstance(text, str):
            continue
        try:
            text.encode("utf-8", "surrogateescape" if own in ("path", "paths") else "strict")
        except UnicodeEncodeError as error:
            line = (
                f"{safe_text(clip_line(name, 100))} holds a lone surrogate, "
                f"\\u{ord(text[error.start]):04x}, at character {error.start}; send whole "
                "characters"
            )
            raise _wrong(shown, [line]) from error


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


def _problem(shown: Presented, problem: Mapping[str, Any]) -> str:
    own, *inside = (str(part) for part in problem["loc"] or ("arguments",))
    fields = shown.tool.arguments.model_fields
    legal = list(shown.parameters.values())
    name = safe_text(clip_line(shown.parameters.get(own, own.removeprefix("?")), 100))
    kind = problem["type"]
    if kind == "missing":
        meaning = shown.descriptions.get(own) or (fields[own].description if own in fields else "")
        return f"{name} is missing; it is required: {meaning}"
    if own.startswith("?"):
        near = difflib.get_close_matches(name, legal, n=1, cutoff=0.5)
        near = near or [one for one in legal if one in name.split("_")][:1]
        hint = f"did you mean {near[0]}? " if near else ""
        return f"{name} is not a parameter; {hint}Legal: {', '.join(legal) or 'none'}"
    name = ".".join([name, *inside])
    given = _shown(problem["input"])
    if kind in _NAMES:
        fix = ""
        if isinstance(problem["input"], str) and _reads_as(kind, problem["input"]):
            fix = "; write it without quotes"
        return f"{name} must be {_NAMES[kind]}, not {given}{fix}"
    message = str(problem["msg"])
    return f"{name}: {message[:1].lower()}{message[1:]}; given {given}"


def _reads_as(kind: str, text: str) -> bool:
    """Whether a text is the value that was wanted, in quotes."""
    try:
        value = json.loads(text[:10_000])
    except (ValueError, RecursionError):
        return False
    if isinstance(value, bool):
        return kind == "bool_type"
    if isinstance(value, int):
        return kind in ("int_type", "float_type")
    return kind == {float: "float_type", list: "list_type"}.get(type(value))


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


def _example(shown: Presented) -> str:
    fields = shown.tool.arguments.model_fields
    required = [name for own, name in shown.parameters.items() if fields[own].is_required()]
    return "{" + ", ".join(f'"{name}": …' for name in required) + "}"
