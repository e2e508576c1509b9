"""The agent that does nothing: what an episode is worth without any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from repodrome.envs.trajectory import AssistantTurn
from repodrome.harness.agents.base import AgentContext


class NopAgent:
    """Finishes at once."""

    name = "nop"
    interactive = False
    all_tools = False

    async def act(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        context: AgentContext,
    ) -> AssistantTurn:
        """A plain message without calls, which finishes the episode."""
        return AssistantTurn(content="Nothing done.")
