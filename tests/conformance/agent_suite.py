"""What any Agent must do, ours or a third party's.

Use it from a test, with a task that the agent can play::

    @pytest.mark.parametrize("check", CHECKS)
    async def test_my_agent(check, task):
        await check(lambda: MyAgent(), task, "bubblewrap")
"""

from __future__ import annotations

import copy
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

from repodrome.envs.actions import parse_turn
from repodrome.envs.environment import prepare
from repodrome.envs.episode import Episode
from repodrome.envs.trajectory import AssistantTurn, Trajectory
from repodrome.harness.agents.base import Agent, AgentContext
from repodrome.harness.rollout import task_for
from repodrome.tasks.model import Task

Check = Callable[[Callable[[], Agent], Task, str], Awaitable[None]]


async def _play(agent: Agent, task: Task, backend: str) -> Trajectory:
    """One episode, every turn looked at."""
    played = task_for(task, all_tools=agent.all_tools)
    async with await Episode.start(played, seed=3, backend=backend) as episode:
        prepared = await prepare(played, episode.backend)
        context = AgentContext(task=played, seed=3, materialised=prepared.materialised)
        while episode.stop_reason is None:
            before = copy.deepcopy((episode.messages, episode.tools))
            turn = await agent.act(episode.messages, episode.tools, context)
            assert (episode.messages, episode.tools) == before, "it changed what it was shown"
            _look_at(turn)
            context = replace(context, last=await episode.step(turn))
        return episode.trajectory


def _look_at(turn: AssistantTurn) -> None:
    assert isinstance(turn, AssistantTurn)
    assert AssistantTurn.model_validate_json(turn.model_dump_json()) == turn
    read = parse_turn(turn)
    assert not read.malformed, read.malformed
    assert [call.id for call in read.tool_calls] == [call.id for call in turn.tool_calls]
    for call in turn.tool_calls:
        json.dumps(call.arguments)


async def is_an_agent(make: Callable[[], Agent], task: Task, backend: str) -> None:
    agent = make()
    assert isinstance(agent, Agent)
    assert isinstance(agent.name, str) and agent.name.isprintable() and agent.name
    assert isinstance(agent.interactive, bool) and isinstance(agent.all_tools, bool)
    assert make() is not agent, "every episode gets a fresh one"


async def plays_to_an_end_of_its_own(make: Callable[[], Agent], task: Task, backend: str) -> None:
    record = await _play(make(), task, backend)
    assert record.stop_reason == "finished" and record.steps


async def plays_the_same_again(make: Callable[[], Agent], task: Task, backend: str) -> None:
    """One agent's episode leaves no trace in the next one's."""
    first, again = [
        [(step.turn, step.observation) for step in (await _play(make(), task, backend)).steps]
        for _ in range(2)
    ]
    assert first == again


async def lives_with_limits(make: Callable[[], Agent], task: Task, backend: str) -> None:
    """Cut off after one call: it goes on, or the episode ends; nothing is raised."""
    limits = task.limits.model_copy(update={"max_calls_per_turn": 1, "max_turns": 2})
    record = await _play(make(), task.model_copy(update={"limits": limits}), backend)
    assert record.stop_reason in ("finished", "max_turns")


CHECKS: tuple[Check, ...] = (
    is_an_agent,
    plays_to_an_end_of_its_own,
    plays_the_same_again,
    lives_with_limits,
)
"""For agents that are not deterministic, leave ``plays_the_same_again`` out."""
