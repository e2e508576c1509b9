"""Judging a program by what it prints for inputs that the agent never saw."""

from __future__ import annotations

from repodrome.envs.grading.bench import Bench
from repodrome.envs.grading.programs import cases_of, fault, plan_for, run_case
from repodrome.envs.grading.verdict import TestStatus, Verdict


async def grade_output(bench: Bench) -> Verdict:
    """Run ``verifier.command`` on each case and compare status and standard output.

    A case is a test named ``case:<name>``: of FAIL_TO_PASS, or of PASS_TO_PASS where ``keep`` is
    set. One that the time of all together leaves no room for is missing.

    Raises:
        GradingError: the cases can't be read or laid.
        SandboxError: a sandbox failed.
    """
    verifier = bench.task.verifier
    asked: dict[str, TestStatus] = {}
    kept: dict[str, TestStatus] = {}
    dropped: set[str] = set()
    logs: list[str] = []
    seconds, timed_out, status = 0.0, False, None
    for case in cases_of(bench.task):
        found = kept if case.keep else asked
        left = verifier.timeout_sec - seconds
        if left <= 0:
            timed_out = True
            found[case.id] = TestStatus.MISSING
            continue
        plan = plan_for(bench, case)
        ran = await run_case(bench, case, plan, timeout=min(left, verifier.case_timeout_sec))
        result = ran.result
        seconds += result.seconds
        timed_out |= result.timed_out
        dropped.update(plan.dropped, ran.refused)
        wrong = fault(case, result, case.stdout, verifier)
        found[case.id] = TestStatus.FAILED if wrong else TestStatus.PASSED
        if wrong and not logs:
            status = result.exit_code
        if wrong:
            logs.append(f"{case.id} {wrong}\n{ran.log}".rstrip())
    return Verdict(
        kind="output",
        fail_to_pass=asked,
        pass_to_pass=kept,
        dropped=tuple(sorted(dropped)),
        exit_code=status if logs else 0,
        timed_out=timed_out,
        seconds=seconds,
        log="\n".join(logs)[:65536],
    )
