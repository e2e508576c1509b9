"""What the candidate of a benchmark is compared with: the task's own solution, or its command."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from repodrome.envs.grading.bench import Bench
from repodrome.envs.grading.protect import Plan
from repodrome.envs.sandbox.base import ChangedFile, Sandbox
from repodrome.errors import GradingError, ToolError
from repodrome.tasks.folder import solution_kind

_UNPACK_AND_RUN = (
    "mkdir -p /tmp/solution && tar -xf - --no-same-owner -C /tmp/solution && "
    "exec /bin/bash /tmp/solution/solve.sh </dev/null"
)


@dataclass(frozen=True, slots=True)
class Reference:
    """The right program.

    Attributes:
        plan: what it changes in the pristine workspace.
        command: how it is run; empty: as the agent's is.
        files: laid besides, of ``tests/``.
    """

    plan: Plan
    command: str | Sequence[str] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)


async def reference_of(bench: Bench) -> Reference:
    """The reference of a task; a solution that is a script is run in a sandbox of its own.

    Raises:
        GradingError: there is none, or it can't be applied.
        SandboxError: a sandbox failed.
    """
    task = bench.task
    if task.verifier.reference_command:
        return Reference(Plan((), (), ()), task.verifier.reference_command, bench.hidden)
    solution, kind = task.folder / "solution", solution_kind(task)
    if kind == "files":
        return Reference(_laid(solution / "workspace"))
    if kind == "edits" and bench.reference is not None:
        return Reference(_laid(bench.reference))
    if kind not in ("script", "patch"):
        raise GradingError(
            f"task {task.id} has no solution to compare with; "
            "add one, or write verifier.reference_command"
        )
    async with await bench.start() as sandbox:
        if kind == "script":
            await _solve(sandbox, solution, bench)
        else:
            await _patch(sandbox, solution / "solution.patch")
        change = await sandbox.export()
    deleted = sorted((f.path for f in change.files if f.kind == "deleted"), reverse=True)
    write = [f for f in change.without_caches().files if f.data is not None]
    return Reference(Plan(tuple(deleted), tuple(write), ()))


def _laid(folder: Path) -> Plan:
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and not p.is_symlink()]
    write = [
        ChangedFile(
            path.relative_to(folder).as_posix(),
            "modified",
            path.read_bytes(),
            bool(path.stat().st_mode & 0o100),
        )
        for path in files
    ]
    return Plan((), tuple(write), ())


async def _solve(sandbox: Sandbox, solution: Path, bench: Bench) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(solution, arcname=".")
    limit = bench.task.limits.command_timeout_sec
    done = await sandbox.run(
        ["/bin/sh", "-c", _UNPACK_AND_RUN],
        stdin=packed.getvalue(),
        cwd=sandbox.root,
        timeout=limit,
    )
    if done.timed_out or done.exit_code != 0:
        how = "ran past its time" if done.timed_out else f"ended with status {done.exit_code}"
        log = (done.stdout + done.stderr)[-2000:].decode("utf-8", "replace")
        raise GradingError(f"solution/solve.sh of {bench.task.id} {how}\n{log}")


async def _patch(sandbox: Sandbox, file: Path) -> None:
    from repodrome.tools.apply_patch import ApplyPatch, ApplyPatchArguments
    from repodrome.tools.base import ToolContext, ToolState

    arguments = ApplyPatchArguments(patch=file.read_text(encoding="utf-8"))
    try:
        await ApplyPatch().run(arguments, ToolContext(sandbox, ToolState()))
    except ToolError as error:
        raise GradingError(f"solution/solution.patch can't be applied: {error}") from error
