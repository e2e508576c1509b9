"""Agents by name: ``oracle``, ``nop``, ``human``, ``scripted:FILE``, and what others registered.

A third party adds one through the entry-point group ``repodrome.agent``: a callable that takes the
text behind the colon (``""`` without one) and returns a fresh agent.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from repodrome.errors import UnknownNameError, UsageError
from repodrome.harness.agents.base import Agent

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


def agent_names() -> list[str]:
    """Every registered name, sorted."""
    return sorted({*_BUILTIN, *(point.name for point in entry_points(group=GROUP))})


def get_agent(spec: str) -> Agent:
    """A fresh agent from ``NAME`` or ``NAME:ARGUMENT``.

    Raises:
        UnknownNameError: no agent of that name; the nearest ones are named.
        UsageError: the argument is missing, superfluous or bad.
    """
    name, _, argument = spec.partition(":")
    factory = _BUILTIN.get(name)
    if factory is None:
        for point in entry_points(group=GROUP):
            if point.name == name:
                factory = point.load()
                break
    if factory is None:
        raise UnknownNameError("agent", name, agent_names())
    return factory(argument)
