"""Agents by name: ``oracle``, ``nop``, ``human``, ``scripted:FILE``, and what others registered.

A third party adds one through the entry-point group ``repodrome.agent``: a callable that takes the
text behind the colon (``""`` without one) and returns a fresh agent.
"""

from __future__ import annotations

from collections.abc import Callable

from repodrome.errors import UsageError
from repodrome.harness.agents.base import Agent
from repodrome.plugins import load_installed

AgentFactory = Callable[[str], Agent]
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


_BUILTIN: dict[str, AgentFactory] = {
    "oracle": _oracle,
    "nop": _nop,
    "scripted": _scripted,
    "human": _human,
}


def get_agent(spec: str) -> Agent:
    """A fresh agent from ``NAME`` or ``NAME:ARGUMENT``.

    Raises:
        UnknownNameError: no agent of that name; the nearest ones are named.
        UsageError: the argument is missing, superfluous or bad.
    """
    name, _, argument = spec.partition(":")
    factory: AgentFactory = _BUILTIN.get(name) or load_installed("agent", name, GROUP, _BUILTIN)
    return factory(argument)
