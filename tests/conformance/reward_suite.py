"""What any Reward must do, ours or a third party's.

Use it from a test::

    @pytest.mark.parametrize("check", CHECKS)
    def test_my_reward(check):
        check(MyReward(), 0.0, 1.0)

The two numbers are the range that the reward documents.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

from repodrome.envs.grading.verdict import TestStatus, Verdict
from repodrome.envs.rewards.base import Gathering, Reward, RewardContext, RewardResult, Stepwise
from repodrome.envs.rewards.report import score
from repodrome.envs.sandbox.base import Change, ChangedFile
from repodrome.envs.trajectory import AssistantTurn, Step, ToolCall, ToolResult, Trajectory
from repodrome.tasks.model import Source, Task

Check = Callable[[Reward, float, float], None]

_PASSED, _FAILED, _MISSING = TestStatus.PASSED, TestStatus.FAILED, TestStatus.MISSING
_TASK = Task(id="t/t", instruction="Mend it.", folder=Path("/t"), source=Source(directory="w"))
_NASTY = "\x00\x1b[2J\u202e 🎵 " + "x" * 10_000


def _step(index: int, *calls: ToolCall, text: str = "", error: str = "", **more: str) -> Step:
    turn = AssistantTurn(content=text, tool_calls=calls, **more)
    results = tuple(
        ToolResult(call_id=c.id, name=c.name, text=text or "fine", error=error) for c in calls
    )
    return Step(index=index, turn=turn, results=results, observation=text)


_READ = ToolCall(id="a", name="read_file", arguments={"path": "a.py"})
_ODD = ToolCall(id="b", name=_NASTY[:200], arguments="{not json")
TRAJECTORIES = (
    Trajectory(task_id="t/t", seed=0, sandbox="none"),
    Trajectory(
        task_id="t/t",
        seed=1,
        sandbox="none",
        steps=(_step(0, _READ, text="hello"), _step(1, text="All tests pass.")),
        stop_reason="finished",
        final_message="All tests pass.",
    ),
    Trajectory(
        task_id="t/t",
        seed=2,
        sandbox="none",
        steps=(
            _step(0, text=_NASTY, malformed="not JSON"),
            *(_step(n, _ODD, _READ, text=_NASTY, error="invalid_json") for n in range(1, 30)),
        ),
        stop_reason="max_turns",
        final_message=_NASTY,
    ),
)
BROKEN = (
    _step(0, text=_NASTY, malformed="not JSON"),
    _step(0, _ODD, text="Error: the arguments are no JSON", error="invalid_json"),
    _step(0, _READ, text="Error: no such tool", error="unknown_tool"),
)
CHANGES = (
    Change(),
    Change(
        (
            ChangedFile("a.py", "modified", b"def f(:\n\xff\xfe\x00"),
            ChangedFile("b/\udcff.py", "added", b"x = 1\n" * 20_000, executable=True),
            ChangedFile("gone.py", "deleted"),
            ChangedFile("link", "refused", note="a link"),
        )
    ),
)
PRISTINE = {"a.py": b"def f():\n    return 1\n", "gone.py": b"x = 1\n"}
ANSWERS = {"communication.judge": {"score": 7.0, "answer": _NASTY, "model": "m"}}
_gathered: dict[tuple[str, Change], Any] = {}
VERDICTS = (
    Verdict(kind="pytest", fail_to_pass={"a": _PASSED, "b": _PASSED}, pass_to_pass={"c": _PASSED}),
    Verdict(kind="pytest", fail_to_pass={"a": _PASSED, "b": _FAILED}, pass_to_pass={"c": _MISSING}),
    Verdict(kind="pytest", fail_to_pass={"a": _PASSED}, tampering=(_NASTY,)),
    Verdict(kind="command", score=0.5, exit_code=1, log=_NASTY),
    Verdict(kind="script", timed_out=True),
)


def contexts(reward: Reward) -> Iterator[RewardContext]:
    """Episodes of every kind, odd and hostile ones among them."""
    for trajectory, change, verdict in product(TRAJECTORIES, CHANGES, VERDICTS):
        bare = RewardContext(task=_TASK, trajectory=trajectory, change=change, verdict=verdict)
        yield bare
        known = bare.model_copy(update={"pristine": PRISTINE, "reference_lines": 3})
        yield known.model_copy(update={"evidence": _evidence(reward, known)})


def _evidence(reward: Reward, context: RewardContext) -> dict[str, Any]:
    """What it would gather; of services that tests can't reach, an answer they might give."""
    if not isinstance(reward, Gathering):
        return {}
    if reward.name not in ANSWERS:
        key = (reward.evidence, context.change)
        if key not in _gathered:
            _gathered[key] = reward.gather(context)
        return {reward.evidence: _gathered[key]}
    return {reward.evidence: ANSWERS[reward.name]}


