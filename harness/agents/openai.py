"""The agent that is a language model, behind any server with an OpenAI-compatible API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from repodrome.envs.actions import parse_turn, reasoning_of, usage_of
from repodrome.envs.chat import ChatEndpoint, ChatRefusedError
from repodrome.envs.trajectory import AssistantTurn
from repodrome.errors import ContextFullError, InfraError, UnknownNameError, UsageError
from repodrome.harness.agents.base import AgentContext

EMPTY = "the turn says nothing and calls nothing; call a tool, or send text to finish"
_CUT = {
    "length": "it was cut off at the most tokens that a turn may have, and nothing was run; send a "
    "shorter one, in several turns where it has to be",
    "content_filter": "the server's content filter cut it off, and nothing was run",
}
"""Why a turn is not whole, by its ``finish_reason``."""
_SAMPLING = ("temperature", "top_p", "max_tokens")
_OWN = frozenset({"messages", "tools", "stream"})


class OpenAISettings(BaseModel):
    """How the model is asked; what is None is left to the server.

    Attributes:
        base_url: of the API, up to and with ``/v1``; default: ``OPENAI_BASE_URL``.
        temperature, top_p, max_tokens: as in the API; the last one of each turn.
        seed: for sampling; the episode's own is added, so that repeats differ.
        extra_body: what else each request holds, e.g. ``{"top_k": 20}``.
        timeout: seconds that one answer may take.
        retries: how often a request that failed is sent again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str = ""
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = None
    extra_body: dict[str, Any] = Field(default_factory=dict)
    timeout: float = Field(default=600.0, gt=0, allow_inf_nan=False)
    retries: int = Field(default=8, ge=0)

    @field_validator("extra_body")
    @classmethod
    def _is_json(cls, body: dict[str, Any]) -> dict[str, Any]:
        json.dumps(body, allow_nan=False)
        if taken := _OWN & body.keys():
            raise ValueError(f"{sorted(taken)[0]!r} is not for settings")
        return body

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> OpenAISettings:
        """The settings from a table of them.

        Raises:
            UsageError: one is unknown or refused.
        """
        for key in settings:
            if key not in cls.model_fields:
                raise UsageError(
                    f"agent 'openai': {UnknownNameError('setting', key, cls.model_fields)}"
                )
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
            raise UsageError(f"agent 'openai': {'; '.join(problems)}") from error


class OpenAIAgent:
    """Sends the episode's messages and tool schemas, and takes what the model answers.

    Messages go out as they are in the record, but for what servers are known to refuse, see
    :func:`sendable`.

    Args:
        model: as the server calls it.
        endpoint: the server.
        settings: how it is asked.
    """

    interactive = False
    all_tools = False

    def __init__(
        self, model: str, endpoint: ChatEndpoint, settings: OpenAISettings | None = None
    ) -> None:
        self.name = f"openai:{model}"
        self._model = model
        self._endpoint = endpoint
        self._settings = settings or OpenAISettings()

    @classmethod
    def from_environment(cls, model: str, settings: Mapping[str, Any]) -> OpenAIAgent:
        """With the server that ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY`` name.

        Raises:
            UsageError: there is no server, a setting is wrong, or httpx is missing.
        """
        read = OpenAISettings.read(settings)
        endpoint = ChatEndpoint.from_environment(
            f"the agent is the model {model!r}",
            "agent",
            url=read.base_url,
            timeout=read.timeout,
            retries=read.retries,
        )
        return cls(model, endpoint, read)

    async def act(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        context: AgentContext,
    ) -> AssistantTurn:
        """The model's answer.

        Raises:
            UsageError: the server knows no such model, refuses the key, or the very first request.
            ContextFullError: the messages don't fit into the model's context any more.
            InfraError: the server can't be reached, stays busy, or answers something else.
        """
        body = self._body(messages, tools, context.seed)
        try:
            answer = await self._endpoint.complete(body, context.tell)
        except ChatRefusedError as error:
            raise self._meaning(error, first=context.last is None) from error
        index = 0 if context.last is None else context.last.index + 1
        return read_answer(answer, turn=index, summary_wanted=context.summary_wanted)

    def _body(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], seed: int
    ) -> dict[str, Any]:
        settings = self._settings
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [sendable(message) for message in messages],
        }
        if tools:
            body["tools"] = list(tools)
        sampling = {key: getattr(settings, key) for key in _SAMPLING}
        body |= {key: value for key, value in sampling.items() if value is not None}
        if settings.seed is not None:
            body["seed"] = settings.seed + seed
        return body | settings.extra_body

    def _meaning(self, error: ChatRefusedError, *, first: bool) -> Exception:
        """Whose fault a refusal is. What was answered before is not wrong in its settings."""
        if error.status in (401, 403):
            return UsageError(f"{error}. Set OPENAI_API_KEY to a key that this server takes")
        if error.status == 404:
            return UsageError(
                f"{error}. Name the model as the server does (it lists them at "
                f"{self._endpoint.place}/models), and let OPENAI_BASE_URL end in /v1"
            )
        if error.context_full and not first:
            return ContextFullError(
                f"{error}. With a smaller --context-budget the agent summarises in time"
            )
        if error.context_full:
            return UsageError(
                f"{error}. The task alone doesn't fit: give the server a larger context, or the "
                "agent a smaller max_tokens"
            )
        if first:
            return UsageError(
                f"{error}. Look at the agent's settings, and whether the server takes `tools`"
            )
        return InfraError(str(error))


def sendable(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """A message as servers take it, always the same for the same message.

    Many read the arguments of earlier calls as JSON, and refuse a whole conversation that holds
    any that aren't; others one with an assistant message in which there is nothing.
    """
    if message.get("role") != "assistant":
        return message
    calls = message.get("tool_calls")
    if not calls:
        return message if message["content"].strip() else {**message, "content": "(nothing)"}
    return {**message, "tool_calls": [_sendable_call(call) for call in calls]}


def _sendable_call(call: Mapping[str, Any]) -> Mapping[str, Any]:
    function = call["function"]
    try:
        if isinstance(json.loads(function["arguments"]), dict):
            return call
    except (ValueError, RecursionError):
        pass
    arguments = json.dumps({"unreadable": function["arguments"]}, ensure_ascii=False)
    return {**call, "function": {**function, "arguments": arguments}}


def read_answer(
    answer: Mapping[str, Any], *, turn: int = 0, summary_wanted: bool = False
) -> AssistantTurn:
    """The turn that a chat completion stands for.

    One that was cut off is not run, and the agent is told so; only a summary is taken as far as it
    goes. A refusal is what the agent said.

    Args:
        answer: the completion; its first choice has a message.
        turn: its index, for calls without an id.
        summary_wanted: the turn is to be a summary.
    """
    choice = answer["choices"][0]
    message = choice["message"]
    content = message.get("content") or message.get("refusal") or ""
    calls = message.get("tool_calls") or []
    read = AssistantTurn(malformed=EMPTY)
    if calls or not isinstance(content, str) or content.strip():
        read = parse_turn({"content": content, "tool_calls": calls}, turn=turn)
    cut = _CUT.get(str(choice.get("finish_reason")), "")
    if cut and not (summary_wanted and read.content.strip() and not read.tool_calls):
        read = read.model_copy(update={"malformed": cut})
    counted = {"usage": usage_of(answer.get("usage")), "reasoning": reasoning_of(message)}
    return read.model_copy(update=counted)
