"""Reading an agent's turn, in every form that agents and trainers send one.

- the dict ``{"content": str, "tool_calls": [{"name": str, "arguments": {...}}]}``;
- the OpenAI chat-completions message (``{"role": "assistant", "tool_calls": [{"id", "type":
  "function", "function": {"name", "arguments": "<JSON text>"}}]}``);
- either of them as JSON text;
- plain text, which is a final message.

Whatever comes in, an :class:`~repodrome.envs.trajectory.AssistantTurn` comes out: what can't be
read is a turn with ``malformed`` set, an observation and a cost, never an exception.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from repodrome.envs.trajectory import AssistantTurn, ToolCall, storable

MAX_ACTION_CHARS = 4 << 20
"""Longest turn that is read, in characters of text and arguments; a longer one is malformed."""

MAX_CALLS_READ = 256
"""Most calls of one turn that are read; a turn with more is malformed."""

_CALLS_ELSEWHERE = ("function_call", "tool_call", "function", "arguments", "calls")
"""Keys under which a call may stand by mistake: to take such a turn for a final message would end
the episode. ``function_call`` is the old form of chat completions."""

_DETAILS = (
    ("prompt_tokens_details", "cached_tokens"),
    ("completion_tokens_details", "reasoning_tokens"),
)

FORM = '{"content": "…", "tool_calls": [{"name": "…", "arguments": {…}}]}'


class _Unreadable(ValueError):
    """Why an action can't be read, for the agent."""