def is_a_reward(reward: Reward, low: float, high: float) -> None:
    assert isinstance(reward, Reward)
    assert isinstance(reward.name, str) and reward.name
    assert isinstance(reward.auxiliary, bool)
    assert low <= high and math.isfinite(low) and math.isfinite(high)


def is_frozen(reward: Reward, low: float, high: float) -> None:
    for name in ("auxiliary", *getattr(type(reward), "__dataclass_fields__", ())):
        try:
            setattr(reward, name, getattr(reward, name))
        except (AttributeError, TypeError):
            continue
        raise AssertionError(f"{name} can be set; make the reward a frozen dataclass")


def is_bounded_and_storable(reward: Reward, low: float, high: float) -> None:
    for context in contexts(reward):
        result = reward(context)
        assert isinstance(result, RewardResult)
        assert low <= result.value <= high
        assert all(math.isfinite(part) for part in result.parts.values())
        text = result.model_dump_json()
        text.encode()
        assert RewardResult.model_validate_json(text) == result


def is_pure(reward: Reward, low: float, high: float) -> None:
    first = [reward(context) for context in contexts(reward)]
    again = [reward(context) for context in reversed(list(contexts(reward)))]
    assert first == again[::-1]
    for context in contexts(reward):
        before = context.model_copy(deep=True)
        reward(context)
        assert context == before


def can_be_computed_again_from_what_is_stored(reward: Reward, low: float, high: float) -> None:
    for context in contexts(reward):
        stored = RewardContext(
            task=Task.model_validate_json(context.task.model_dump_json()),
            trajectory=Trajectory.model_validate_json(context.trajectory.model_dump_json()),
            change=context.change,
            verdict=Verdict.model_validate(json.loads(context.verdict.model_dump_json())),
            pristine=context.pristine,
            reference_lines=context.reference_lines,
            evidence=json.loads(json.dumps(context.evidence)),
        )
        assert reward(stored) == reward(context)


def tells_steps_as_it_tells_the_whole(reward: Reward, low: float, high: float) -> None:
    if not isinstance(reward, Stepwise):
        return
    for context in contexts(reward):
        watch = reward.watch(context.task, context.trajectory.renamed)
        so_far = [watch(step) for step in context.trajectory.steps]
        assert all(low <= value <= high for value in so_far)
        bare = context.model_copy(update={"change": Change()})
        assert not so_far or so_far[-1] >= reward(bare).value


def never_pays_for_a_broken_step(reward: Reward, low: float, high: float) -> None:
    """A malformed or refused call, made besides, is worth nothing or less."""
    for context in contexts(reward):
        if context.verdict is not VERDICTS[0]:
            continue  # steps and verdicts have nothing to do with each other
        steps = context.trajectory.steps
        for broken in BROKEN:
            more = context.trajectory.model_copy(
                update={"steps": (*steps, broken.model_copy(update={"index": len(steps)}))}
            )
            longer = context.model_copy(update={"trajectory": more})
            assert reward(longer).value <= reward(context).value


def never_pays_for_tampering(reward: Reward, low: float, high: float) -> None:
    for context in contexts(reward):
        if not context.verdict.tampering:
            continue
        total = score(context, [(reward, 1.0)]).total
        assert total is not None and total <= 0
        assert reward.auxiliary or reward(context).value <= 0


CHECKS: tuple[Check, ...] = (
    is_a_reward,
    is_frozen,
    is_bounded_and_storable,
    is_pure,
    tells_steps_as_it_tells_the_whole,
    never_pays_for_a_broken_step,
    can_be_computed_again_from_what_is_stored,
    never_pays_for_tampering,
)
