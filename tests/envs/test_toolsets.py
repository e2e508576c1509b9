"""What a task's [tools] table, parallel calls, hints and todos do to an episode."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

import gymnasium as gym

from repodrome.envs.calls import CallRunner
from repodrome.envs.episode import Episode
from repodrome.envs.trajectory import ToolCall, ToolResult
from repodrome.envs.vector import RepoVectorEnv
from repodrome.tasks.model import Limits, Task, ToolsSpec
from repodrome.tools.base import Arguments, ToolContext, ToolOutput, ToolState
from repodrome.tools.toolbox import Toolbox
from tests.envs.conftest import call, turn
from tests.fakes.local_workspace import LocalWorkspace
from tests.fakes.plain_sandbox import PlainBackend


def play(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 30))


def test_renaming_reaches_prompt_schemas_and_record(
    make_task: Callable[..., Task], backend: PlainBackend
) -> None:
    task = make_task(
        tools=ToolsSpec(rename={"finish": "submit", "finish.message": "summary"}, hints=True)
    )

    async def scenario() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            assert "call `submit`" in episode.messages[0]["content"]
            step = await episode.step(turn(call("finish", message="x")))
            assert "The tools are:" in step.observation and step.results[0].tool == ""
            step = await episode.step(turn(call("submit", summary="Did it.")))
            record = episode.trajectory
            assert record.final_message == "Did it."
            result = record.steps[-1].results[0]
            assert (result.name, result.tool) == ("submit", "finish")
            made = record.steps[-1].turn.tool_calls[0]
            assert record.own_arguments(made, result.tool) == {"message": "Did it."}
            assert record.renamed == {"finish": "submit", "finish.message": "summary"}

    play(scenario())


def test_perturbation_goes_by_seed_and_task(
    make_task: Callable[..., Task], backend: PlainBackend
) -> None:
    spec = ToolsSpec(perturb=("tools", "parameters", "order"))
    one, other = make_task("one", tools=spec), make_task("other", tools=spec)

    async def scenario() -> None:
        seen = []
        for task, seed in ((one, 1), (one, 1), (one, 2), (other, 1)):
            async with await Episode.start(task, seed=seed, backend=backend) as episode:
                fork = await episode.fork()
                assert fork.tools == episode.tools
                assert fork.trajectory.renamed == episode.trajectory.renamed != {}
                await fork.close()
                seen.append((episode.tools, episode.messages[0]["content"]))
        assert seen[0] == seen[1]
        assert seen[0][0] != seen[2][0] != seen[3][0] != seen[0][0]

    play(scenario())


def test_without_finish_the_prompt_names_none(
    make_task: Callable[..., Task], backend: PlainBackend
) -> None:
    async def scenario() -> None:
        task = make_task(tools=ToolsSpec(exclude=("finish",)))
        async with await Episode.start(task, backend=backend) as episode:
            assert "finish" not in episode.messages[0]["content"]

    play(scenario())


def test_hints_are_in_info_and_not_in_the_observation(task: Task, backend: PlainBackend) -> None:
    env = gym.make("repodrome:repodrome/Repo-v0", task=task, sandbox=backend)
    _, info = env.reset(seed=0)
    assert info["hints"] == []
    observation, _, _, _, info = env.step(
        turn(call("list_dir"), call("read_file", path="readme.mt"), call("reed"))
    )
    assert [one["call_id"] for one in info["hints"]] == ["call_0_1", "call_0_2"]
    assert info["hints"][0]["hint"] == "Nearest in .: readme.md"
    assert "Nearest" not in observation and "The tools are" not in observation
    _, _, _, _, info = env.step(turn(call("list_dir")))
    assert info["hints"] == []
    env.close()


def test_hints_of_vector_members_stay_apart(task: Task, backend: PlainBackend) -> None:
    envs = RepoVectorEnv(2, task, sandbox=backend)
    envs.reset(seed=0)
    *_, infos = envs.step(({"tool_calls": [call("reed")]}, {"tool_calls": [call("list_dir")]}))
    assert [len(hints) for hints in infos["hints"]] == [1, 0]
    assert infos["hints"][0][0]["call_id"] == "call_0_0"
    envs.close()


def test_the_plan_is_copied_with_the_episode_and_ends_in_the_record(
    task: Task, backend: PlainBackend
) -> None:
    async def scenario() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            await episode.step(turn(call("todo_write", todos=["in_progress: a", "b"])))
            fork = await episode.fork()
            update = call("todo_write", todos=["completed: a"], merge=True)
            step = await fork.step(turn(update))
            assert "completed: a\npending: b" in step.observation
            await fork.step(turn(call("todo_write", todos=["x: "] * 2)))  # refused
            for one, status in ((fork, "completed"), (episode, "in_progress")):
                todos = one.trajectory.todos
                assert [(t.text, t.status) for t in todos] == [("a", status), ("b", "pending")]
            await fork.close()

    play(scenario())


class NoArguments(Arguments):
    """None."""


@dataclass(frozen=True)
class Meeting:
    """Waits until as many calls of it run at once as should, or for a tenth of a second."""

    wanted: int
    running: list[int]
    met: asyncio.Event = field(default_factory=asyncio.Event)
    name: str = "meet"
    description: str = "Waits for the others."
    arguments: ClassVar[type[Arguments]] = NoArguments
    read_only: bool = True

    async def run(self, arguments: NoArguments, context: ToolContext) -> ToolOutput:
        self.running[0] += 1
        self.running[1] = max(self.running[1], self.running[0])
        if self.running[1] >= self.wanted:
            self.met.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.met.wait(), 0.1)
        self.running[0] -= 1
        return ToolOutput("met")


def test_eight_read_only_calls_run_at_once_and_others_alone(tmp_path: Any) -> None:
    async def scenario() -> None:
        reading, writing = [0, 0], [0, 0]
        box = Toolbox(
            [Meeting(8, reading), Meeting(2, writing, name="change", read_only=False)],
        )
        context = ToolContext(LocalWorkspace(tmp_path), ToolState())
        runner = CallRunner(box, context, Limits(), lambda: 60.0)
        calls = [ToolCall(id=f"c{n}", name="meet", arguments={}) for n in range(9)]
        results: list[ToolResult | None] = [None] * 9
        await runner.run(calls, results)
        assert reading[1] == 8
        done = [result for result in results if result is not None]
        assert [result.call_id for result in done] == [one.id for one in calls]
        assert [result.error for result in done] == [""] * 8 + ["too_many_calls"]
        first_end = min(r.began + r.seconds for r in done[:8])
        assert all(r.began < first_end for r in done[:8])

        names = ["change", "meet", "change", "change"]
        calls = [ToolCall(id=f"d{n}", name=name, arguments={}) for n, name in enumerate(names)]
        results = [None] * 4
        await runner.run(calls, results)
        assert writing[1] == 1
        done = [result for result in results if result is not None]
        ends = [r.began + r.seconds for r in done]
        assert all(end <= r.began + 1e-3 for end, r in zip(ends, done[1:], strict=False))

        few = CallRunner(box, context, Limits(max_calls_per_turn=2), lambda: 60.0)
        results = [None] * 4
        await few.run(calls, results)
        assert [r.error for r in results if r is not None][2:] == ["too_many_calls"] * 2

    play(scenario())
