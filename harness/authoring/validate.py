"""Is a task fair? The oracle must earn everything, nop nothing, every time; nothing may leak."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from repodrome.envs.environment import Prepared, prepare
from repodrome.envs.grading.pytest_run import PytestRun
from repodrome.envs.grading.verdict import TestStatus, Verdict
from repodrome.envs.sandbox.base import SandboxBackend
from repodrome.errors import GradingError, InfraError, UsageError
from repodrome.harness.agents.base import Agent
from repodrome.harness.agents.oracle import OracleAgent
from repodrome.harness.authoring.expected import differing, expected_ids, write_expected
from repodrome.harness.authoring.findings import Finding, error, note, of_error
from repodrome.harness.authoring.instruction import check_instruction
from repodrome.harness.authoring.leaks import Secret, probe_files, probe_git, secrets_below
from repodrome.harness.authoring.task_audit import TaskAudit
from repodrome.harness.authoring.verifier import (
    check_verifier,
    collection_errors,
    no_end,
    not_applied,
    refused,
    without_ids,
)
from repodrome.harness.rollout import Result, play
from repodrome.tasks.model import Task

Progress = Callable[[str], None]

_FULL = 1.0 - 1e-9


class Validation(BaseModel):
    """What was found about one task.

    Attributes:
        ok: valid; None when the machine failed, so that nothing can be said.
        oracle, nop: total rewards, one a repeat.
        flaky: test ids whose outcome differs between equal runs.
        written: the expected.json that was written.
        audit: what attacks and faults show of the verifier, where that was asked for.
        seconds: wall time.
    """

    model_config = ConfigDict(frozen=True)

    task: str
    ok: bool | None
    findings: tuple[Finding, ...] = ()
    oracle: tuple[float | None, ...] = ()
    nop: tuple[float | None, ...] = ()
    flaky: tuple[str, ...] = ()
    written: str | None = None
    infra_error: str = ""
    audit: TaskAudit | None = None
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return self.model_dump(mode="json")


async def validate(
    task: Task,
    *,
    backend: str = "bubblewrap",
    repeats: int = 1,
    write: bool = False,
    audit: bool = False,
    progress: Progress | None = None,
) -> Validation:
    """Check one task.

    Args:
        repeats: how often oracle and nop are played.
        write: compute FAIL_TO_PASS and PASS_TO_PASS anew and write ``expected.json``.
        audit: of a valid task, also try attacks and put faults into the solution; minutes.
        progress: told, in a line each, what is being done.

    Raises:
        UsageError: the sandbox's name is unknown.
    """
    from repodrome.envs.sandbox.registry import get_backend

    run = _Validator(task, get_backend(backend), repeats, progress or (lambda _: None))
    begun = time.monotonic()
    infra_error = ""
    try:
        await run.validate(write=write)
        if audit and not any(finding.level == "error" for finding in run.findings):
            await run.audit()
    except InfraError as failure:
        infra_error = str(failure)
    except UsageError as failure:  # of the task: the source doesn't fit, there is no solution
        run.findings.append(of_error("task", failure))
    valid = not any(finding.level == "error" for finding in run.findings)
    return Validation(
        task=task.id,
        ok=None if infra_error else valid,
        findings=tuple(run.findings),
        oracle=tuple(result.reward for result in run.played["oracle"]),
        nop=tuple(result.reward for result in run.played["nop"]),
        flaky=tuple(sorted(run.flaky)),
        written=None if run.written is None else str(run.written),
        infra_error=infra_error,
        audit=run.audited,
        seconds=round(time.monotonic() - begun, 3),
    )


async def validate_many(
    tasks: Sequence[Task],
    *,
    backend: str = "bubblewrap",
    repeats: int = 1,
    write: bool = False,
    audit: bool = False,
    jobs: int = 2,
    progress: Progress | None = None,
    on_done: Callable[[Validation], None] | None = None,
) -> list[Validation]:
    """Check several tasks, ``jobs`` at a time; answers in the order of the tasks."""
    from anyio import CapacityLimiter, create_task_group

    found: dict[int, Validation] = {}
    room = CapacityLimiter(jobs)

    async def one(place: int, task: Task) -> None:
        def tell(line: str) -> None:
            if progress is not None:
                progress(f"{task.id}: {line}")

        async with room:
            result = await validate(
                task, backend=backend, repeats=repeats, write=write, audit=audit, progress=tell
            )
        found[place] = result
        if on_done is not None:
            on_done(result)

    async with create_task_group() as group:
        for place, task in enumerate(tasks):
            group.start_soon(one, place, task)
    return [found[place] for place in sorted(found)]


class _Validator:
    """One task under examination."""

    def __init__(
        self, task: Task, backend: SandboxBackend, repeats: int, progress: Progress
    ) -> None:
        self.task = task
        self.findings: list[Finding] = []
        self.flaky: set[str] = set()
        self.played: dict[str, list[Result]] = {"oracle": [], "nop": []}
        self.written: Path | None = None
        self.audited: TaskAudit | None = None
        self._solution_failure = ""
        self._backend = backend
        self._repeats = repeats
        self._tell = progress

    async def validate(self, *, write: bool) -> None:
        """All checks, cheap ones first."""
        from anyio import to_thread

        task = self.task
        for key in task.ignored_keys:
            self.findings.append(
                note("task", f"task.toml: unknown key {key}", "check its spelling")
            )
        prepared = await prepare(task, self._backend, progress=self._tell)
        self._tell("looking for leaks")
        secrets = await to_thread.run_sync(self._secrets, prepared)
        visible = [
            path.name for path in prepared.materialised.workspace.rglob("*") if path.is_file()
        ]
        names = [secret.name for secret in secrets if secret.what == "hidden test"]
        self.findings += check_instruction(task, names, visible)
        self.findings += await to_thread.run_sync(probe_files, secrets, prepared.spec.layers)
        async with await self._backend.start(prepared.spec, live=False) as sandbox:
            self.findings += await probe_git(sandbox, secrets)
        lacking = await to_thread.run_sync(self._lacking, prepared, write)
        self.findings += lacking
        if lacking:
            return
        if write and task.verifier.kind != "pytest":
            kind = task.verifier.kind
            self.findings.append(note("expected", f"--write does nothing for a {kind} verifier"))
        if write and task.verifier.kind == "pytest":
            if not await self._write_expected(prepared):
                return
        elif self._lacks_expected():
            self.findings.append(
                error(
                    "expected",
                    "expected.json is missing, so there is nothing to grade by",
                    f"run: repodrome task validate --write {shlex.quote(str(task.folder))}",
                )
            )
            return
        await self._play()

    async def audit(self) -> None:
        """Try attacks on the verifier, and faults in the solution."""
        from repodrome.harness.agents.registry import get_agent
        from repodrome.harness.authoring import task_audit
        from repodrome.harness.rollout import change_of

        prepared = await prepare(self.task, self._backend)
        solution = await change_of(self.task, get_agent("oracle"), backend=self._backend.name)
        self.audited = await task_audit.audit_task(
            self.task, prepared, solution, backend=self._backend, progress=self._tell
        )
        self.findings += task_audit.findings(self.audited)

    def _lacking(self, prepared: Prepared, write: bool) -> list[Finding]:
        # Ids that are about to be written anew need no files.
        task = without_ids(self.task) if write else self.task
        materialised = prepared.materialised
        return check_verifier(task, materialised.hidden, materialised.workspace)

    def _lacks_expected(self) -> bool:
        verifier = self.task.verifier
        return verifier.kind == "pytest" and not (verifier.fail_to_pass or verifier.pass_to_pass)

    def _secrets(self, prepared: Prepared) -> list[Secret]:
        folder, materialised = self.task.folder, prepared.materialised
        at = self.task.verifier.inject_at
        return [
            *secrets_below(folder / "tests", "hidden test", at=at),
            *secrets_below(materialised.hidden, "hidden test"),
            *secrets_below(folder / "solution", "solution file"),
            *secrets_below(materialised.reference, "original of the edited file"),
        ]

    async def _play(self) -> None:
        for number in range(self._repeats):
            for name in ("oracle", "nop"):
                which = f" ({number + 1} of {self._repeats})" if self._repeats > 1 else ""
                self._tell(f"playing {name}{which}")
                result = await self._episode(name)
                if result.infra_failed:
                    raise GradingError(f"{name}: {result.infra_error}")
                self.played[name].append(result)
        for name, results in self.played.items():
            self._note_flaky(name, [_statuses(result) for result in results])
        self._judge_oracle()
        self._judge_nop()

    async def _episode(self, name: str) -> Result:
        from repodrome.harness.agents.registry import get_agent

        agent = get_agent(name)
        # Equal seeds: a difference between repeats is then the task's own.
        result = await play(self.task, agent, backend=self._backend.name, seed=0)
        self._note_solution(agent)
        return result

    def _note_solution(self, agent: Agent) -> None:
        if isinstance(agent, OracleAgent):
            self._solution_failure = self._solution_failure or agent.failure

    def _judge_oracle(self) -> None:
        for result in self.played["oracle"]:
            verdict = _verdict(result)
            if verdict is not None and not verdict.resolved:
                self.findings.append(refused(verdict, self._solution_failure))
                return
            parts = () if result.report is None else result.report.rewards
            # Style and effort are no question of right and wrong.
            tests = [part for part in parts if not part.auxiliary]
            full = sum(max(0.0, part.weight) for part in tests)
            earned = sum(part.weight * part.value for part in tests)
            if earned < full * _FULL:
                self.findings.append(
                    error(
                        "oracle",
                        f"the reference solution earns {earned:g} of {full:g}",
                        "see `repodrome run` with --agent oracle for the parts of its reward",
                    )
                )
                return

    def _judge_nop(self) -> None:
        for result in self.played["nop"]:
            if (result.reward or 0.0) > 1e-9:
                self.findings.append(
                    error(
                        "nop",
                        f"doing nothing earns {result.reward}",
                        "the tests must fail on the agent's tree: check [source] edits and that "
                        "FAIL_TO_PASS is not empty",
                    )
                )
                return

    def _note_flaky(self, name: str, runs: Sequence[Mapping[str, TestStatus]]) -> None:
        found = differing(runs)
        self.flaky |= found
        if found:
            self.findings.append(
                error(
                    "flaky",
                    f"with {name}, equal runs differ in: {', '.join(sorted(found))}",
                    "make them deterministic, or leave them out of expected.json",
                )
            )

    async def _write_expected(self, prepared: Prepared) -> bool:
        """Compute the expected ids and write them; False when there is nothing to expect."""
        before, after = [], []
        for number in range(max(2, self._repeats)):  # one run can't show what is flaky
            self._tell(f"finding the tests that the solution mends (run {number + 1})")
            before.append((await self._outcomes("nop", prepared)).statuses)
            solved = await self._outcomes("oracle", prepared)
            after.append(solved.statuses)
            if not solved.complete:
                self.findings.append(no_end(solved))
                return False
        flaky = differing(before) | differing(after)
        self.flaky |= flaky
        if flaky:
            self.findings.append(
                note(
                    "flaky",
                    f"left out, equal runs differ in: {', '.join(sorted(flaky))}",
                    "make them deterministic",
                )
            )
        expected = expected_ids(before[0], after[0], flaky)
        if not expected["FAIL_TO_PASS"]:
            if self._solution_failure:
                self.findings.append(not_applied(self._solution_failure))
                return False
            broken = [test for test, status in after[0].items() if status is not TestStatus.PASSED]
            self.findings.append(
                error(
                    "expected",
                    "no test fails before the reference solution and passes after it"
                    + (f"; failing after it: {', '.join(sorted(broken)[:5])}" if broken else "")
                    + collection_errors(solved.log),
                    "write tests for what the instruction asks, or mend the solution",
                )
            )
            return False
        target = self.task.folder / "expected.json"
        await write_expected(target, expected)
        self.written = target
        verifier = self.task.verifier.model_copy(
            update={
                "fail_to_pass": tuple(expected["FAIL_TO_PASS"]),
                "pass_to_pass": tuple(expected["PASS_TO_PASS"]),
            }
        )
        self.task = self.task.model_copy(update={"verifier": verifier})
        return True

    async def _outcomes(self, name: str, prepared: Prepared) -> PytestRun:
        """Every test's outcome after the nop or oracle agent's change."""
        from repodrome.envs.grading.grader import outcomes
        from repodrome.harness.agents.registry import get_agent
        from repodrome.harness.rollout import change_of

        task = self.task
        agent = get_agent(name)
        change = await change_of(task, agent, backend=self._backend.name)
        self._note_solution(agent)
        return await outcomes(
            without_ids(task),  # ids given so far would narrow down which files run
            change,
            backend=self._backend,
            spec=prepared.spec,
            hidden=prepared.materialised.hidden,
            pristine=prepared.materialised.workspace,
            python=prepared.python,
        )


def _verdict(result: Result) -> Verdict | None:
    return None if result.report is None else result.report.verdict


def _statuses(result: Result) -> dict[str, TestStatus]:
    verdict = _verdict(result)
    if verdict is None:
        return {}
    # A verifier without ids is as good as one test.
    whole = {"the verifier": TestStatus.PASSED if verdict.resolved else TestStatus.FAILED}
    return {**verdict.fail_to_pass, **verdict.pass_to_pass} or whole
