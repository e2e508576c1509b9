"""Running the task's program on one held-out input, each time in a sandbox of its own.

What a process leaves behind (files in the workspace, ``$HOME`` or ``/tmp``, something running in
the background) is gone before the next one starts; its output, status and wall time are what the
host read. Neither expected outputs nor other cases are ever in a sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from repodrome.envs.grading import protect
from repodrome.envs.grading.bench import Bench, lay
from repodrome.envs.grading.compare import difference, equal
from repodrome.envs.grading.pytest_run import absolute, environment, tail
from repodrome.errors import GradingError, TaskFormatError
from repodrome.tasks.cases import MAX_OUTPUT, Case, read_cases
from repodrome.tasks.model import Task, VerifierSpec
from repodrome.tools.workspace import CommandResult


@dataclass(frozen=True, slots=True)
class Ran:
    """One run.

    Attributes:
        refused: paths of the change that the workspace did not take.
    """

    result: CommandResult
    refused: tuple[str, ...] = ()

    @property
    def log(self) -> str:
        """The end of what it printed to standard error."""
        return tail(self.result.stderr[-2000:])


def cases_of(task: Task) -> tuple[Case, ...]:
    """The task's cases.

    Raises:
        GradingError: they are wrong, or gone since the task was loaded.
    """
    try:
        return read_cases(task.folder, kind=task.verifier.kind)
    except (TaskFormatError, OSError) as error:
        raise GradingError(f"task {task.id}: {error}") from error


def program(command: str | Sequence[str], args: Sequence[str]) -> list[str]:
    """The argument vector; a shell line finds a case's arguments in ``"$@"``."""
    if isinstance(command, str):
        return ["/bin/sh", "-c", command, "sh", *args]
    return [*command, *args]


def plan_for(bench: Bench, case: Case) -> protect.Plan:
    """What of the agent's change is brought over for a case: nothing where its files go."""
    return protect.plan(
        bench.change, bench.task.verifier, occupied=set(case.files), pristine=bench.pristine
    )


async def run_case(
    bench: Bench,
    case: Case,
    plan: protect.Plan,
    *,
    command: str | Sequence[str] = (),
    files: Mapping[str, bytes] | None = None,
    timeout: float,
) -> Ran:
    """Run the program on one case.

    Args:
        plan: the change that is tried.
        command: instead of ``verifier.command``.
        files: laid besides the case's own.
        timeout: seconds, by the host's clock.

    Raises:
        GradingError: the case's files can't be laid.
        SandboxError: the sandbox failed.
    """
    verifier = bench.task.verifier
    async with await bench.start() as sandbox:
        refused = await lay(sandbox, plan, {**(files or {}), **case.files})
        env = environment(bench.seed)
        env["PYTHONPATH"] = ":".join(absolute(sandbox.root, p) for p in verifier.python_path)
        result = await sandbox.run(
            program(command or verifier.command, case.args),
            stdin=case.stdin,
            cwd=sandbox.root,
            env=env,
            timeout=timeout,
            max_output=MAX_OUTPUT,
        )
    return Ran(result, tuple(refused))


def fault(case: Case, result: CommandResult, expected: bytes | None, spec: VerifierSpec) -> str:
    """How a run is wrong, in a line; ``""`` where it is right.

    Args:
        expected: what should have been printed; None: anything.
    """
    if result.timed_out:
        return "ran past its time"
    if result.exit_code != case.status:
        killed = ", out of memory" if result.oom_killed else ""
        return f"ended with status {result.exit_code}{killed}, expected {case.status}"
    if result.dropped:
        return f"printed more than {MAX_OUTPUT >> 20} MiB"
    if expected is None or equal(expected, result.stdout, spec.compare, spec.tolerance):
        return ""
    return "printed something else: " + difference(expected, result.stdout)
