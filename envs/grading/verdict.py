"""What grading found, as frozen data that rewards read."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class TestStatus(StrEnum):
    """The outcome of one test; only ``PASSED`` counts as passing."""

    __test__ = False

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"
    XFAILED = "xfailed"
    XPASSED = "xpassed"
    MISSING = "missing"


_WORST_FIRST = (
    TestStatus.ERROR,
    TestStatus.FAILED,
    TestStatus.MISSING,
    TestStatus.SKIPPED,
    TestStatus.XFAILED,
    TestStatus.XPASSED,
    TestStatus.PASSED,
)


def worst(first: TestStatus, second: TestStatus) -> TestStatus:
    """The one further from passing, for a test that was reported twice."""
    return min(first, second, key=_WORST_FIRST.index)


class Verdict(BaseModel):
    """What the verifier found.

    Attributes:
        kind: the verifier that ran, e.g. ``"pytest"``.
        fail_to_pass: outcome of each test that the task asks for.
        pass_to_pass: outcome of each test that must go on passing.
        score: a verifier's own number in [0, 1] where it has one (a script, planted mutants).
        tampering: evidence that the run was interfered with; any voids it.
        residual: the agent's code ran in the process that reported, guarded by canaries only.
        canaries: how many must-fail tests were planted.
        dropped: changed paths that were not brought over (protected, or not regular files).
        exit_code: status of the verifier's process; None after a timeout.
        timed_out: the tests ran past their time, which is the agent's failure.
        seconds: the tests' own run.
        overhead_seconds: what grading added to that.
        log: the end of the verifier's output, for people; hostile bytes.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    fail_to_pass: dict[str, TestStatus] = {}
    pass_to_pass: dict[str, TestStatus] = {}
    score: float | None = None
    tampering: tuple[str, ...] = ()
    residual: bool = False
    canaries: int = 0
    dropped: tuple[str, ...] = ()
    exit_code: int | None = None
    timed_out: bool = False
    seconds: float = 0.0
    overhead_seconds: float = 0.0
    log: str = ""

    @property
    def resolved(self) -> bool:
        """Every asked-for and every guarded test passed, nothing was tampered with."""
        wanted = [*self.fail_to_pass.values(), *self.pass_to_pass.values()]
        if self.tampering:
            return False
        if not wanted:
            return self.score is not None and self.score >= 1.0
        return all(status is TestStatus.PASSED for status in wanted)
