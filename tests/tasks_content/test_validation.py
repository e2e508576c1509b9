"""Every task of ours is fair: the oracle earns the full reward, doing nothing earns none."""

from __future__ import annotations

import asyncio

import pytest

from repodrome.harness.authoring.validate import validate_many
from repodrome.tasks.suites import get_suite


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("suite", ["builtin", "pypi"])
def test_every_task_validates(suite: str) -> None:
    found = asyncio.run(validate_many(list(get_suite(suite)), repeats=2, jobs=2))
    assert {validation.task: validation.findings for validation in found if not validation.ok} == {}
    assert {reward for validation in found for reward in validation.oracle} == {1.0}
    assert {reward for validation in found for reward in validation.nop} == {0.0}
