"""The bench that every verifier works on: a change, and what it takes to judge it afresh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from repodrome.envs.grading import protect
from repodrome.envs.grading.pytest_run import PYTHON
from repodrome.envs.grading.verdict import TestStatus
from repodrome.envs.sandbox.base import Change, Sandbox, SandboxBackend, SandboxSpec
from repodrome.errors import GradingError, WorkspaceError
from repodrome.tasks.model import Task


@dataclass(frozen=True, slots=True)
class Bench:
    """All that a verifier needs to judge one change.

    Attributes:
        task: the task.
        change: the agent's change; hostile.
        backend: starts the grading sandboxes.
        spec: what they are made of: the layers of the episode's own.
        pristine: the pristine workspace on the host.
        hidden: path → content of every file laid into the workspace for grading.
        seed: pins order and hash seed.
        python: the interpreter within the sandbox, absolute.
        reference: originals of the files that ``source.edits`` changed, on the host.
    """

    task: Task
    change: Change
    backend: SandboxBackend
    spec: SandboxSpec
    pristine: Path
    hidden: Mapping[str, bytes] = field(default_factory=dict)
    seed: int = 0
    python: str = PYTHON
    reference: Path | None = None

    def plan(self) -> protect.Plan:
        """What of the change is brought over."""
        verifier = self.task.verifier
        occupied = set(self.hidden)
        if verifier.kind == "pytest":
            expected = (*verifier.fail_to_pass, *verifier.pass_to_pass)
            occupied.update(test.split("::")[0] for test in expected)
        return protect.plan(self.change, verifier, occupied=occupied, pristine=self.pristine)

    async def start(self) -> Sandbox:
        """A fresh sandbox; the caller closes it."""
        return await self.backend.start(self.spec, live=False)


async def lay(sandbox: Sandbox, plan: protect.Plan, files: Mapping[str, bytes]) -> list[str]:
    """Bring a change and the hidden files into a sandbox.

    Returns:
        Paths of the change that the workspace refused (its disk is full, a name too long).

    Raises:
        GradingError: a hidden file could not be written.
        SandboxError: the sandbox failed.
    """
    refused = []
    for path in plan.delete:
        try:
            await sandbox.delete(path)
        except WorkspaceError as error:
            if error.code not in ("not_found", "not_directory", "not_empty"):
                refused.append(path)
    for file in plan.write:
        try:
            await sandbox.write(file.path, file.data or b"", executable=file.executable)
        except WorkspaceError:
            refused.append(file.path)
    for path, data in files.items():
        try:
            await sandbox.write(path, data)
        except WorkspaceError as error:
            if error.code == "disk_full" and plan.write:
                # The quota is the episode's own: the change alone has filled it.
                refused.append(path)
                continue
            raise GradingError(f"hidden file {path!r} can't be laid: {error}") from error
    return refused


def pick(statuses: Mapping[str, TestStatus], wanted: Sequence[str]) -> dict[str, TestStatus]:
    """The outcome of exactly these tests; one that wasn't reported is missing."""
    return {test: statuses.get(test, TestStatus.MISSING) for test in wanted}
