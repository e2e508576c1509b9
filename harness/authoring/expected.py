"""The ids of ``expected.json``: found by running the tests before and after the solution."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from repodrome.envs.grading.verdict import TestStatus


def expected_ids(
    before: Mapping[str, TestStatus], after: Mapping[str, TestStatus], flaky: set[str]
) -> dict[str, list[str]]:
    """What ``expected.json`` holds: what passes after the solution, by whether it did before."""
    passing = sorted(
        test for test, status in after.items() if status is TestStatus.PASSED and test not in flaky
    )
    return {
        "FAIL_TO_PASS": [test for test in passing if before.get(test) is not TestStatus.PASSED],
        "PASS_TO_PASS": [test for test in passing if before.get(test) is TestStatus.PASSED],
    }


def differing(runs: Sequence[Mapping[str, TestStatus]]) -> set[str]:
    """Ids whose outcome is not the same in all runs."""
    seen: defaultdict[str, set[TestStatus]] = defaultdict(set)
    for run in runs:
        for test in {test for other in runs for test in other}:
            seen[test].add(run.get(test, TestStatus.MISSING))
    return {test for test, statuses in seen.items() if len(statuses) > 1}


async def write_expected(target: Path, expected: Mapping[str, Sequence[str]]) -> None:
    """Replace ``expected.json`` in one move, so that a crash leaves the old one."""
    from anyio import Path as AsyncPath

    text = json.dumps(expected, indent=2, ensure_ascii=False) + "\n"
    staged = AsyncPath(target.with_suffix(".json.part"))
    await staged.write_text(text, encoding="utf-8")
    await staged.replace(target)
