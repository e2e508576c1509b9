"""What any Tool must do, ours or a third party's.

Use it from a test::

    @pytest.mark.parametrize("check", CHECKS)
    async def test_my_tool(check, workspace):
        await check(MyTool(), {"path": "a.txt"}, workspace)

``legal`` are arguments of a call that succeeds in ``workspace``.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from repodrome.tools.base import Tool, ToolContext, ToolState
from repodrome.tools.toolbox import CallOutcome, Toolbox
from repodrome.tools.workspace import Workspace

Check = Callable[[Tool, Mapping[str, Any], Workspace], Awaitable[None]]

_WRONG: dict[str, list[Any]] = {
    "string": [5, True, ["a"], {"a": 1}],
    "integer": ["5", 1.5, True, [1]],
    "number": ["5", True, {}],
    "boolean": ["true", 1, 0.0],
    "array": ["a", 1],
}


async def _call(
    tool: Tool, arguments: Mapping[str, Any] | str, workspace: Workspace
) -> CallOutcome:
    outcome = await Toolbox([tool]).call(tool.name, arguments, ToolContext(workspace, ToolState()))
    outcome.text.encode()  # always encodable
    json.dumps(outcome.data)
    return outcome


async def is_a_tool(tool: Tool, legal: Mapping[str, Any], workspace: Workspace) -> None:
    assert isinstance(tool, Tool)
    assert isinstance(tool.read_only, bool)
    assert len(tool.description) > 20


async def has_a_flat_described_schema(
    tool: Tool, legal: Mapping[str, Any], workspace: Workspace
) -> None:
    (schema,) = Toolbox([tool]).schemas()
    json.dumps(schema)
    assert schema["type"] == "function"
    assert schema["function"]["name"] == tool.name
    parameters = schema["function"]["parameters"]
    assert parameters["type"] == "object"
    assert set(parameters["required"]) <= set(parameters["properties"])
    for name, one in parameters["properties"].items():
        assert one["type"] in ("string", "integer", "number", "boolean", "array"), name
        assert one["description"].endswith("."), name
        assert not {"anyOf", "$ref", "properties", "title"} & set(one), name
        assert ("default" in one) == (name not in parameters["required"]), name


async def takes_legal_arguments(tool: Tool, legal: Mapping[str, Any], workspace: Workspace) -> None:
    outcome = await _call(tool, legal, workspace)
    assert outcome.error_code == "", outcome.text
    assert outcome.text


async def takes_json_text_and_null_for_optional(
    tool: Tool, legal: Mapping[str, Any], workspace: Workspace
) -> None:
    fields = tool.arguments.model_fields
    optional = {name: None for name, one in fields.items() if not one.is_required()}
    outcome = await _call(tool, json.dumps({**optional, **legal}), workspace)
    assert outcome.error_code == "", outcome.text


async def refuses_what_is_not_an_object(
    tool: Tool, legal: Mapping[str, Any], workspace: Workspace
) -> None:
    for text in ("[1, 2]", '"path"', "null", "7"):
        assert (await _call(tool, text, workspace)).error_code == "invalid_arguments"
    for text in ("{", "{'a': 1}", '{"a": 1} x', "[" * 100_000, '{"a": ' + "9" * 5000 + "}", "\x00"):
        outcome = await _call(tool, text, workspace)
        assert outcome.error_code in ("invalid_json", "invalid_arguments"), text[:20]
        assert len(outcome.text) < 2000


async def refuses_unknown_arguments(
    tool: Tool, legal: Mapping[str, Any], workspace: Workspace
) -> None:
    outcome = await _call(tool, {**legal, "no_such_thing": 1}, workspace)
    assert outcome.error_code == "invalid_arguments"
    assert "no_such_thing" in outcome.text


async def refuses_missing_arguments(
    tool: Tool, legal: Mapping[str, Any], workspace: Workspace
) -> None:
    for name, one in tool.arguments.model_fields.items():
        if one.is_required():
            rest = {key: value for key, value in legal.items() if key != name}
            outcome = await _call(tool, rest, workspace)
            assert outcome.error_code == "invalid_arguments"
            assert f"{name} is missing" in outcome.text


async def refuses_wrong_types(tool: Tool, legal: Mapping[str, Any], workspace: Workspace) -> None:
    (schema,) = Toolbox([tool]).schemas()
    for name, one in schema["function"]["parameters"]["properties"].items():
        for wrong in _WRONG[one["type"]]:
            outcome = await _call(tool, {**legal, name: wrong}, workspace)
            assert outcome.error_code == "invalid_arguments", (name, wrong)
            assert name in outcome.text
        if one["type"] == "string":
            # Lone surrogates and NULs come out of JSON; they may fail, but only as an observation.
            for odd in ("\ud800", "a\0b"):
                await _call(tool, {**legal, name: odd}, workspace)


async def caps_its_output(tool: Tool, legal: Mapping[str, Any], workspace: Workspace) -> None:
    outcome = await Toolbox([tool], max_output_bytes=64).call(
        tool.name, legal, ToolContext(workspace, ToolState())
    )
    assert len(outcome.text.encode()) < 64 + 100


CHECKS: tuple[Check, ...] = (
    is_a_tool,
    has_a_flat_described_schema,
    takes_legal_arguments,
    takes_json_text_and_null_for_optional,
    refuses_what_is_not_an_object,
    refuses_unknown_arguments,
    refuses_missing_arguments,
    refuses_wrong_types,
    caps_its_output,
)
