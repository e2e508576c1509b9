"""Agents by name: ``oracle``, ``nop``, ``human``, ``scripted:FILE``, ``openai:MODEL``, and what
others registered.

A third party adds one through the entry-point group ``repodrome.agent``: a callable that takes the
text behind the colon (``""`` without one) and returns a fresh agent. Its keyword parameters are
the agent's settings.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from repodrome.errors import UnknownNameError, UsageError
from repodrome.harness.agents.base import Agent
from repodrome.plugins import load_installed

AgentFactory = Callable[..., Agent]
GROUP = "repodrome.agent"


def _no_argument(name: str, argument: str) -> None:
    if argument:
        raise UsageError(f"agent {name!r} takes nothing behind a colon; write --agent {name}")


def _oracle(argument: str) -> Agent:
    from repodrome.harness.agents.oracle import OracleAgent

    _no_argument("oracle", argument)
    return OracleAgent()


def _nop(argument: str) -> Agent:
    from repodrome.harness.agents.nop import NopAgent

    _no_argument("nop", argument)
    return NopAgent()


def _human(argument: str) -> Agent:
    from repodrome.harness.agents.human import HumanAgent

    _no_argument("human", argument)
    return HumanAgent()


def _scripted(argument: str) -> Agent:
    from repodrome.harness.agents.scripted import ScriptedAgent

    if not argument:
        raise UsageError("agent 'scripted' needs a file of turns; write --agent scripted:FILE")
    return ScriptedAgent.from_file(argument)


def _openai(argument: str, **settings: Any) -> Agent:
    from repodrome.harness.agents.openai import OpenAIAgent

    if not argument:
        raise UsageError(
            "agent 'openai' needs a model, as its server calls it; write --agent openai:MODEL"
        )
    return OpenAIAgent.from_environment(argument, settings)


_BUILTIN: dict[str, AgentFactory] = {
    "oracle": _oracle,
    "nop": _nop,
    "scripted": _scripted,
    "human": _human,
    "openai": _openai,
}


def get_agent(spec: str, config: Mapping[str, Any] | None = None) -> Agent:
    """A fresh agent from ``NAME`` or ``NAME:ARGUMENT``.

    Args:
        config: its settings.

    Raises:
        UnknownNameError: no agent of that name; the nearest ones are named.
        UsageError: the argument or a setting is missing, superfluous or bad.
    """
    name, _, argument = spec.partition(":")
    factory: AgentFactory = _BUILTIN.get(name) or load_installed("agent", name, GROUP, _BUILTIN)
    if config:
        _check_settings(name, factory, config)
    return factory(argument, **(config or {}))


def _check_settings(name: str, factory: AgentFactory, config: Mapping[str, Any]) -> None:
    _, *parameters = inspect.signature(factory).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return  # it looks at them itself
    known = [parameter.name for parameter in parameters]
    for key in config:
        if not known:
            raise UsageError(f"agent {name!r} has no settings; leave {key!r} out")
        if key not in known:
            raise UsageError(f"agent {name!r}: {UnknownNameError('setting', key, known)}")
