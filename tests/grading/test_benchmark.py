"""A program judged by its time, on sandboxes whose clock the test sets, and on real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from repodrome.envs.grading.grader import grade
from repodrome.envs.grading.verdict import Verdict
from repodrome.envs.rewards.tests import TestsReward
from repodrome.envs.sandbox.base import SandboxSpec
from repodrome.errors import GradingError
from repodrome.tools.workspace import CommandResult
from tests.fakes.plain_sandbox import PlainBackend, PlainSandbox
from tests.grading.benches import Till, changes, write
from tests.grading.places import judged
from tests.rewards.episodes import context

CASES = '[[case]]\nname = "long"\nstdin = "5"\n'
UNTIMED = '[[case]]\nname = "right"\nstdin = "7"\nstdout = "49"\ntimed = false\n'
PYTHON = ["/env/bin/python", "square.sh"]


class Clocked(PlainSandbox):
    """Every run takes as long as the backend's clock says of the workspace's program."""

    async def run(self, argv: Sequence[str], **options: Any) -> CommandResult:
        result = await super().run(argv, **options)
        assert isinstance(self.backend, Clock)
        return replace(result, seconds=self.backend.time((self._root / "square.sh").read_text()))


class Clock(PlainBackend):
    """Reads a program's cost off its first line; ``# 2 3`` takes 2 s, then 3, then 2, …"""

    def __init__(self) -> None:
        super().__init__()
        self.runs: dict[str, int] = {}

    def time(self, source: str) -> float:
        costs = source.split("\n")[0].strip("# ").split()
        count = self.runs[source] = self.runs.get(source, -1) + 1
        return float(costs[count % len(costs)])

    async def start(
        self, spec: SandboxSpec, *, live: bool = True, persist: Path | None = None
    ) -> PlainSandbox:
        return Clocked(spec, self)


def square(cost: str, body: str = "read n; echo $((n * n))") -> str:
    return f"# {cost}\n{body}\n"


def bench(
    base: Path,
    *,
    unmodified: str = square("40"),
    solution: str = square("1"),
    cases: str = CASES,
    **settings: Any,
) -> Till:
    chosen = {"command": ["/bin/sh", "square.sh"], "target": 2.0, **settings}
    till = Till(base, kind="benchmark", fail_to_pass=(), pass_to_pass=(), **chosen)
    write(till.pristine, {"square.sh": unmodified})
    write(till.folder, {"tests/cases.toml": cases})
    if solution:
        write(till.folder, {"solution/workspace/square.sh": solution})
    return till


def timed(till: Till, candidate: str | None, reference: Path | None = None) -> Verdict:
    change = changes({} if candidate is None else {"square.sh": candidate})
    return asyncio.run(
        grade(
            till.task,
            change,
            backend=Clock(),
            spec=till.spec,
            hidden=None,
            pristine=till.pristine,
            reference=reference,
        )
    )


@pytest.mark.parametrize(
    ("cost", "score"), [("0.5", 1.0), ("1", 1.0), ("2", 1.0), ("8", 0.5), ("33", 0.0), ("90", 0.0)]
)
def test_the_score_goes_by_the_ratio(cost: str, score: float, tmp_path: Path) -> None:
    verdict = timed(bench(tmp_path), square(cost, "read n; echo $((5 * n))"))
    assert verdict.score == pytest.approx(score), verdict.log
    assert verdict.resolved is (score == 1.0)
    assert not verdict.residual
    judging = context(verdict=verdict)
    assert TestsReward()(judging).value == float(score == 1.0)
    assert TestsReward(mode="fractional")(judging).value == pytest.approx(score)


def test_the_log_says_what_was_measured(tmp_path: Path) -> None:
    log = timed(bench(tmp_path), square("8")).log
    assert log.startswith("case:long: 8.000 s, 8.00 (8.00 to 8.00) times the reference's 1.000 s")
    assert "unmodified 40.00 times; 5 rounds, score 0.500" in log


def test_noise_is_met_with_more_rounds(tmp_path: Path) -> None:
    till = bench(tmp_path, rounds=20, timeout_sec=100_000.0)
    assert "; 20 rounds" in timed(till, square("3 6 12 4 9 5 7")).log
    assert "; 5 rounds" in timed(till, square("6.0 6.1 5.9")).log
    assert "; 5 rounds" in timed(till, square("1 1.9 0.3 1.5")).log  # full score in any case


def test_the_time_for_measuring_ends_the_rounds(tmp_path: Path) -> None:
    verdict = timed(bench(tmp_path, timeout_sec=200.0), square("3 6 12 4 9 5 7"))
    assert "; 10 rounds" in verdict.log  # three at 40 s for the unmodified one
    assert not verdict.timed_out


def test_nothing_done_earns_nothing(tmp_path: Path) -> None:
    verdict = timed(bench(tmp_path), None)
    assert verdict.score == 0.0 and verdict.seconds == 0.0


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("echo 25", "case:right printed something else: line 1 is '25', expected '49'"),
        ("exit 4", "case:long ended with status 4, expected 0"),
        ("exec sleep 60", "case:long ran past its time"),
    ],
)
def test_fast_and_wrong_earns_nothing(body: str, why: str, tmp_path: Path) -> None:
    till = bench(tmp_path, cases=CASES + UNTIMED, case_timeout_sec=2.0, rounds=30)
    verdict = timed(till, square("0.1 9 2 7 0.3 5", body))
    assert verdict.score == 0.0 and not verdict.resolved
    assert verdict.log.startswith(why)


