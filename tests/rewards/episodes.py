"""Small episodes for tests of rewards: what was called, what came back, what changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repodrome.envs.grading.verdict import TestStatus, Verdict
from repodrome.envs.rewards.base import Reward, RewardContext, RewardResult
from repodrome.envs.rewards.record import with_evidence
from repodrome.envs.rewards.registry import make_reward
from repodrome.envs.sandbox.base import Change, ChangedFile
from repodrome.envs.trajectory import AssistantTurn, Step, ToolCall, ToolResult, Trajectory
from repodrome.tasks.model import RewardSpec, Source, Task

TASK = Task(id="t/t", instruction="Mend it.", folder=Path("/t"), source=Source(directory="w"))
PASSED = Verdict(kind="pytest", fail_to_pass={"a": TestStatus.PASSED})
FAILED = Verdict(kind="pytest", fail_to_pass={"a": TestStatus.FAILED})


def call(
    tool: str, text: str = "fine", error: str = "", truncated: bool = False, **arguments: Any
) -> tuple[ToolCall, ToolResult]:
    """A call and its result; facts that the real tools give come from the arguments."""
    facts = {key: arguments[key] for key in ("path", "exit_code", "todos") if key in arguments}
    if tool == "read_file" and not error:
        first = arguments.get("offset", 1)
        lines = arguments.get("limit", 10)
        facts |= {"first_line": first, "lines": lines, "total_lines": arguments.pop("total", 10)}
    arguments.pop("exit_code", None)
    made = ToolCall(id="c", name=tool, arguments=arguments)
    result = ToolResult(
        call_id="c", name=tool, tool=tool, text=text, error=error, truncated=truncated, data=facts
    )
    return made, result


def trajectory(*turns: Any, final: str = "", **more: Any) -> Trajectory:
    """Each turn is a call from :func:`call`, or the text of a turn that could not be read."""
    steps = []
    for index, turn in enumerate(turns):
        if isinstance(turn, str):
            steps.append(Step(index=index, turn=AssistantTurn(content=turn, malformed="not JSON")))
            continue
        made, result = turn
        steps.append(Step(index=index, turn=AssistantTurn(tool_calls=(made,)), results=(result,)))
    if final:
        steps.append(Step(index=len(steps), turn=AssistantTurn(content=final)))
    return Trajectory(
        task_id="t/t", seed=0, sandbox="none", steps=tuple(steps), final_message=final, **more
    )


def context(
    *turns: Any,
    final: str = "",
    before: Mapping[str, str] | None = None,
    after: Mapping[str, str | None] | None = None,
    verdict: Verdict = PASSED,
    task: Task = TASK,
    **more: Any,
) -> RewardContext:
    """An episode; ``after`` are the changed files (None: deleted), ``before`` the old ones."""
    before, files = before or {}, []
    for path, text in (after or {}).items():
        kind = "deleted" if text is None else "modified" if path in before else "added"
        data = None if text is None else text.encode()
        files.append(ChangedFile(path, kind, data))  # type: ignore[arg-type]
    return RewardContext(
        task=task,
        trajectory=trajectory(*turns, final=final),
        change=Change(tuple(sorted(files, key=lambda file: file.path))),
        verdict=verdict,
        pristine={path: text.encode() for path, text in before.items()},
        **more,
    )


def make(name: str, **params: Any) -> Reward:
    """A reward by name."""
    return make_reward(RewardSpec.model_validate({"name": name, **params}))


def value(name: str, given: RewardContext, **params: Any) -> float:
    """What it is worth, evidence gathered."""
    return result(name, given, **params).value


def result(name: str, given: RewardContext, **params: Any) -> RewardResult:
    """What a reward says, evidence gathered."""
    reward = make(name, **params)
    return reward(with_evidence(given, [reward]))
