"""The host's side of the pytest launcher: its orders, and what its answer is worth."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from repodrome.envs.grading.verdict import TestStatus, worst
from repodrome.envs.sandbox.base import ENV_PREFIX, Sandbox
from repodrome.errors import GradingError
from repodrome.tasks.model import VerifierSpec
from repodrome.tools.workspace import CommandResult

PYTHON = f"{ENV_PREFIX}/bin/python"
LOG_BYTES = 64 << 10
_MAX_RESULTS = 16 << 20


@dataclass(frozen=True, slots=True)
class PytestRun:
    """What one run of pytest reported.

    Attributes:
        statuses: exact test id, relative to the workspace → outcome; the worst where told twice.
        complete: pytest came to its end, and the process's status agrees with it.
        status: exit status, None after a timeout.
        timed_out: it ran past its time.
        oom_killed: the memory limit killed something.
        seconds: wall time of the process, by the host's clock.
        log: the end of what was printed.
    """

    statuses: Mapping[str, TestStatus]
    complete: bool
    status: int | None
    timed_out: bool
    oom_killed: bool
    seconds: float
    log: str


@lru_cache(maxsize=1)
def launcher_source() -> str:
    """The launcher, as it travels on the command line."""
    return (Path(__file__).parent / "pytest_launcher.py").read_text("utf-8")


def absolute(root: str, path: str) -> str:
    """A workspace path as the sandbox's programs see it."""
    relative = path.strip("/").removeprefix("./")
    return root if relative in ("", ".") else f"{root}/{relative}"


def tail(*streams: bytes) -> str:
    """The end of some output as text, for people."""
    text = b"".join(streams)[-LOG_BYTES:].decode("utf-8", "replace")
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def environment(seed: int) -> dict[str, str]:
    """What the verifier's processes get besides the task's own variables."""
    return {
        "PYTHONHASHSEED": str(seed % 4294967296),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        # Set to nothing on purpose: the task may have given them to the agent's commands.
        "PYTHONPATH": "",
        "PYTHONSTARTUP": "",
        "PYTEST_ADDOPTS": "",
        "PYTEST_PLUGINS": "",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }


def arguments(root: str, spec: VerifierSpec, targets: Sequence[str]) -> list[str]:
    """pytest's own arguments; the task's come last but for what must not be changed."""
    return [
        "-c",
        "/dev/null",
        f"--rootdir={root}",
        f"--confcutdir={root}",
        "--import-mode=importlib",
        "-p",
        "no:cacheprovider",
        "-q",
        "--no-header",
        "--tb=short",
        "--color=no",
        *spec.pytest_args,
        "--maxfail=0",
        "--continue-on-collection-errors",
        *(absolute(root, t) for t in targets),
    ]


async def run_pytest(
    sandbox: Sandbox,
    spec: VerifierSpec,
    targets: Sequence[str],
    *,
    seed: int = 0,
    timeout: float | None = None,
    python: str = PYTHON,
) -> PytestRun:
    """Run pytest on some files in a sandbox that is ready for it.

    Args:
        sandbox: the grading sandbox.
        spec: the task's verifier.
        targets: files or directories, relative to the workspace.
        seed: pins the hash seed.
        timeout: seconds of the tests' own run; the verifier's by default.
        python: the interpreter, absolute.

    Raises:
        GradingError: pytest did not even start, which no agent can cause.
        SandboxError: the sandbox failed.
    """
    nonce = secrets.token_hex(16)
    orders = {
        "nonce": nonce,
        "root": sandbox.root,
        "python_path": [absolute(sandbox.root, p) for p in spec.python_path],
        "cwd": absolute(sandbox.root, spec.run_in) if spec.run_in else "/tmp",
        "args": arguments(sandbox.root, spec, targets),
    }
    limit = spec.timeout_sec if timeout is None else timeout
    started = time.monotonic()
    result = await sandbox.run(
        [python, "-s", "-B", "-c", launcher_source()],
        stdin=json.dumps(orders).encode("ascii"),
        cwd="/",
        env=environment(seed),
        timeout=limit,
        max_output=_MAX_RESULTS,
    )
    return read_answer(result, nonce, seconds=time.monotonic() - started, limit=limit)


def read_answer(result: CommandResult, nonce: str, *, seconds: float, limit: float) -> PytestRun:
    """Read the launcher's frames; whatever doesn't carry the nonce is noise.

    Raises:
        GradingError: pytest did not even start.
    """
    prefix = nonce.encode("ascii") + b" "
    statuses: dict[str, TestStatus] = {}
    ready, end = False, None
    for line in result.stdout.split(b"\n"):
        if not line.startswith(prefix):
            continue
        try:
            kind, fields = json.loads(line[len(prefix) :])
            if kind == "ready":
                ready = True
            elif kind == "end":
                end = int(fields["status"])
            elif kind == "no_pytest":
                raise GradingError(
                    f"the task's environment can't import pytest ({fields['error']}); "
                    "add 'pytest' to environment.packages"
                )
            elif kind == "test":
                test, status = str(fields["id"]), TestStatus(fields["status"])
                statuses[test] = worst(statuses.get(test, status), status)
        except (ValueError, TypeError, KeyError, RecursionError):
            # Only code within the run knows the nonce; what it garbled isn't a result.
            continue
    log = tail(result.stderr)
    if not ready:
        what = "timed out" if result.timed_out else f"ended with status {result.exit_code}"
        if result.oom_killed:
            what += ", out of memory: raise environment.memory_mb"
        raise GradingError(f"pytest could not be started: the launcher {what}\n{log[-2000:]}")
    complete = end is not None and end == result.exit_code and end in (0, 1)
    return PytestRun(
        statuses=statuses,
        complete=complete,
        status=result.exit_code,
        timed_out=result.timed_out,
        oom_killed=result.oom_killed,
        seconds=min(seconds, result.seconds) if result.seconds else seconds,
        log=log,
    )
