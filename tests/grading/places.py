"""Where tests of grading run: the embedded sandbox where this machine has it, else the fake."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from tests.fakes.local_sandbox import LocalBackend
from tests.grading.benches import Till

from repodrome.envs.grading.grader import grade
from repodrome.envs.grading.pytest_run import PYTHON
from repodrome.envs.grading.verdict import Verdict
from repodrome.envs.sandbox.base import Change, SandboxBackend, SandboxSpec
from repodrome.envs.sandbox.bubblewrap.backend import BubblewrapBackend
from repodrome.errors import SandboxUnavailableError


def have_bubblewrap() -> bool:
    """Whether this machine can run the embedded sandbox."""
    try:
        BubblewrapBackend().check()
    except SandboxUnavailableError:
        return False
    return True


def place(spec: SandboxSpec, *, real: bool) -> tuple[SandboxBackend, SandboxSpec, str]:
    """A backend, the spec made fit for it, and the interpreter inside."""
    if real and have_bubblewrap():
        backend = BubblewrapBackend()
        for layer in spec.layers:
            for path in (layer, *layer.rglob("*")):
                os.chown(path, *backend.owner, follow_symlinks=False)
        toolchains = tuple(sorted({sys.prefix, sys.base_prefix} - {"/usr", "/"}))
        return backend, replace(spec, toolchains=toolchains), sys.executable
    return LocalBackend(), spec, PYTHON


async def judged(till: Till, change: Change, *, real: bool = False) -> Verdict:
    """The verdict on a change."""
    backend, spec, python = place(till.spec, real=real)
    try:
        return await grade(
            till.task,
            change,
            backend=backend,
            spec=spec,
            hidden=None,
            pristine=till.pristine,
            python=python,
        )
    finally:
        await backend.close()
