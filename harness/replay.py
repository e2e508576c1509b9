"""Playing a recorded episode again, to find the first observation that differs.

The recorded turns are executed in a fresh episode of the same task, and every result is compared:
which tool answered, its error code, whether it was cut, and its text; and so are what the agent was
told beside its results, and where contexts begin. Before texts are compared,
what differs between two honest runs is blanked in both (:data:`VOLATILE`): durations, dates and
clock times, memory addresses, process ids as shells print them, and the names of temporary files.
Times and further data of results are not compared. A result that the recording cut short (the
episode was closed or its time was up) is not compared either.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repodrome.envs.events import EventHandler
from repodrome.envs.trajectory import Step, ToolResult
from repodrome.envs.user import RecordedUser
from repodrome.errors import InfraError
from repodrome.harness.rescore import recorded_specs
from repodrome.harness.rollout import task_for
from repodrome.harness.trajectory import Recorded, read_trajectory, task_hash
from repodrome.tasks.model import RewardSpec, Task

_MONTH = (
    r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) +)?"
    r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
)

VOLATILE: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)?"), "<date>"),
    (re.compile(rf"{_MONTH} +\d{{1,2}} +(?:\d\d:\d\d(?::\d\d)?(?: +\d{{4}})?|\d{{4}})"), "<date>"),
    (re.compile(r"\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b"), "<clock>"),
    (re.compile(r"\b\d+m\d+\.\d+s\b"), "<seconds>"),
    (re.compile(r"\b\d+(?:\.\d+)? ?(?:ns|µs|us|ms|s|sec|secs|seconds?)\b"), "<seconds>"),
    (re.compile(r"\b0x[0-9a-fA-F]{6,}\b"), "<address>"),
    (re.compile(r"^\[(\d+)\] \d+$", re.MULTILINE), r"[\1] <pid>"),
    (re.compile(r"\b(pid|PID|process)([ =:]+)\d+\b"), r"\1\2<pid>"),
    (re.compile(r"/tmp/(?:tmp[\w.-]+|pytest-of-\w+/pytest-\d+)"), "/tmp/<name>"),
)
"""What is blanked before texts are compared: pattern and replacement, in order."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first difference.

    Attributes:
        step: index of the step.
        call: position of the call within it, from 0; None when the step as a whole differs.
        what: what differs, in words.
        expected: as recorded.
        got: in this run.
        diff: unified, volatile parts blanked.
    """

    step: int
    call: int | None
    what: str
    expected: str
    got: str
    diff: str


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """How a replay went.

    Attributes:
        steps: steps executed.
        divergence: None when all was the same.
        warnings: why a divergence might be expected, or why less was compared.
        recorded_reward, reward: with ``score``: the totals then and now.
    """

    file: Path
    task: str
    steps: int
    divergence: Divergence | None
    warnings: tuple[str, ...] = ()
    recorded_reward: float | None = None
    reward: float | None = None

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        found = self.divergence
        return {
            "file": str(self.file),
            "task": self.task,
            "same": found is None,
            "steps": self.steps,
            "divergence": None
            if found is None
            else {
                "step": found.step,
                "call": found.call,
                "what": found.what,
                "expected": found.expected,
                "got": found.got,
                "diff": found.diff,
            },
            "warnings": list(self.warnings),
            "recorded_reward": self.recorded_reward,
            "reward": self.reward,
        }


def blank(text: str) -> str:
    """``text`` with its volatile parts blanked."""
    for pattern, replacement in VOLATILE:
        text = pattern.sub(replacement, text)
    return text


async def replay(
    path: Path,
    *,
    task: str | None = None,
    backend: str | None = None,
    score: bool = False,
    on_event: EventHandler | None = None,
) -> ReplayResult:
    """Execute a recorded episode's turns again and compare.

    Args:
        task: the task to play instead of the recorded reference to one.
        backend: the sandbox to play in; default: the recorded one.
        score: grade as well, and compare the total reward.

    Raises:
        UsageError: not a trajectory file, or its task can't be found.
        InfraError: the machine failed, so that nothing can be said.
    """
    from anyio import to_thread

    from repodrome.envs.episode import Episode
    from repodrome.tasks.suites import resolve_task

    recorded = await to_thread.run_sync(read_trajectory, path)
    header = recorded.header
    found = await to_thread.run_sync(resolve_task, task or header.task_ref or header.task_id)
    if task is None and header.task is not None:  # a trainer may have changed a copy of the task
        found = found.model_copy(update={"tools": Task.model_validate(header.task).tools})
    warnings = await to_thread.run_sync(_warnings, recorded, found)
    divergence: Divergence | None = None
    reward: float | None = None
    done = 0
    async with await Episode.start(
        task_for(found, all_tools=header.all_tools),
        seed=header.seed,
        backend=backend or header.sandbox,
        rewards=_terms(recorded) if score else None,
        context_budget=header.context_budget,
        tokenizer=header.tokenizer,
        # A model would say something else this time; rules are played anew, and compared.
        user=RecordedUser(recorded.steps) if found.user.model else None,
        on_event=on_event,
    ) as episode:
        for expected in recorded.steps:
            if episode.stop_reason is not None:
                divergence = _ended_early(expected, str(episode.stop_reason))
                break
            got = await episode.step(expected.turn)
            if episode.stop_reason == "infra":
                raise InfraError(episode.infra_error)
            done += 1
            divergence = compare_steps(expected, got)
            if divergence is not None:
                break
        if divergence is None:
            divergence = _compare_end(recorded, done, episode.stop_reason)
        if divergence is None and score:
            report = await episode.score()
            if report.infra_failed:
                raise InfraError(report.infra_error)
            reward = report.total
            divergence = _compare_reward(recorded, done, reward)
    return ReplayResult(
        file=path,
        task=found.id,
        steps=done,
        divergence=divergence,
        warnings=warnings,
        recorded_reward=_recorded_reward(recorded),
        reward=reward,
    )


def _warnings(recorded: Recorded, task: Task) -> tuple[str, ...]:
    warnings = []
    if recorded.header.task_hash and recorded.header.task_hash != task_hash(task):
        warnings.append(f"task {task.id} has changed since the recording")
    if recorded.torn:
        warnings.append("the file's last line is torn; the step it held is not replayed")
    if recorded.end is None:
        warnings.append("the recording has no end: its writer died, or is still playing")
    return tuple(warnings)


def compare_steps(expected: Step, got: Step) -> Divergence | None:
    """The first difference between a recorded step and the same one played again."""
    if len(expected.results) != len(got.results):
        return _divergence(
            expected.index,
            None,
            "number of results",
            str(len(expected.results)),
            str(len(got.results)),
        )
    if expected.segment != got.segment:
        return _divergence(
            expected.index, None, "context", f"segment {expected.segment}", f"segment {got.segment}"
        )
    for place, (then, now) in enumerate(zip(expected.results, got.results, strict=True)):
        if then.error in ("closed", "wall_time"):
            continue
        found = _compare_results(expected.index, place, then, now)
        if found is not None:
            return found
    then_said, now_said = (
        "\n\n".join(f"[{said.kind}] {said.text}" for said in step.said) for step in (expected, got)
    )
    if blank(then_said) != blank(now_said):
        return _divergence(expected.index, None, "what was said", then_said, now_said)
    if not expected.results and blank(expected.observation) != blank(got.observation):
        return _divergence(
            expected.index, None, "observation", expected.observation, got.observation
        )
    return None


def _compare_results(
    index: int, place: int, then: ToolResult, now: ToolResult
) -> Divergence | None:
    if then.name != now.name:
        return _divergence(index, place, "tool", then.name, now.name)
    if then.error != now.error:
        return _divergence(
            index,
            place,
            f"error code of {then.name}",
            f"{then.error or 'no error'}\n{then.text}",
            f"{now.error or 'no error'}\n{now.text}",
        )
    if blank(then.text) != blank(now.text):
        return _divergence(index, place, f"text of {then.name}", then.text, now.text)
    if then.truncated != now.truncated:
        return _divergence(
            index, place, f"truncation of {then.name}", str(then.truncated), str(now.truncated)
        )
    return None


def _ended_early(expected: Step, reason: str) -> Divergence:
    return _divergence(
        expected.index, None, "the episode's end", "the episode goes on", f"it ended: {reason}"
    )


def _compare_end(recorded: Recorded, done: int, reason: str | None) -> Divergence | None:
    end = recorded.end
    # An interrupted, timed-out or infra-failed recording ended from outside its turns.
    if end is None or end.stop_reason in (None, "closed", "wall_time", "max_context", "infra"):
        return None
    if end.stop_reason == reason:
        return None
    return _divergence(
        max(0, done - 1), None, "stop reason", str(end.stop_reason), str(reason or "goes on")
    )


def _terms(recorded: Recorded) -> list[RewardSpec] | None:
    """What the recorded reward was made of, which need not be the task's own terms."""
    report = None if recorded.end is None else recorded.end.report
    return recorded_specs(report) if report is not None and report.rewards else None


def _recorded_reward(recorded: Recorded) -> float | None:
    report = recorded.end.report if recorded.end is not None else None
    return None if report is None else report.total


def _compare_reward(recorded: Recorded, done: int, reward: float | None) -> Divergence | None:
    then = _recorded_reward(recorded)
    if then is None or reward is None or abs(then - reward) < 1e-9:
        return None
    return _divergence(max(0, done - 1), None, "reward", str(then), str(reward))


def _divergence(index: int, call: int | None, what: str, expected: str, got: str) -> Divergence:
    diff = difflib.unified_diff(
        blank(expected).splitlines(), blank(got).splitlines(), "recorded", "now", lineterm=""
    )
    return Divergence(
        step=index, call=call, what=what, expected=expected, got=got, diff="\n".join(diff)
    )