class _TooLong(_Unreadable):
    """It is too long; little of it is kept."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the turn has {size} characters; at most {MAX_ACTION_CHARS} are read")


def parse_turn(action: AssistantTurn | Mapping[str, Any] | str, *, turn: int = 0) -> AssistantTurn:
    """Read one agent turn.

    Args:
        action: the turn in any of the forms above.
        turn: its index, for the ids of calls that bring none.

    Raises:
        TypeError: ``action`` is of a type that no agent can have produced (the caller's mistake).
    """
    if isinstance(action, AssistantTurn):
        return _checked(action, turn)
    if isinstance(action, str):
        return _from_text(action, turn)
    if isinstance(action, Mapping):
        return _guarded(action, turn, raw=None)
    raise TypeError(
        f"an action is text, a dict or an AssistantTurn, not {type(action).__name__}; send {FORM}"
    )


def _checked(given: AssistantTurn, turn: int) -> AssistantTurn:
    """A turn made by the caller from what a model said may still hold what can't be stored."""
    try:
        if len(given.tool_calls) > MAX_CALLS_READ:
            raise _Unreadable(_too_many(len(given.tool_calls)))
        _check_encodable(given.content, "'content'")
        size = len(given.content)
        taken: set[str] = set()
        calls = []
        for place, call in enumerate(given.tool_calls):
            _check_encodable(call.name, f"tool_calls[{place}].name")
            size += len(_as_json(call.arguments, f"tool_calls[{place}].arguments"))
            identity = _call_id(call.id, turn, place, taken)
            calls.append(call if identity == call.id else call.model_copy(update={"id": identity}))
        if size > MAX_ACTION_CHARS:
            raise _TooLong(size)
    except _Unreadable as error:
        return AssistantTurn(content=storable(given.content[:1000]), malformed=str(error))
    return given.model_copy(update={"tool_calls": tuple(calls)})


def _from_text(text: str, turn: int) -> AssistantTurn:
    if len(text) > MAX_ACTION_CHARS:
        return AssistantTurn(content=storable(text[:1000]), malformed=str(_TooLong(len(text))))
    text = text.removeprefix("\ufeff")
    if not text.lstrip().startswith("{"):
        return _guarded({"content": text}, turn, raw=text)
    try:
        message = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        return AssistantTurn(content=storable(text), malformed="the JSON is nested too deeply")
    except ValueError as error:
        return AssistantTurn(
            content=storable(text),
            malformed=f"the turn begins with '{{' but is not JSON ({error}); send {FORM}, or plain "
            "text as a final message",
        )
    return _guarded(message, turn, raw=text)


def _guarded(message: Mapping[str, Any], turn: int, *, raw: str | None) -> AssistantTurn:
    try:
        return _from_mapping(message, turn)
    except _Unreadable as error:
        shown = _shown(message, raw)
        if isinstance(error, _TooLong):
            shown = shown[:1000]
        return AssistantTurn(content=storable(shown), malformed=str(error))


def _from_mapping(message: Mapping[str, Any], turn: int) -> AssistantTurn:
    if "content" not in message and "tool_calls" not in message:
        keys = ", ".join(repr(str(key)[:40]) for key in list(message)[:8]) or "none"
        raise _Unreadable(
            f"neither 'content' nor 'tool_calls' is there (keys: {keys}); send {FORM}"
        )
    role = message.get("role", "assistant")
    if role != "assistant":
        raise _Unreadable(f"'role' is {str(role)[:40]!r}; a turn's role is 'assistant'")
    for key in _CALLS_ELSEWHERE:
        if message.get(key) is not None:
            raise _Unreadable(f"{key!r} is not read; calls go into 'tool_calls': send {FORM}")
    content = _content(message.get("content"))
    raw_calls = message.get("tool_calls")
    if raw_calls is None:
        raw_calls = ()
    if not isinstance(raw_calls, list | tuple):
        raise _Unreadable(f"'tool_calls' is {_kind(raw_calls)}, not a list; send {FORM}")
    if len(raw_calls) > MAX_CALLS_READ:
        raise _Unreadable(_too_many(len(raw_calls)))
    if not raw_calls and not content.strip():
        raise _Unreadable(
            "the turn says nothing and calls nothing; call a tool, or send text to finish"
        )
    taken: set[str] = set()
    calls, size = [], len(content)
    for place, raw in enumerate(raw_calls):
        call, length = _call(raw, turn, place, taken)
        calls.append(call)
        size += length
    if size > MAX_ACTION_CHARS:
        raise _TooLong(size)
    return AssistantTurn(
        content=content,
        tool_calls=tuple(calls),
        usage=usage_of(message.get("usage")),
        reasoning=reasoning_of(message),
    )


def _content(value: Any) -> str:
    """The text, also where it comes as a list of typed parts."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        parts = [part.get("text") for part in value if isinstance(part, Mapping)]
        texts = [part for part in parts if isinstance(part, str)]
        if len(texts) != len(value):
            raise _Unreadable("a part of 'content' is not text")
        value = "".join(texts)
    if not isinstance(value, str):
        raise _Unreadable(f"'content' is {_kind(value)}, not text")
    _check_encodable(value, "'content'")
    return value


def _call(raw: Any, turn: int, place: int, taken: set[str]) -> tuple[ToolCall, int]:
    """The call, and how long its arguments are."""
    where = f"tool_calls[{place}]"
    if not isinstance(raw, Mapping):
        raise _Unreadable(f"{where} is {_kind(raw)}, not an object; send {FORM}")
    function = raw.get("function", raw)
    if not isinstance(function, Mapping):
        raise _Unreadable(f"{where}.function is {_kind(function)}, not an object")
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise _Unreadable(f"{where} has no 'name'; send {FORM}")
    _check_encodable(name, f"{where}.name")
    arguments, length = _arguments(function.get("arguments"), f"{where}.arguments")
    identity = _call_id(raw.get("id"), turn, place, taken)
    return ToolCall(id=identity, name=name[:200], arguments=arguments), length


def _arguments(value: Any, where: str) -> tuple[dict[str, Any] | str, int]:
    """A JSON object, or the raw text for the toolbox to complain about as an error of the call."""
    if value is None or value == "":
        return {}, 0
    if isinstance(value, str):
        _check_encodable(value, where)
        try:
            parsed = json.loads(value, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return value, len(value)
        if not isinstance(parsed, dict):
            return value, len(value)
        value = parsed
    if not isinstance(value, Mapping):
        raise _Unreadable(f"{where} is {_kind(value)}, not an object; send {FORM}")
    text = _as_json(value, where)
    # Read back: a copy that is the caller's no more, and whose keys are text all the way down.
    return json.loads(text), len(text)


def _as_json(value: Any, where: str) -> str:
    """As JSON text, which shows that it is JSON all the way down and can be stored as UTF-8."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:
        raise _Unreadable(f"{where} holds a lone surrogate, which is not text") from None
    except (TypeError, ValueError, RecursionError):
        raise _Unreadable(f"{where} is not JSON") from None
    return text


def _call_id(given: Any, turn: int, place: int, taken: set[str]) -> str:
    """The agent's own id where it is usable and new in this turn."""
    if isinstance(given, str) and 0 < len(given) <= 128 and given.isprintable():
        identity = given
    else:
        identity = f"call_{turn}_{place}"
    while identity in taken:
        identity = f"{identity}_{place}"
    taken.add(identity)
    return identity


def reasoning_of(message: Mapping[str, Any]) -> str:
    """What a model thought: servers have two names for it beside ``content``."""
    for key in ("reasoning_content", "reasoning"):
        if isinstance(message.get(key), str):
            return storable(message[key][:MAX_ACTION_CHARS])
    return ""


def usage_of(value: Any) -> dict[str, int]:
    """The counts of a completion's ``usage``, with the two that hide in its details."""
    if not isinstance(value, Mapping):
        return {}
    for details, key in _DETAILS:
        inner = value.get(details)
        if isinstance(inner, Mapping) and key in inner and key not in value:
            value = {**value, key: inner[key]}
    return {
        storable(key): count
        for key, count in value.items()
        if isinstance(key, str) and type(count) is int and 0 <= count < 1 << 53
    }


def _check_encodable(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _Unreadable(f"{what} holds a lone surrogate, which is not text") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _too_many(count: int) -> str:
    return f"{count} calls in one turn; at most {MAX_CALLS_READ} are read"


def _kind(value: Any) -> str:
    names = {str: "text", list: "a list", dict: "an object", bool: "a boolean"}
    names |= {int: "a number", float: "a number", type(None): "null"}
    return names.get(type(value), f"a {type(value).__name__}")


def _shown(message: Any, raw: str | None) -> str:
    """What is kept of an unreadable turn."""
    if raw is not None:
        return raw
    try:
        return json.dumps(message, ensure_ascii=False, default=str)[:MAX_ACTION_CHARS]
    except (TypeError, ValueError, RecursionError):
        return repr(type(message))
