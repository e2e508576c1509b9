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

from repodrome.envs.trajectory import AssistantTurn, ToolCall

MAX_ACTION_CHARS = 4 << 20
"""Longest turn that is read, in characters; a longer one is malformed."""

MAX_CALLS_READ = 256
"""Most calls of one turn that are read; a turn with more is malformed."""

FORM = '{"content": "…", "tool_calls": [{"name": "…", "arguments": {…}}]}'


class _Unreadable(ValueError):
    """Why an action can't be read, for the agent."""


def parse_turn(action: AssistantTurn | Mapping[str, Any] | str, *, turn: int = 0) -> AssistantTurn:
    """Read one agent turn.

    Args:
        action: the turn in any of the forms above.
        turn: its index, for the ids of calls that bring none.

    Raises:
        TypeError: ``action`` is of a type that no agent can have produced (the caller's mistake).
    """
    if isinstance(action, AssistantTurn):
        return _checked(action)
    if isinstance(action, str):
        return _from_text(action, turn)
    if isinstance(action, Mapping):
        return _guarded(action, turn, raw=None)
    raise TypeError(
        f"an action is text, a dict or an AssistantTurn, not {type(action).__name__}; send {FORM}"
    )


def _checked(turn: AssistantTurn) -> AssistantTurn:
    """A turn made by the caller from what a model said may still hold what can't be stored."""
    try:
        turn.content.encode()
        for call in turn.tool_calls:
            json.dumps([call.name, call.arguments], ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        problem = "it holds a lone surrogate, which is not text"
    except (TypeError, ValueError, RecursionError):
        problem = "the arguments of a call are not JSON"
    else:
        return turn
    return AssistantTurn(content=_clean(turn.content), malformed=problem)


def _from_text(text: str, turn: int) -> AssistantTurn:
    if len(text) > MAX_ACTION_CHARS:
        return AssistantTurn(
            content=_clean(text[:1000]),
            malformed=f"the turn has {len(text)} characters; at most {MAX_ACTION_CHARS} are read",
        )
    if not text.lstrip().startswith("{"):
        return _guarded({"content": text}, turn, raw=text)
    try:
        message = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        return AssistantTurn(content=_clean(text), malformed="the JSON is nested too deeply")
    except ValueError as error:
        return AssistantTurn(
            content=_clean(text),
            malformed=f"the turn begins with '{{' but is not JSON ({error}); send {FORM}, or plain "
            "text as a final message",
        )
    return _guarded(message, turn, raw=text)


def _guarded(message: Mapping[str, Any], turn: int, *, raw: str | None) -> AssistantTurn:
    try:
        return _from_mapping(message, turn)
    except _Unreadable as error:
        return AssistantTurn(content=_clean(_shown(message, raw)), malformed=str(error))


def _from_mapping(message: Mapping[str, Any], turn: int) -> AssistantTurn:
    if "content" not in message and "tool_calls" not in message:
        keys = ", ".join(repr(str(key)[:40]) for key in list(message)[:8]) or "none"
        raise _Unreadable(
            f"neither 'content' nor 'tool_calls' is there (keys: {keys}); send {FORM}"
        )
    role = message.get("role", "assistant")
    if role != "assistant":
        raise _Unreadable(f"'role' is {str(role)[:40]!r}; a turn's role is 'assistant'")
    content = _content(message.get("content"))
    raw_calls = message.get("tool_calls")
    if raw_calls is None:
        raw_calls = ()
    if not isinstance(raw_calls, list | tuple):
        raise _Unreadable(f"'tool_calls' is {_kind(raw_calls)}, not a list; send {FORM}")
    if len(raw_calls) > MAX_CALLS_READ:
        raise _Unreadable(f"{len(raw_calls)} calls in one turn; at most {MAX_CALLS_READ} are read")
    if not raw_calls and not content.strip():
        raise _Unreadable(
            "the turn says nothing and calls nothing; call a tool, or send text to finish"
        )
    taken: set[str] = set()
    calls = tuple(_call(raw, turn, place, taken) for place, raw in enumerate(raw_calls))
    return AssistantTurn(content=content, tool_calls=calls, usage=_usage(message.get("usage")))


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


def _call(raw: Any, turn: int, place: int, taken: set[str]) -> ToolCall:
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
    return ToolCall(
        id=_call_id(raw.get("id"), turn, place, taken),
        name=name[:200],
        arguments=_arguments(function.get("arguments"), where),
    )


def _arguments(value: Any, where: str) -> dict[str, Any] | str:
    """A JSON object, or the raw text for the toolbox to complain about as an error of the call."""
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        _check_encodable(value, f"{where}.arguments")
        try:
            parsed = json.loads(value, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return value
        if not isinstance(parsed, dict):
            return value
        value = parsed
    if not isinstance(value, Mapping):
        raise _Unreadable(f"{where}.arguments is {_kind(value)}, not an object; send {FORM}")
    # One pass shows that it is JSON all the way down and that every string can be stored as UTF-8.
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise _Unreadable(f"{where}.arguments holds a lone surrogate, which is not text") from None
    except (TypeError, ValueError, RecursionError):
        raise _Unreadable(f"{where}.arguments is not JSON") from None
    return dict(value)


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


def _usage(value: Any) -> dict[str, int]:
    if not isinstance(value, Mapping):
        return {}
    return {
        str(key): count
        for key, count in value.items()
        if isinstance(count, int) and not isinstance(count, bool)
    }


def _check_encodable(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _Unreadable(f"{what} holds a lone surrogate, which is not text") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


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


def _clean(text: str) -> str:
    """The text with what UTF-8 can't hold replaced."""
    return text.encode(errors="replace").decode()
