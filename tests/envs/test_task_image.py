"""What a task asks of its image."""

from __future__ import annotations

from pathlib import Path

import pytest

from repodrome.envs.sandbox.image import Image
from repodrome.envs.task_image import check_python
from repodrome.errors import SetupError
from repodrome.tasks.model import EnvironmentSpec, Source, Task, VerifierSpec

BARE = Image("sha256:1", "bare")
WITH = Image("sha256:2", "with", python="/usr/bin/python3", python_version="3.11.2")


def task(kind: str, **environment: object) -> Task:
    return Task(
        id="test/one",
        instruction="Do it.",
        folder=Path("/nowhere"),
        source=Source(),
        environment=EnvironmentSpec.model_validate(environment),
        verifier=VerifierSpec.model_validate({"kind": kind}),
    )


@pytest.mark.parametrize("kind", ["command", "output", "benchmark", "none"])
def test_what_needs_no_python_goes_without(kind: str) -> None:
    check_python(task(kind), BARE)


@pytest.mark.parametrize("kind", ["pytest", "mutants", "script"])
def test_verifiers_that_need_python_say_so(kind: str) -> None:
    check_python(task(kind), WITH)
    with pytest.raises(SetupError, match=f"no python3, which the {kind} verifier"):
        check_python(task(kind), BARE)


def test_packages_and_versions() -> None:
    with pytest.raises(SetupError, match="which the packages of task test/one"):
        check_python(task("none", packages=["attrs"]), BARE)
    check_python(task("pytest", python="3.11"), WITH)
    with pytest.raises(SetupError, match=r"has Python 3\.11\.2, and task test/one wants 3\.1"):
        check_python(task("pytest", python="3.1"), WITH)
