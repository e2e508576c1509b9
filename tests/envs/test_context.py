"""Long episodes: the context budget, summaries, and the contexts that follow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import gymnasium as gym
import pytest

from repodrome.envs.episode import Episode
from repodrome.envs.tokens import MessageCounter, clip, estimate, get_tokenizer
from repodrome.errors import UnknownNameError, UsageError
from repodrome.tasks.model import ContextSpec, Limits, Task, ToolsSpec
from tests.envs.conftest import call, turn
from tests.fakes.plain_sandbox import PlainBackend

BUDGET = 6000
LOOK = turn(call("terminal", command="seq 1 3000"))  # some 3,400 tokens
WRITE = turn(call("write_file", path="done.txt", content="x"))
FEW = ToolsSpec(include=("terminal", "write_file", "todo_write", "finish"))


def play(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


@pytest.fixture
def small(make_task: Callable[..., Task]) -> Task:
    return make_task(context=ContextSpec(budget=BUDGET), tools=FEW)


PLAN = turn(call("todo_write", todos=["completed: count", "in_progress: write it down"]))


async def fill(episode: Episode) -> None:
    """Look around until a summary is wanted."""
    while not episode.summary_wanted:
        await episode.step(LOOK)


def test_without_a_budget_there_is_one_segment(task: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            await episode.step(LOOK)
            await episode.step("done")
            (segment,) = episode.segments
            assert list(segment.messages) == episode.messages
            assert (segment.trigger, segment.summary, segment.steps) == ("", "", 2)
            assert segment.tokens == episode.tokens == episode.steps[-1].tokens > 0

    play(scenario())


def test_a_full_context_is_summarised_and_left(small: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        async with await Episode.start(small, backend=backend) as episode:
            await episode.step(WRITE)
            await episode.step(PLAN)
            await fill(episode)
            asked = episode.steps[-1]
            assert [said.kind for said in asked.said] == ["summary_request"]
            assert "summary" in asked.observation and asked.observation.startswith("1\n2\n")
            assert episode.messages[-1] == {"role": "user", "content": asked.said[0].text}
            first = list(episode.messages)
            step = await episode.step("I wrote done.txt; nothing is left.")
            assert episode.stop_reason is None and episode.segment == 1
            assert not episode.summary_wanted
            assert [m["role"] for m in episode.messages] == ["system", "user"]
            opening = episode.messages[-1]["content"]
            assert step.observation == opening
            assert opening.startswith(small.instruction)
            assert "I wrote done.txt; nothing is left." in opening
            assert "- in_progress: write it down" in opening
            assert "- done.txt" in opening and "0 earlier summaries" in opening
            one, two = episode.segments
            assert list(one.messages[:-1]) == first
            assert one.trigger == "budget" and one.summary.startswith("I wrote")
            assert one.tokens <= BUDGET and two.tokens == episode.tokens < BUDGET // 2
            assert step.segment == 0
            assert (await episode.step(LOOK)).segment == 1
            assert list(episode.segments[1].messages) == episode.messages
            await fill(episode)
            await episode.step("More of the same.")
            assert "1 earlier summary," in episode.messages[-1]["content"]
            assert "I wrote done.txt" not in episode.messages[-1]["content"]
            await episode.step("Finished.")
            assert episode.terminated and (await episode.score()).total == 1.0
            assert len(episode.trajectory.openings) == 3

    play(scenario())


def test_messages_only_grow_within_a_context(small: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        async with await Episode.start(small, backend=backend) as episode:
            held, copy = episode.messages, list(episode.messages)
            for _ in range(6):
                before, segment = list(episode.messages), episode.segment
                await episode.step("A summary." if episode.summary_wanted else LOOK)
                if episode.segment == segment:
                    assert episode.messages[: len(before)] == before
                assert episode.tokens <= BUDGET
            assert episode.segment >= 2
            assert held[: len(copy)] == copy, "the first context's list is left as it was"

    play(scenario())


def test_output_that_alone_exceeds_the_budget_is_cut(small: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        async with await Episode.start(small, backend=backend) as episode:
            huge = call("terminal", command="seq 1 20000")
            step = await episode.step(turn(huge, huge))
            assert episode.summary_wanted and episode.tokens <= BUDGET
            for result in step.results:
                assert result.truncated and result.data["context_cut"] > 1000
                assert "the context is full" in result.text
            assert step.results[0].text.startswith("1\n2\n")

    play(scenario())


def test_calls_in_place_of_a_summary_are_not_run(small: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        async with await Episode.start(small, backend=backend) as episode:
            await fill(episode)
            step = await episode.step(WRITE)
            assert [result.error for result in step.results] == ["summary_wanted"]
            assert "That was no summary" in step.observation and episode.summary_wanted
            step = await episode.step(turn(call("finish", message="done")))
            assert episode.segment == 1 and episode.stop_reason is None
            assert "You gave no summary" in step.observation
            assert "Changed files: none" in step.observation
            assert episode.segments[0].trigger == "no_summary"

    play(scenario())


def test_malformed_and_empty_turns_are_no_summaries(small: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        async with await Episode.start(small, backend=backend) as episode:
            await fill(episode)
            step = await episode.step('{"content": ')
            assert "could not be read" in step.observation and "no summary" in step.observation
            assert [m["role"] for m in episode.messages[-2:]] == ["assistant", "user"]
            await episode.step("")
            one = episode.segments[0]
            assert one.trigger == "no_summary" and one.messages[-1]["role"] == "user"

    play(scenario())


def test_a_summary_that_is_too_long_is_cut(small: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        async with await Episode.start(small, backend=backend) as episode:
            await fill(episode)
            await episode.step("word " * 5000)
            assert estimate(episode.segments[0].summary) <= BUDGET // 8
            assert "[… cut]" in episode.messages[-1]["content"]
            assert episode.tokens < BUDGET // 2

    play(scenario())


def test_many_changed_files_fit(small: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        async with await Episode.start(small, backend=backend) as episode:
            await episode.step(turn(call("terminal", command="touch new{1..300}.txt $'a\\nb'")))
            await fill(episode)
            step = await episode.step("Many files.")
            assert "- and 251 more" in step.observation and "- 'a\\nb'" in step.observation
            assert episode.tokens < BUDGET // 2

    play(scenario())


def test_limits_count_over_all_segments(
    make_task: Callable[..., Task], backend: PlainBackend
) -> None:
    task = make_task(
        context=ContextSpec(budget=BUDGET), tools=FEW, limits=Limits(max_turns=7, max_tool_calls=50)
    )

    async def scenario() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            while episode.stop_reason is None:
                await episode.step("A summary." if episode.summary_wanted else LOOK)
            assert episode.stop_reason == "max_turns" and len(episode.steps) == 7
            assert sum(segment.steps for segment in episode.segments) == 7
        few = task.model_copy(update={"limits": Limits(max_tool_calls=3)})
        async with await Episode.start(few, backend=backend) as episode:
            while episode.stop_reason is None:
                await episode.step("A summary." if episode.summary_wanted else LOOK)
            assert episode.stop_reason == "max_tool_calls" and episode.segment > 0

    play(scenario())


def test_snapshot_restore_and_fork(small: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        async with await Episode.start(small, backend=backend) as episode:
            await fill(episode)
            at = await episode.snapshot()
            await episode.step("One way.")
            assert episode.segment == 1
            async with await episode.fork() as other:
                await fill(other)
                await other.step("Another summary.")
                assert (other.segment, episode.segment) == (2, 1)
                assert other.segments[:1] == episode.segments[:1]
            await episode.restore(at)
            assert episode.segment == 0 and episode.summary_wanted
            await episode.step("Another way.")
            assert episode.segments[0].summary == "Another way."
            await at.release()

    play(scenario())


def test_infra_failure_between_contexts(small: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        async with await Episode.start(small, backend=backend) as episode:
            await fill(episode)
            await episode.sandbox.close()
            await episode.step("A summary.")
            assert episode.stop_reason == "infra" and episode.infra_failed

    play(scenario())
    assert not backend.live


def test_budgets_that_cannot_work(task: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        with pytest.raises(UsageError, match="give at least"):
            await Episode.start(task, backend=backend, context_budget=500)
        with pytest.raises(UsageError, match="-1"):
            await Episode.start(task, backend=backend, context_budget=-1)
        with pytest.raises(UnknownNameError, match="bytes"):
            await Episode.start(task, backend=backend, tokenizer="byte")

    play(scenario())
    assert not backend.started


def test_the_least_budget_that_is_named_works(
    make_task: Callable[..., Task], backend: PlainBackend
) -> None:
    task = make_task(context=ContextSpec(summary=64), tools=FEW)

    async def scenario() -> None:
        with pytest.raises(UsageError) as refused:
            await Episode.start(task, backend=backend, context_budget=1)
        least = int(str(refused.value).split("at least ")[1].split(",")[0])
        async with await Episode.start(task, backend=backend, context_budget=least) as episode:
            for _ in range(4):
                await fill(episode)
                await episode.step("word " * 1000)
                assert not episode.summary_wanted

    play(scenario())


def test_a_tokenizer_of_ones_own(task: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        async with await Episode.start(task, backend=backend, tokenizer=len) as episode:
            schemas = MessageCounter(len).schemas(episode.tools)
            texts = sum(len(message["content"]) + 4 for message in episode.messages)
            assert episode.tokens == schemas + texts

    play(scenario())


def test_gymnasium(small: Task, backend: PlainBackend) -> None:
    env = gym.make("repodrome:repodrome/Repo-v0", task=small, sandbox=backend)
    _, info = env.reset(seed=1)
    assert (info["segment"], info["summary_wanted"]) == (0, False)
    while not info["summary_wanted"]:
        observation, *_, info = env.step(LOOK)
    assert "Your context is full" in observation
    observation, _, terminated, _, info = env.step("Looked around.")
    assert not terminated and info["segment"] == 1
    assert observation == info["messages"][-1]["content"] and len(info["messages"]) == 2
    assert "segments" not in info
    env.step(WRITE)
    _, reward, _, _, info = env.step("Done.")
    assert reward == 1.0
    assert [segment["trigger"] for segment in info["segments"]] == ["budget", ""]
    assert info["segments"][1]["messages"] == info["messages"]
    env.close()


def test_the_budget_from_make(make_task: Callable[..., Task], backend: PlainBackend) -> None:
    envs = gym.make_vec(
        "repodrome:repodrome/Repo-v0",
        num_envs=2,
        task=make_task(tools=FEW),
        sandbox=backend,
        context_budget=BUDGET,
        tokenizer=estimate,
    )
    envs.reset(seed=1)
    *_, infos = envs.step([turn(call("terminal", command="seq 1 20000"))] * 2)
    assert list(infos["summary_wanted"]) == [True, True]
    envs.close()


def test_counting() -> None:
    assert [estimate(text) for text in ("", "a", "abcd", "abcde", "🎵🎵")] == [0, 1, 1, 2, 2]
    assert get_tokenizer("bytes") is estimate
    assert clip("abcdefgh", 1, estimate) == "abcd" and clip("ab", 1, estimate) == "ab"
    assert clip("äöü", 0, estimate) == ""
    with pytest.raises(UsageError, match="no tokenizer"):
        get_tokenizer(3)  # type: ignore[arg-type]