def test_every_run_is_compared(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    body = f"echo >> {runs}; read n; test $(wc -l < {runs}) -gt 3 || echo $((n * n))"
    verdict = timed(bench(tmp_path), square("1", body))
    assert verdict.score == 0.0
    assert len(runs.read_text()) == 4


@pytest.mark.parametrize("form", ["patch", "edits", "command"])
def test_forms_of_the_reference(form: str, tmp_path: Path) -> None:
    settings = {"reference_command": ["/bin/sh", "tests/right.sh"]} if form == "command" else {}
    till = bench(tmp_path, solution="", **settings)
    reference = tmp_path / "reference"
    write(reference, {"square.sh": square("1")})
    if form == "patch":
        patch = "--- a/square.sh\n+++ b/square.sh\n@@ -1,1 +1,1 @@\n-# 40\n+# 1\n"
        write(till.folder, {"solution/solution.patch": patch})
    elif form == "edits":
        source = till.task.source.model_validate(
            {"edits": [{"op": "replace", "path": "square.sh", "old": "# 1", "new": "# 40"}]}
        )
        till.task = till.task.model_copy(update={"source": source})
    else:
        write(till.folder, {"tests/right.sh": "read n; echo $((n * n))\n"})
        # The clock goes by square.sh, which this reference leaves as it was.
        with pytest.raises(GradingError, match=r"only 1\.00 times as long"):
            timed(till, square("1"))
        return
    assert timed(till, square("8"), reference).score == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"solution": square("30")}, "only 1.33 times as long as the reference"),
        ({"solution": square("1", "echo 1"), "cases": CASES + UNTIMED}, "the reference printed"),
        ({"unmodified": square("40", "echo 1")}, "the unmodified workspace printed"),
        ({"solution": ""}, "has no solution to compare with"),
        ({"solution": square("1 9 2 30 4 1 20 2")}, "too busy"),
        ({"cases": "[[case]]\n"}, "case.0.name"),
    ],
)
def test_what_is_not_the_agents_fault_is_no_score(
    settings: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(GradingError) as raised:
        timed(bench(tmp_path, **settings), square("9", "read n; echo $((5 * n))"))
    assert says in str(raised.value)


def test_an_endless_unmodified_program_is_a_yardstick(tmp_path: Path) -> None:
    endless = square("2", "exec sleep 60")
    till = bench(tmp_path, unmodified=endless, case_timeout_sec=2.0, solution=square("0.1"))
    verdict = timed(till, square("0.1"))
    assert verdict.score == 1.0
    assert "unmodified 20.00 times" in verdict.log


SLOW = "import time\ntime.sleep(1.0)\nprint(int(input()) ** 2)\n"
CACHING = """\
import os, time
path = os.path.expanduser("~") + "/answer"
for place in (path, "/tmp/answer", "/workspace/answer", "/env/answer"):
    if os.path.exists(place):
        print(open(place).read())
        break
else:
    time.sleep(1.0)
    answer = str(int(input()) ** 2)
    print(answer)
    for place in (path, "/tmp/answer", "/workspace/answer", "/env/answer"):
        try:
            open(place, "w").write(answer)
        except OSError:
            pass
"""
# The work goes on behind a process that has ended: nothing of it is read.
BEHIND = """\
import os, sys, time
if os.fork() == 0:
    os.setsid()
    time.sleep(1.0)
    print(int(input()) ** 2)
"""
CLOCKLESS = "import time\ntime.monotonic = time.time = time.perf_counter = lambda: 0.0\n" + SLOW


@pytest.mark.parametrize(
    ("source", "score"),
    [("print(int(input()) ** 2)\n", 1.0), (CACHING, 0.0), (BEHIND, 0.0), (CLOCKLESS, 0.0)],
    ids=["honest", "caches", "behind", "stops clocks"],
)
@pytest.mark.slow
def test_in_a_real_sandbox(source: str, score: float, tmp_path: Path) -> None:
    solution = "import os\nprint(int(input()) ** 2)\n"
    till = bench(tmp_path, unmodified=SLOW, solution=solution, command=PYTHON, target=3.0)
    verdict = asyncio.run(judged(till, changes({"square.sh": source}), real=True))
    assert verdict.score == score, verdict.log


def test_a_solution_that_is_a_script(tmp_path: Path) -> None:
    till = bench(tmp_path, unmodified=SLOW, solution="", command=PYTHON, target=3.0)
    script = "test -f /tmp/solution/new && cp /tmp/solution/new square.sh\n"
    files = {"solve.sh": script, "new": "print(int(input()) ** 2)\n"}
    write(till.folder / "solution", files)
    wrong = changes({"square.sh": "print(0)\n"})
    verdict = asyncio.run(judged(till, wrong, real=True))
    assert verdict.log.startswith("case:long printed something else: line 1 is '0', expected '25'")
