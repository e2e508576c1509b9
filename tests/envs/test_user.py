"""The simulated user: rules, a model behind an API, and what an episode makes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import gymnasium as gym
import pytest
from pydantic import ValidationError

from repodrome.envs.episode import Episode
from repodrome.envs.user import RecordedUser
from repodrome.errors import UsageError
from repodrome.tasks.model import ContextSpec, Limits, Task, ToolsSpec, UserRule, UserSpec
from tests.envs.conftest import call, turn
from tests.fakes.chat_server import ChatServer, Reply, refused
from tests.fakes.plain_sandbox import PlainBackend

WRITE = turn(call("write_file", path="done.txt", content="x"))
LOOK = turn(call("list_dir"))


def play(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


@pytest.fixture
def with_user(make_task: Callable[..., Task]) -> Callable[..., Task]:
    """A task whose user follows the given rules."""

    def make(*rules: UserRule, name: str = "talk", **changes: Any) -> Task:
        return make_task(name, user=UserSpec(rules=rules), **changes)

    return make


ASKED = UserRule(when="question", say="The first one.")


def test_a_question_is_answered_and_the_episode_goes_on(
    with_user: Callable[..., Task], backend: PlainBackend
) -> None:
    async def scenario() -> None:
        async with await Episode.start(with_user(ASKED), backend=backend) as episode:
            assert "Nobody answers" not in episode.messages[0]["content"]
            step = await episode.step("Which one do you mean?")
            assert episode.stop_reason is None and step.observation == "The first one."
            assert [(s.kind, s.rule) for s in step.said] == [("answer", 0)]
            assert episode.messages[-2:] == [
                {"role": "assistant", "content": "Which one do you mean?"},
                {"role": "user", "content": "The first one."},
            ]
            await episode.step(WRITE)
            await episode.step("Done.")
            assert episode.terminated and episode.trajectory.final_message == "Done."
            assert (await episode.score()).total == 1.0

    play(scenario())


def test_a_question_comes_before_edits(
    with_user: Callable[..., Task], backend: PlainBackend
) -> None:
    async def scenario() -> None:
        async with await Episode.start(with_user(ASKED), backend=backend) as episode:
            await episode.step(turn(call("terminal", command="echo x > by-shell.txt")))
            await episode.step("Is this right?")
            assert episode.terminated

    play(scenario())


def test_finishing_hands_over_as_well(
    with_user: Callable[..., Task], backend: PlainBackend
) -> None:
    task = with_user(
        UserRule(when="done", pattern=r"\?$", say="Yes, go on."),
        UserRule(when="done", say="Add a test, too.", kind="change"),
    )

    async def scenario() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            step = await episode.step(turn(call("finish", message="Shall I go on?")))
            assert step.observation == "[finished]\n\nYes, go on."
            assert [m["role"] for m in episode.messages[-3:]] == ["assistant", "tool", "user"]
            step = await episode.step(turn(call("finish", message="All done.")))
            assert step.said[0].kind == "change"
            step = await episode.step(turn(call("finish", message="Really done.")))
            assert episode.trajectory.final_message == "Really done." and not step.said

    play(scenario())


def test_interruptions(with_user: Callable[..., Task], backend: PlainBackend) -> None:
    task = with_user(
        UserRule(when="turns", after=2, say="Stop. Do the other thing."),
        UserRule(when="changed", path="src/**", say="Keep src small."),
        UserRule(when="says", pattern="sleep", say="Don't sleep."),
    )

    async def scenario() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            assert not (await episode.step(LOOK)).said
            step = await episode.step(turn(call("write_file", path="src/a.py", content="")))
            assert [said.rule for said in step.said] == [0], "one at a time, in order"
            assert [said.rule for said in (await episode.step(LOOK)).said] == [1]
            assert not (await episode.step(LOOK)).said, "each speaks once"
            step = await episode.step(turn(call("list_dir"), content="I'll SLEEP on it."))
            assert step.said[0].kind == "interrupt"
            assert episode.messages[-1] == {"role": "user", "content": "Don't sleep."}

    play(scenario())


def test_what_the_user_wants_to_say_reaches_a_quick_agent(
    with_user: Callable[..., Task], backend: PlainBackend
) -> None:
    async def scenario() -> None:
        rule = UserRule(when="turns", after=50, say="One more thing.", kind="change")
        async with await Episode.start(with_user(rule), backend=backend) as episode:
            step = await episode.step("Done at once.")
            assert step.observation == "One more thing." and episode.stop_reason is None
            await episode.step("And that.")
            assert episode.terminated

    play(scenario())


def test_nobody_is_asked_in_the_last_turn(
    with_user: Callable[..., Task], backend: PlainBackend
) -> None:
    async def scenario() -> None:
        task = with_user(ASKED, limits=Limits(max_turns=1))
        async with await Episode.start(task, backend=backend) as episode:
            await episode.step("Which?")
            assert episode.terminated and episode.trajectory.final_message == "Which?"

    play(scenario())


def test_malformed_turns_hear_the_user_in_one_message(
    with_user: Callable[..., Task], backend: PlainBackend
) -> None:
    async def scenario() -> None:
        rule = UserRule(when="turns", after=1, say="By the way.")
        async with await Episode.start(with_user(rule), backend=backend) as episode:
            step = await episode.step("{")
            assert [m["role"] for m in episode.messages[-2:]] == ["assistant", "user"]
            assert "could not be read" in step.observation and "By the way." in step.observation
            assert episode.messages[-1]["content"] == step.observation

    play(scenario())


def test_forks_and_snapshots_know_what_was_said(
    with_user: Callable[..., Task], backend: PlainBackend
) -> None:
    async def scenario() -> None:
        async with await Episode.start(with_user(ASKED), backend=backend) as episode:
            before = await episode.snapshot()
            await episode.step("Which?")
            async with await episode.fork() as other:
                await other.step("Which, again?")
                assert other.terminated
            await episode.restore(before)
            assert (await episode.step("Which now?")).said
            await before.release()

    play(scenario())


def test_the_users_words_outlive_a_summary(
    with_user: Callable[..., Task], backend: PlainBackend
) -> None:
    task = with_user(
        ASKED,
        context=ContextSpec(budget=6000),
        tools=ToolsSpec(include=("terminal", "finish")),
    )

    async def scenario() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            await episode.step("Which one?")
            while not episode.summary_wanted:
                await episode.step(turn(call("terminal", command="seq 1 9000")))
            step = await episode.step("A summary that forgets it.")
            assert "Since then the user said:\n\nThe first one." in step.observation

    play(scenario())


def test_gymnasium(with_user: Callable[..., Task], backend: PlainBackend) -> None:
    env = gym.make("repodrome:repodrome/Repo-v0", task=with_user(ASKED), sandbox=backend)
    env.reset(seed=1)
    observation, reward, terminated, truncated, info = env.step("Which one?")
    assert (observation, reward, terminated, truncated) == ("The first one.", 0.0, False, False)
    assert info["messages"][-1]["role"] == "user"
    env.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"when": "turns", "say": "x"},
        {"when": "changed", "say": "x"},
        {"when": "says", "say": "x"},
        {"when": "says", "pattern": "(", "say": "x"},
        {"when": "done", "say": " "},
        {"when": "never", "say": "x"},
    ],
)
def test_rules_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        UserRule(**wrong)


# -- a model as the user ------------------------------------------------------------------------


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    with ChatServer("[nothing]") as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "k3y")
        yield server


@pytest.fixture
def modelled(make_task: Callable[..., Task]) -> Task:
    return make_task(user=UserSpec(rules=(ASKED,), model="small-one", brief="Likes blue."))


def test_a_model_answers_where_no_rule_does(
    modelled: Task, endpoint: ChatServer, backend: PlainBackend
) -> None:
    endpoint.answers = ["Blue, please.", "[nothing]"]

    async def scenario() -> None:
        async with await Episode.start(modelled, backend=backend) as episode:
            assert (await episode.step("Which?")).said[0].rule == 0
            step = await episode.step("Which colour?")
            assert (step.said[0].text, step.said[0].rule) == ("Blue, please.", None)
            await episode.step(LOOK)
            await episode.step("Painted.")
            assert episode.terminated
            recorded = episode.trajectory
        # What a model said is played again from the record, without asking it.
        user = RecordedUser(recorded.steps)
        async with await Episode.start(modelled, backend=backend, user=user) as episode:
            for step in recorded.steps:
                assert (await episode.step(step.turn)).said == step.said
            assert episode.terminated

    play(scenario())
    assert len(endpoint.asked) == 2
    body = endpoint.asked[1]
    assert (body["model"], endpoint.keys[1]) == ("small-one", "Bearer k3y")
    assert "Likes blue." in body["messages"][0]["content"]
    assert [message["content"] for message in body["messages"][1:]] == [
        *("Which?", "The first one.", "Which colour?", "Blue, please.", "Painted."),
    ]


def test_a_model_answers_only_so_often(
    make_task: Callable[..., Task], endpoint: ChatServer, backend: PlainBackend
) -> None:
    task = make_task(user=UserSpec(model="m", max_replies=2))
    endpoint.answers = ["Hm."]

    async def scenario() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            for _ in range(3):
                await episode.step("Well?")
            assert episode.terminated and len(episode.steps) == 3

    play(scenario())


def test_a_busy_api_is_asked_again(
    modelled: Task, endpoint: ChatServer, backend: PlainBackend
) -> None:
    endpoint.answers = [refused(503, "busy"), "Blue."]

    async def scenario() -> None:
        async with await Episode.start(modelled, backend=backend) as episode:
            await episode.step("Which?")
            assert (await episode.step("Which colour?")).said[0].text == "Blue."

    play(scenario())


@pytest.mark.parametrize(
    "answer", [refused(401, "no"), Reply({"choices": []}), {"role": "assistant", "content": None}]
)
def test_a_broken_api_is_no_fault_of_the_agent(
    modelled: Task, endpoint: ChatServer, backend: PlainBackend, answer: Any
) -> None:
    endpoint.answers = [answer]

    async def scenario() -> None:
        async with await Episode.start(modelled, backend=backend) as episode:
            await episode.step("Which?")
            await episode.step("Which colour?")
            assert episode.stop_reason == "infra" and "user's model" in episode.infra_error
            assert (await episode.score()).total is None

    play(scenario())


def test_without_an_endpoint(
    modelled: Task, backend: PlainBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)

    async def scenario() -> None:
        with pytest.raises(UsageError, match="OPENAI_BASE_URL"):
            await Episode.start(modelled, backend=backend)

    play(scenario())
    assert not backend.started
