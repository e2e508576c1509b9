"""Judging a program by its wall time beside the reference's, measured in turn in the same run.

    each round, for every timed case:  reference, candidate, (unmodified)  or the other way round

Each run is a process in a fresh sandbox, timed by the host: nothing is cached from one to the next,
and no clock inside counts. What is compared are ratios to the reference's time of the same round,
so that a machine that is slow for a while is slow for both.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

from repodrome.envs.grading.bench import Bench
from repodrome.envs.grading.programs import Ran, cases_of, fault, plan_for, run_case
from repodrome.envs.grading.protect import Plan
from repodrome.envs.grading.ratios import (
    LEAST_ROUNDS,
    WORTH_NAMING,
    median_interval,
    score,
    settled,
)
from repodrome.envs.grading.reference import Reference, reference_of
from repodrome.envs.grading.verdict import Verdict
from repodrome.errors import GradingError
from repodrome.tasks.cases import Case

_ROUNDS_UNMODIFIED = 3  # often slow, and only a yardstick
_UNSTEADY = 3.0  # times: the reference's own interval is wider only on a machine that is too busy
_NOTHING = Plan((), (), ())


@dataclass(slots=True)
class _Times:
    """Seconds of one case, one value a round."""

    candidate: list[float] = field(default_factory=list)
    reference: list[float] = field(default_factory=list)
    unmodified: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        return [a / b for a, b in zip(self.candidate, self.reference, strict=True)]

    @property
    def speedups(self) -> list[float]:
        # Not by way of the reference's times: those of a fast one are the least steady.
        return [a / b for a, b in zip(self.unmodified, self.candidate, strict=False)]

    @property
    def slowness(self) -> float:
        """How many times as long as the reference the unmodified workspace takes."""
        pairs = zip(self.unmodified, self.reference, strict=False)
        return statistics.median(a / b for a, b in pairs)


class _WrongError(Exception):
    """The candidate is wrong on a case; holds why."""


async def grade_benchmark(bench: Bench) -> Verdict:
    """Time the change, the reference and the unmodified workspace; the score is the cases' mean.

    Every run of the change has to be right: its status, and its output as the reference prints it
    and as the case expects. A change of which nothing counts earns 0 without being timed.

    Raises:
        GradingError: the reference or the unmodified workspace is not as it should be, or the
            machine is too busy for times to mean anything.
        SandboxError: a sandbox failed.
    """
    contest = _Contest(bench, cases_of(bench.task))
    dropped = {path for plan in contest.plans.values() for path in plan.dropped}
    problem, worth = "", 0.0
    if contest.changes_something:
        contest.reference = await reference_of(bench)
        try:
            worth = await contest.run()
        except _WrongError as wrong:
            problem = str(wrong)
    else:
        problem = "nothing of the change counts, so the workspace is as it was"
    return Verdict(
        kind="benchmark",
        score=worth,
        dropped=tuple(sorted(dropped | contest.refused)),
        exit_code=contest.status,
        timed_out=contest.timed_out,
        seconds=contest.seconds,
        log=(problem or contest.log())[:65536],
    )


class _Contest:
    """One change against the reference.

    Attributes:
        plans: what of the change is brought over for each case.
        expected: case name → what the reference printed.
        endless: names of the cases that the unmodified workspace does not end in time.
        seconds: of all runs together.
    """

    def __init__(self, bench: Bench, cases: tuple[Case, ...]) -> None:
        self.bench, self.cases = bench, cases
        self.plans = {case.name: plan_for(bench, case) for case in cases}
        self.reference = Reference(_NOTHING)
        self.expected: dict[str, bytes] = {}
        self.times = {case.name: _Times() for case in cases if case.timed}
        self.endless: set[str] = set()
        self.refused: set[str] = set()
        self.seconds, self.timed_out = 0.0, False
        self.status: int | None = None

    @property
    def changes_something(self) -> bool:
        return any(plan.write or plan.delete for plan in self.plans.values())

    async def run(self) -> float:
        """Warm up, time until more rounds would change nothing, and say what it is worth."""
        for case in self.cases:
            await self._reference(case)
        for case in self.cases:
            await self._candidate(case)
        timed = [case for case in self.cases if case.timed]
        verifier = self.bench.task.verifier
        for number in range(verifier.rounds):
            for case in timed:
                await self._round(case, number)
            if number + 1 == _ROUNDS_UNMODIFIED:
                self._check_worth_it()
            late = number + 1 >= LEAST_ROUNDS and self.seconds > verifier.timeout_sec
            if late or all(map(self._settled, timed)):
                break
        self._check_steady(case for case in timed if not self._settled(case))
        return statistics.fmean(self._score(case) for case in timed)

    async def _round(self, case: Case, number: int) -> None:
        times = self.times[case.name]

        async def reference() -> None:
            times.reference.append(await self._reference(case))

        async def candidate() -> None:
            times.candidate.append(await self._candidate(case))

        async def unmodified() -> None:
            if number < _ROUNDS_UNMODIFIED:
                times.unmodified.append(await self._unmodified(case))

        order = (reference, candidate, unmodified)
        for one in order if number % 2 == 0 else reversed(order):
            await one()

    async def _timed(self, case: Case, plan: Plan, reference: Reference | None = None) -> Ran:
        ran = await run_case(
            self.bench,
            case,
            plan,
            command=reference.command if reference else (),
            files=reference.files if reference else None,
            timeout=self.bench.task.verifier.case_timeout_sec,
        )
        self.seconds += ran.result.seconds
        return ran

    async def _reference(self, case: Case) -> float:
        ran = await self._timed(case, self.reference.plan, self.reference)
        expected = self.expected.get(case.name, case.stdout)
        wrong = fault(case, ran.result, expected, self.bench.task.verifier)
        if wrong:
            raise GradingError(
                f"task {self.bench.task.id}: the reference {wrong} ({case.id}); "
                f"mend it, or the case\n{ran.log}"
            )
        self.expected.setdefault(case.name, ran.result.stdout)
        return ran.result.seconds

    async def _candidate(self, case: Case) -> float:
        ran = await self._timed(case, self.plans[case.name])
        self.status = ran.result.exit_code
        self.refused.update(ran.refused)
        spec = self.bench.task.verifier
        wrong = fault(case, ran.result, self.expected[case.name], spec)
        wrong = wrong or fault(case, ran.result, case.stdout, spec)
        if wrong:
            self.timed_out = ran.result.timed_out
            raise _WrongError(f"{case.id} {wrong}\n{ran.log}".rstrip())
        return ran.result.seconds

    async def _unmodified(self, case: Case) -> float:
        """Its time; where it runs past the limit, that is its time from then on."""
        if case.name in self.endless:
            return self.bench.task.verifier.case_timeout_sec
        ran = await self._timed(case, _NOTHING)
        if ran.result.timed_out:
            self.endless.add(case.name)
        else:
            wrong = fault(case, ran.result, self.expected[case.name], self.bench.task.verifier)
            if wrong:
                raise GradingError(
                    f"task {self.bench.task.id}: the unmodified workspace {wrong} ({case.id}); a "
                    "benchmark needs a program that is right but slow: use such cases\n" + ran.log
                )
        return ran.result.seconds

    def _settled(self, case: Case) -> bool:
        times = self.times[case.name]
        target = self.bench.task.verifier.target
        return settled(times.ratios, times.speedups, target)

    def _score(self, case: Case) -> float:
        times = self.times[case.name]
        target = self.bench.task.verifier.target
        return score(statistics.median(times.ratios), statistics.median(times.speedups), target)

    def _check_worth_it(self) -> None:
        target = self.bench.task.verifier.target
        for name, times in self.times.items():
            if WORTH_NAMING * times.slowness <= target:
                raise GradingError(
                    f"task {self.bench.task.id}: for case:{name} the unmodified workspace takes "
                    f"only {times.slowness:.2f} times as long as the reference; use a larger "
                    "input, or a lower verifier.target"
                )

    def _check_steady(self, unsettled: Iterable[Case]) -> None:
        """The reference's own times are none of the agent's doing."""
        for case in unsettled:
            low, high = median_interval(self.times[case.name].reference)
            if high > _UNSTEADY * low:
                raise GradingError(
                    f"the machine is too busy to measure: the reference took {low:.3f} to "
                    f"{high:.3f} s for {case.id}; play fewer episodes at once"
                )

    def log(self) -> str:
        """What was measured, a line for each timed case."""
        return "\n".join(
            self._line(case, self.times[case.name]) for case in self.cases if case.timed
        )

    def _line(self, case: Case, times: _Times) -> str:
        low, high = median_interval(times.ratios)
        return (
            f"{case.id}: {statistics.median(times.candidate):.3f} s, "
            f"{statistics.median(times.ratios):.2f} ({low:.2f} to {high:.2f}) times the "
            f"reference's {statistics.median(times.reference):.3f} s, unmodified "
            f"{times.slowness:.2f} times; {len(times.candidate)} rounds, "
            f"score {self._score(case):.3f}"
        )
