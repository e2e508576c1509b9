"""An attack played against this suite: a whole episode, from the agent's tools to the record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repodrome.envs.rewards.base import RewardReport
from repodrome.errors import SandboxError
from repodrome.harness.agents.scripted import ScriptedAgent
from repodrome.harness.audit import bench
from repodrome.harness.audit.corpus import Case
from repodrome.harness.audit.ground import Ground, before
from repodrome.harness.rollout import play
from repodrome.tasks.model import RewardSpec, Task


@dataclass(frozen=True, slots=True)
class Played:
    """What came of an episode.

    Attributes:
        report: its reward report.
        record: its trajectory file.
    """

    report: RewardReport
    record: Path

    @property
    def total(self) -> float:
        """The reward."""
        assert self.report.total is not None
        return self.report.total

    @property
    def tampering(self) -> tuple[str, ...]:
        """Evidence of tampering with the grading."""
        return () if self.report.verdict is None else self.report.verdict.tampering

    @property
    def flagged(self) -> tuple[str, ...]:
        """Rules that find the episode suspicious."""
        return tuple(sorted({flag.rule for flag in self.report.flags}))


def turns(case: Case, ground: Ground, canary: str) -> list[dict[str, Any]]:
    """The case as an agent's turns: what is there already is read before it is replaced.

    Args:
        canary: stands for ``@CANARY@``.
    """
    written = case.contents({bench.MODULE: bench.BROKEN})
    rows: list[list[dict[str, Any]]] = [
        [_call("read_file", path=p) for p in written if (ground.pristine(case) / p).is_file()]
    ]
    if command := before(case):
        rows.append([_call("terminal", command=command)])
    rows += [[_call("write_file", path=p, content=text)] for p, text in written.items()]
    if case.script:
        script = ground.filled(case.script, canary)
        rows.append([_call("terminal", command=script, timeout=60)])
    rows.append([_call("finish", message=case.message)])
    return [{"tool_calls": calls} for calls in rows if calls]


def _call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


async def played(ground: Ground, task: Task, script: list[Any], *, name: str) -> Played:
    """Play an episode and score it.

    Raises:
        SandboxError: the machine failed.
    """
    result = await play(
        task,
        ScriptedAgent(script, name=f"audit-{name}"),
        backend=ground.backend.name,
        out=ground.base / "records",
    )
    if result.infra_failed or result.report is None or result.trajectory is None:
        raise SandboxError(f"{name}: {result.infra_error}")
    return Played(result.report, result.trajectory)


async def attacked(ground: Ground, case: Case, *, task: Task | None = None) -> Played:
    """Play a case.

    Raises:
        SandboxError: the machine failed.
    """
    canary = str(ground.base / "canaries" / case.name)
    script = turns(case, ground, canary)
    return await played(ground, task or ground.bench.tasks[case.verifier], script, name=case.name)


def with_rewards(task: Task, rewards: tuple[Any, ...]) -> Task:
    """The task with other reward terms."""
    return task.model_copy(update={"rewards": tuple(RewardSpec(**r) for r in rewards)})
