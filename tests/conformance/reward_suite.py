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

from repodrome.envs.grading.verdict import TestStatus, Verdict
from repodrome.envs.rewards.base import Reward, RewardContext, RewardResult
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
VERDICTS = (
    Verdict(kind="pytest", fail_to_pass={"a": _PASSED, "b": _PASSED}, pass_to_pass={"c": _PASSED}),
    Verdict(kind="pytest", fail_to_pass={"a": _PASSED, "b": _FAILED}, pass_to_pass={"c": _MISSING}),
    Verdict(kind="pytest", fail_to_pass={"a": _PASSED}, tampering=(_NASTY,)),
    Verdict(kind="command", score=0.5, exit_code=1, log=_NASTY),
    Verdict(kind="script", timed_out=True),
)


def contexts() -> Iterator[RewardContext]:
    """Episodes of every kind, odd and hostile ones among them."""
    for trajectory, change, verdict in product(TRAJECTORIES, CHANGES, VERDICTS):
        yield RewardContext(task=_TASK, trajectory=trajectory, change=change, verdict=verdict)


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
    for context in contexts():
        result = reward(context)
        assert isinstance(result, RewardResult)
        assert low <= result.value <= high
        assert all(math.isfinite(part) for part in result.parts.values())
        text = result.model_dump_json()
        text.encode()
        assert RewardResult.model_validate_json(text) == result


def is_pure(reward: Reward, low: float, high: float) -> None:
    first = [reward(context) for context in contexts()]
    again = [reward(context) for context in reversed(list(contexts()))]
    assert first == again[::-1]
    for context in contexts():
        before = context.model_copy(deep=True)
        reward(context)
        assert context == before


def can_be_computed_again_from_what_is_stored(reward: Reward, low: float, high: float) -> None:
    for context in contexts():
        stored = RewardContext(
            task=Task.model_validate_json(context.task.model_dump_json()),
            trajectory=Trajectory.model_validate_json(context.trajectory.model_dump_json()),
            change=context.change,
            verdict=Verdict.model_validate(json.loads(context.verdict.model_dump_json())),
        )
        assert reward(stored) == reward(context)


def never_pays_for_tampering(reward: Reward, low: float, high: float) -> None:
    for context in contexts():
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
    can_be_computed_again_from_what_is_stored,
    never_pays_for_tampering,
)
