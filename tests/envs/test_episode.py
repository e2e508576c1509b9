"""The episode: limits, lanes, cancellation, snapshots."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from repodrome.envs.episode import Episode
from repodrome.envs.events import Event
from repodrome.envs.trajectory import AssistantTurn
from repodrome.errors import SandboxError, SetupError, UnknownNameError, UsageError
from repodrome.tasks.model import EnvironmentSpec, Limits, RewardSpec, Task, ToolsSpec
from tests.envs.conftest import call, text, turn
from tests.fakes.plain_sandbox import PlainBackend


def play(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 30))


def test_a_whole_episode(task: Task, backend: PlainBackend) -> None:
    events: list[Event] = []

    async def scenario() -> None:
        async with await Episode.start(
            task, seed=7, backend=backend, on_event=events.append
        ) as episode:
            assert [m["role"] for m in episode.messages] == ["system", "user"]
            assert "terminal" in [t["function"]["name"] for t in episode.tools]
            step = await episode.step(
                turn(call("write_file", path="done.txt", content="ä"), call("list_dir"))
            )
            assert [r.call_id for r in step.results] == ["call_0_0", "call_0_1"]
            assert "done.txt" in step.results[1].text
            before = list(episode.messages)
            await episode.step(turn(call("finish", message="Did it.")))
            assert episode.messages[: len(before)] == before
            assert episode.terminated and not episode.truncated
            report = await episode.score()
            assert report.total == 1.0 and await episode.score() is report
            assert episode.change is not None and episode.change.paths == ("done.txt",)
            record = episode.trajectory
            assert record.final_message == "Did it." and record.stop_reason == "finished"
            assert [s.index for s in record.steps] == [0, 1]
            with pytest.raises(UsageError, match="over"):
                await episode.step("more")
        await episode.close()

    play(scenario())
    assert not backend.live
    kinds = [event.kind for event in events]
    assert kinds[kinds.index("started") :] == [
        *("started", "turn", "call", "result", "call", "result", "step"),
        *("turn", "call", "result", "step", "stopped", "scored", "closed"),
    ]


def test_nothing_done_earns_nothing(task: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            await episode.step("I give up.")
            assert episode.terminated and episode.trajectory.final_message == "I give up."
            assert (await episode.score()).total == 0.0

    play(scenario())


def test_malformed_and_wrong_calls_are_observations(task: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            step = await episode.step('{"tool_calls": ')
            assert "could not be read" in step.observation
            assert episode.messages[-1] == {"role": "user", "content": step.observation}
            step = await episode.step(turn(call("no_such_tool"), call("glob", wrong=1)))
            assert [r.error for r in step.results] == ["unknown_tool", "invalid_arguments"]
            both = AssistantTurn.model_validate({"malformed": "cut off", "tool_calls": []})
            assert "cut off" in (await episode.step(both)).observation
            assert episode.stop_reason is None
            assert len(episode.trajectory.steps) == 3

    play(scenario())


def test_limits(make_task: Callable[..., Task], backend: PlainBackend) -> None:
    async def stop(limits: Limits, *turns: Any) -> Episode:
        task = make_task(f"t{len(backend.started)}", limits=limits)
        async with await Episode.start(task, backend=backend) as episode:
            for one in turns:
                await episode.step(one)
        assert episode.truncated
        return episode

    async def scenario() -> None:
        look = turn(call("list_dir"))
        assert (await stop(Limits(max_turns=2), look, look)).stop_reason == "max_turns"
        episode = await stop(Limits(max_tool_calls=2), turn(*[call("list_dir")] * 3))
        assert episode.stop_reason == "max_tool_calls"
        assert [r.error for r in episode.steps[0].results] == ["", "", "call_limit"]
        episode = await stop(
            Limits(max_calls_per_turn=1, max_turns=1), turn(call("list_dir"), call("list_dir"))
        )
        assert [r.error for r in episode.steps[0].results] == ["", "too_many_calls"]
        episode = await stop(Limits(timeout_sec=0.2), turn(call("terminal", command="hang")))
        assert episode.stop_reason == "wall_time"
        assert episode.steps[0].seconds < 2

    play(scenario())


def test_an_agent_without_room_for_its_context(task: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            await episode.step(turn(call("write_file", path="done.txt", content="x")))
            episode.out_of_context()
            episode.out_of_context()
            assert (episode.stop_reason, episode.truncated) == ("max_context", True)
            with pytest.raises(UsageError, match="max_context"):
                await episode.step("More.")
            assert (await episode.score()).total == 1.0
        with pytest.raises(UsageError, match="closed"):
            episode.out_of_context()

    play(scenario())


def test_idle_time_does_not_count(make_task: Callable[..., Task], backend: PlainBackend) -> None:
    task = make_task(limits=Limits(timeout_sec=0.2))

    async def scenario() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            await asyncio.sleep(0.3)
            await episode.step(turn(call("terminal", command="true")))
            assert episode.stop_reason is None

    play(scenario())


def test_command_timeout_is_cut(make_task: Callable[..., Task], backend: PlainBackend) -> None:
    task = make_task(limits=Limits(command_timeout_sec=0.1))

    async def scenario() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            began = time.monotonic()
            await episode.step(turn(call("terminal", command="hang", timeout=60)))
            assert time.monotonic() - began < 5
            assert episode.stop_reason is None

    play(scenario())


def test_calls_after_finish_are_not_run(task: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            step = await episode.step(
                turn(call("finish", message="x"), call("write_file", path="done.txt", content=""))
            )
            assert step.results[1].error == "finished"
            assert (await episode.score()).total == 0.0

    play(scenario())


def test_infra_failure_has_no_reward(task: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            await episode.step(turn(call("write_file", path="done.txt", content="")))
            step = await episode.step(
                turn(call("terminal", command="fault:infra"), call("list_dir"))
            )
            assert [r.error for r in step.results] == ["infra", "infra"]
            assert episode.stop_reason == "infra" and episode.truncated
            report = await episode.score()
            assert report.infra_failed and report.total is None and "lost" in report.infra_error

    play(scenario())


def test_infra_failure_in_grading(task: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            await episode.step("done")
            backend.export_fails = True
            report = await episode.score()
            assert report.infra_failed and report.total is None
            assert episode.infra_failed and episode.stop_reason == "finished"
        async with await Episode.start(task, backend=backend) as episode:
            await episode.step("done")
            backend.export_fails = False
            backend.start_fails = 1
            assert (await episode.score()).total is None

    play(scenario())


def test_start_failures_propagate(task: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        backend.start_fails = 1
        with pytest.raises(SandboxError):
            await Episode.start(task, backend=backend)
        with pytest.raises(UnknownNameError, match="reward"):
            await Episode.start(task, backend=backend, rewards=[RewardSpec(name="testz")])
        with pytest.raises(UnknownNameError, match="did you mean"):
            await Episode.start(task, backend="bubblewarp")
        wrong = task.model_copy(update={"tools": ToolsSpec(include=("terminl",))})
        with pytest.raises(UnknownNameError, match="did you mean"):
            await Episode.start(wrong, backend=backend)

    play(scenario())
    assert not backend.live


def test_our_own_bugs_propagate_and_leave_it_closable(task: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        episode = await Episode.start(task, backend=backend)
        with pytest.raises(ZeroDivisionError):
            await episode.step(turn(call("terminal", command="fault:bug")))
        assert len(episode.trajectory.steps) == 1
        await episode.close()

    play(scenario())
    assert not backend.live


async def _hanging(task: Task, backend: PlainBackend) -> tuple[Episode, asyncio.Task[Any]]:
    episode = await Episode.start(task, backend=backend)
    calls = [call("write_file", path="a", content=""), call("terminal", command="hang")]
    running = asyncio.create_task(episode.step(turn(*calls, call("list_dir"))))
    await episode.sandbox.running.wait()  # type: ignore[attr-defined]
    return episode, running


def test_cancellation_in_mid_step(task: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        episode, running = await _hanging(task, backend)
        with pytest.raises(UsageError, match="running"):
            await episode.step("another")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert episode.stop_reason == "closed"
        assert [r.error for r in episode.steps[0].results] == ["", "closed", "closed"]
        assert (await episode.score()).total == 0.0
        await episode.close()

    play(scenario())
    assert not backend.live


def test_close_in_mid_step(task: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        episode, running = await _hanging(task, backend)
        await asyncio.gather(episode.close(), episode.close())
        step = await running
        assert [r.error for r in step.results] == ["", "closed", "closed"]
        assert episode.stop_reason == "closed" and not episode.infra_failed
        with pytest.raises(UsageError, match="closed"):
            await episode.score()
        with pytest.raises(UsageError, match="closed"):
            await episode.step("x")

    play(scenario())
    assert not backend.live


def test_fork_and_snapshot(task: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            await episode.step(turn(call("write_file", path="a.txt", content="1")))
            at_one = await episode.snapshot()
            async with await episode.fork() as other:
                await other.step(turn(call("write_file", path="done.txt", content="")))
                assert len(other.messages) == len(episode.messages) + 2
                assert (await other.score()).total == 1.0
            # a.txt may be overwritten unread: the tools of the restored life remember it.
            await episode.step(turn(call("delete_file", path="a.txt")))
            await episode.restore(at_one)
            assert len(episode.steps) == 1 and len(episode.messages) == 4
            step = await episode.step(turn(call("write_file", path="a.txt", content="2")))
            assert step.results[0].error == ""
            await at_one.release()
            assert (await episode.score()).total == 0.0
            with pytest.raises(UsageError, match="scored"):
                await episode.fork()

    play(scenario())
    assert not backend.live


def test_read_only_calls_run_side_by_side(task: Task, backend: PlainBackend) -> None:
    events: list[str] = []

    async def scenario() -> None:
        async with await Episode.start(
            task, backend=backend, on_event=lambda e: events.append(e.kind)
        ) as episode:
            await episode.step(turn(*[call("grep", pattern="Größe")] * 3))

    play(scenario())
    begun = [kind for kind in events if kind in ("call", "result")]
    assert begun[:3] == ["call"] * 3


def test_one_environment_for_many_preparers(task: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        episodes = await asyncio.gather(*[Episode.start(task, backend=backend) for _ in range(5)])
        assert len({id(episode.spec) for episode in episodes}) == 1
        for episode in episodes:
            await episode.close()

    play(scenario())


def test_setup_layer_built_once_and_failures_leave_nothing(
    make_task: Callable[..., Task], backend: PlainBackend
) -> None:
    good = make_task("good", environment=EnvironmentSpec(setup=("echo x > made.txt",)))
    bad = make_task("bad", environment=EnvironmentSpec(setup=("echo oh dear; exit 3",)))

    async def scenario() -> None:
        again = good.model_copy()
        first, second = await asyncio.gather(
            Episode.start(good, backend=backend), Episode.start(again, backend=backend)
        )
        assert [spec.network for spec in backend.started].count("full") == 1
        assert len(first.spec.layers) == 2 and first.spec == second.spec
        assert "made.txt" in (await first.step(turn(call("list_dir")))).observation
        await first.close()
        await second.close()
        for _ in range(2):
            with pytest.raises(SetupError, match=r"exit status 3[\s\S]*oh dear"):
                await Episode.start(bad, backend=backend)

    play(scenario())
    assert not backend.live


def test_steps_are_cheap(task: Task, backend: PlainBackend) -> None:
    async def scenario() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            action = text(call("terminal", command="true"))
            took = []
            for _ in range(50):
                began = time.perf_counter()
                await episode.step(action)
                took.append(time.perf_counter() - began)
            # The goal is 0.1 ms of ours; this only catches an order of magnitude.
            assert sorted(took)[25] < 0.005

    play(scenario())


def test_caches_are_named_in_the_change_without_their_content(
    task: Task, backend: PlainBackend
) -> None:
    async def scenario() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            command = "mkdir -p p/__pycache__; echo x > p/__pycache__/m.pyc; echo y > done.txt"
            await episode.step(turn(call("terminal", command=command)))
            await episode.step("done")
            await episode.score()
            assert episode.change is not None
            assert {f.path: (f.kind, f.data) for f in episode.change.files} == {
                "done.txt": ("added", b"y\n"),
                "p/__pycache__/m.pyc": ("refused", None),
            }

    play(scenario())
