"""The same work is worth the same in either sandbox: what was done decides, not where."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from repodrome.envs.rewards.base import RewardReport
from repodrome.envs.trajectory import AssistantTurn, ToolCall
from repodrome.harness.agents.base import AgentContext
from repodrome.harness.agents.nop import NopAgent
from repodrome.harness.agents.oracle import OracleAgent
from repodrome.harness.rollout import play
from repodrome.tasks.suites import get_suite

pytestmark = [pytest.mark.slow, pytest.mark.network]

UNDO_ONE = 'git checkout -- "$(git diff --name-only | tail -n 1)"; git status --short'


class HalfOracle(OracleAgent):
    """Takes one file of the solution back before it finishes."""

    def __init__(self) -> None:
        super().__init__()
        self._undone = False

    async def act(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        context: AgentContext,
    ) -> AssistantTurn:
        turn = await super().act(messages, tools, context)
        if turn.tool_calls or self._undone or context.summary_wanted:
            return turn
        self._undone = True
        call = ToolCall(id="undo", name="terminal", arguments={"command": UNDO_ONE})
        return AssistantTurn(tool_calls=(call,))


def told(report: RewardReport | None) -> dict[str, Any]:
    assert report is not None and report.verdict is not None and not report.infra_failed
    verdict = report.verdict
    return {
        "total": report.total,
        "rewards": [(part.name, part.value, part.gated) for part in report.rewards],
        "asked for": verdict.fail_to_pass,
        "kept": verdict.pass_to_pass,
        "tampering": verdict.tampering,
        "dropped": verdict.dropped,
    }


@pytest.mark.parametrize("agent", [NopAgent, HalfOracle, OracleAgent])
def test_the_same_work_is_worth_the_same(agent: type[OracleAgent | NopAgent]) -> None:
    async def play_all() -> dict[str, set[float | None]]:
        totals: dict[str, set[float | None]] = {}
        for task in get_suite("builtin"):
            found = [
                (await play(task, agent(), backend=sandbox)).report
                for sandbox in ("bubblewrap", "docker")
            ]
            assert told(found[0]) == told(found[1]), task.id
            totals[task.id] = {report.total for report in found if report}
        return totals

    assert len(asyncio.run(play_all())) >= 16
