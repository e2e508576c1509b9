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
        ({"content": "x" * (MAX_ACTION_CHARS + 1)}, "characters"),
        ({"tool_calls": [{"name": "a", "arguments": {"b": "x" * MAX_ACTION_CHARS}}]}, "characters"),
        ({"content": "look", "function_call": {"name": "glob", "arguments": "{}"}}, "tool_calls"),
        ({"content": "look", "tool_call": CALL}, "tool_calls"),
        ({"role": "tool", "content": "x", "tool_call_id": "a"}, "role"),
        (AssistantTurn(content="x" * (MAX_ACTION_CHARS + 1)), "characters"),
        (AssistantTurn(tool_calls=(ToolCall(id="a", name="b", arguments={}),) * 300), "300 calls"),
        (AssistantTurn(content="\ud800"), "surrogate"),
        (AssistantTurn(tool_calls=(ToolCall(id="a", name="\ud800", arguments={}),)), "surrogate"),
    ],
)
def test_what_cannot_be_read_is_malformed_and_storable(action: Any, says: str) -> None:
    read = parse_turn(action)
    assert says in read.malformed
    assert not read.tool_calls
    read.model_dump_json().encode()


def test_arguments_are_a_copy_whose_keys_are_text() -> None:
    arguments: dict[Any, Any] = {1: {2: [3]}}
    read = parse_turn({"tool_calls": [{"name": "a", "arguments": arguments}]})
    arguments[1][2].append(4)
    assert read.tool_calls[0].arguments == {"1": {"2": [3]}}


def test_ids_of_turns_made_by_callers_are_usable_and_distinct() -> None:
    odd = ToolCall.model_construct(id="\ud800", name="glob", arguments={})
    same = ToolCall(id="a", name="glob", arguments={})
    read = parse_turn(AssistantTurn.model_construct(tool_calls=(odd, same, same)), turn=3)
    assert [call.id for call in read.tool_calls] == ["call_3_0", "a", "a_2"]


def test_what_models_put_around_it() -> None:
    assert parse_turn('\ufeff{"content": "hi"}').content == "hi"
    message = {"role": "assistant", "content": "hi", "refusal": None, "function_call": None}
    assert not parse_turn(message).malformed
    usage = {"a": 3, "b": -1, "c": True, "d": 10**400, "\ud800": 1, 5: 5, "e": {"f": 1}}
    assert parse_turn({"content": "hi", "usage": usage}).usage == {"a": 3, "?": 1}
    usage = {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0}}
    usage |= {"completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 4}}
    found = parse_turn({"content": "hi", "usage": usage}).usage
    assert (found.pop("cached_tokens"), found.pop("reasoning_tokens")) == (8, 4)
    assert found == {"prompt_tokens": 9, "completion_tokens": 5}


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_thoughts(key: str) -> None:
    assert parse_turn({"content": "hi", key: "Hm \ud800"}).reasoning == "Hm ?"
    assert parse_turn({"content": "hi", key: ["Hm"]}).reasoning == ""


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


@given(
    st.dictionaries(st.sampled_from(["content", "tool_calls", "usage", "reasoning"]), JSONISH)
    | st.text()
)
def test_nothing_raises_and_all_of_it_can_be_stored(action: Any) -> None:
    parse_turn(action).model_dump_json().encode()
