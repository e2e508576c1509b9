"""Every form of a turn is read; nothing an agent can send raises."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repodrome.envs.actions import MAX_ACTION_CHARS, parse_turn
from repodrome.envs.trajectory import AssistantTurn, ToolCall

CALL = {"name": "glob", "arguments": {"pattern": "*.py"}}


def test_plain_text_is_a_final_message() -> None:
    assert parse_turn("Fertig, Größe 🎵") == AssistantTurn(content="Fertig, Größe 🎵")


@pytest.mark.parametrize("form", [dict, json.dumps])
def test_dict_and_json_text(form: Any) -> None:
    read = parse_turn(form({"content": "look", "tool_calls": [CALL, CALL]}), turn=3)
    assert read.content == "look" and not read.malformed
    assert [c.id for c in read.tool_calls] == ["call_3_0", "call_3_1"]
    assert read.tool_calls[0].arguments == {"pattern": "*.py"}


def test_openai_form_keeps_the_ids_and_makes_doubles_differ() -> None:
    one = {"id": "x", "type": "function", "function": {"name": "glob", "arguments": '{"a": 1}'}}
    read = parse_turn({"role": "assistant", "content": None, "tool_calls": [one, one]})
    assert [c.id for c in read.tool_calls] == ["x", "x_1"]
    assert read.tool_calls[0].arguments == {"a": 1}


@pytest.mark.parametrize("arguments", ['{"a": ', "[1]", '{"a": NaN}', "[" * 100_000])
def test_arguments_that_are_no_object_stay_text_for_the_toolbox(arguments: str) -> None:
    read = parse_turn({"tool_calls": [{"name": "glob", "arguments": arguments}]})
    assert not read.malformed and read.tool_calls[0].arguments == arguments


@pytest.mark.parametrize(
    ("action", "says"),
    [
        ("", "says nothing"),
        ("  \n", "says nothing"),
        ("{", "not JSON"),
        ('{"a": ' * 100_000, "nested"),
        ('{"name": "glob"}', "neither"),
        ({"role": "user", "content": "hi"}, "role"),
        ({"content": 3}, "content"),
        ({"content": [{"type": "image_url"}]}, "content"),
        ({"tool_calls": "glob"}, "not a list"),
        ({"tool_calls": ["glob"]}, "not an object"),
        ({"tool_calls": [{"arguments": {}}]}, "name"),
        ({"tool_calls": [{"name": "glob", "arguments": [1]}]}, "not an object"),
        ({"tool_calls": [{"name": "glob", "arguments": {"a": float("nan")}}]}, "not JSON"),
        ({"tool_calls": [{"name": "glob", "arguments": {"a": b"x"}}]}, "not JSON"),
        ({"tool_calls": [CALL] * 1000}, "1000 calls"),
        ('{"content": "\\ud800"}', "surrogate"),
        ('{"tool_calls": [{"name": "glob", "arguments": {"a": "\\ud800"}}]}', "surrogate"),
        ("\ud800", "surrogate"),
        ("x" * (MAX_ACTION_CHARS + 1), "characters"),
        (AssistantTurn(content="\ud800"), "surrogate"),
        (AssistantTurn(tool_calls=(ToolCall(id="a", name="\ud800", arguments={}),)), "surrogate"),
    ],
)
def test_what_cannot_be_read_is_malformed_and_storable(action: Any, says: str) -> None:
    read = parse_turn(action)
    assert says in read.malformed
    assert not read.tool_calls
    read.model_dump_json().encode()


def test_content_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert parse_turn({"content": parts}).content == "ab"


def test_other_types_are_the_callers_mistake() -> None:
    with pytest.raises(TypeError, match="send"):
        parse_turn(3)  # type: ignore[arg-type]


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["content", "tool_calls", "name", "arguments", "id", "function", "role"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["content", "tool_calls", "usage"]), JSONISH) | st.text())
def test_nothing_raises_and_all_of_it_can_be_stored(action: Any) -> None:
    parse_turn(action).model_dump_json().encode()
