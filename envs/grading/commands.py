"""Verifiers that are a program of the task's own: a command with a parser, or Harbor's script."""

from __future__ import annotations

import base64
import json
import math
import secrets
from functools import lru_cache
from pathlib import Path

from repodrome.envs.grading.bench import Bench, lay, pick
from repodrome.envs.grading.parsers import MAX_REPORT, CommandOutput, make_parser
from repodrome.envs.grading.pytest_run import absolute, environment, tail
from repodrome.envs.grading.verdict import Verdict
from repodrome.errors import GradingError, WorkspaceError

_MAX_OUTPUT = 4 << 20


async def grade_command(bench: Bench) -> Verdict:
    """Run ``verifier.command`` in the workspace and let ``verifier.parser`` read what it left.

    Raises:
        GradingError: there is no command, or it can't be started.
    """
    verifier = bench.task.verifier
    if not verifier.command:
        raise GradingError(f"task {bench.task.id}: a verifier of kind 'command' needs 'command'")
    parser = make_parser(verifier.parser)
    argv = (
        ["/bin/sh", "-c", verifier.command]
        if isinstance(verifier.command, str)
        else list(verifier.command)
    )
    plan = bench.plan()
    async with await bench.start() as sandbox:
        refused = await lay(sandbox, plan, bench.hidden)
        if verifier.report:
            # A report from before the run is not this run's.
            try:
                await sandbox.delete(verifier.report)
            except WorkspaceError:
                pass
        env = environment(bench.seed)
        env["PYTHONPATH"] = ":".join(absolute(sandbox.root, p) for p in verifier.python_path)
        result = await sandbox.run(
            argv,
            cwd=sandbox.root,
            env=env,
            timeout=verifier.timeout_sec,
            max_output=_MAX_OUTPUT,
        )
        report = None
        if verifier.report and not result.timed_out:
            try:
                report = await sandbox.read(verifier.report, limit=MAX_REPORT + 1)
            except WorkspaceError:
                pass  # left as None, which the parser judges
    output = CommandOutput(
        None if result.timed_out else result.exit_code, result.stdout, result.stderr, report
    )
    parsed = parser(output)
    believed = not parsed.problem and not result.timed_out
    statuses = parsed.statuses if believed else {}
    log = tail(result.stdout, result.stderr)
    return Verdict(
        kind="command",
        fail_to_pass=pick(statuses, verifier.fail_to_pass),
        pass_to_pass=pick(statuses, verifier.pass_to_pass),
        score=min(1.0, max(0.0, parsed.score)) if believed else 0.0,
        # An exit status is the host's own; a report is written beside the agent's code.
        residual=verifier.parser != "exit-code",
        dropped=tuple(sorted({*plan.dropped, *refused})),
        exit_code=result.exit_code,
        timed_out=result.timed_out,
        seconds=result.seconds,
        log=f"{parsed.problem}\n{log}" if parsed.problem else log,
    )


@lru_cache(maxsize=1)
def _stage_source() -> str:
    return (Path(__file__).parent / "script_stage.py").read_text("utf-8")


async def grade_script(bench: Bench) -> Verdict:
    """Run Harbor's ``tests/test.sh`` and read the reward that it writes.

    The tests are unpacked and the reward is read by one small program inside the sandbox, in the
    same run: nothing that was there before it, and nothing that outlives it, counts.

    Raises:
        GradingError: there is no script, or the sandbox can't give it ``/tests`` and ``/logs``.
    """
    task, verifier = bench.task, bench.task.verifier
    folder = task.folder / "tests"
    if not (folder / "test.sh").is_file():
        raise GradingError(f"task {task.id}: a verifier of kind 'script' needs tests/test.sh")
    files = {
        p.relative_to(folder).as_posix(): [
            base64.b64encode(p.read_bytes()).decode("ascii"),
            bool(p.stat().st_mode & 0o100),
        ]
        for p in sorted(folder.rglob("*"))
        if p.is_file() and "__pycache__" not in p.parts
    }
    nonce = secrets.token_hex(16)
    plan = bench.plan()
    async with await bench.start() as sandbox:
        refused = await lay(sandbox, plan, bench.hidden)
        result = await sandbox.run(
            [bench.python, "-s", "-B", "-c", _stage_source()],
            stdin=json.dumps({"nonce": nonce, "files": files, "cwd": sandbox.root}).encode("ascii"),
            cwd="/",
            env=environment(bench.seed),
            timeout=verifier.timeout_sec,
            max_output=_MAX_OUTPUT,
        )
    kind, answer = _answer(result.stdout, nonce)
    log = tail(result.stderr)
    if not result.timed_out and kind == "unable":
        raise GradingError(
            f"task {task.id}: this sandbox can't give the script {answer}; use the Docker backend, "
            "or let test.sh use $TESTS_DIR and $VERIFIER_DIR"
        )
    return Verdict(
        kind="script",
        score=0.0 if result.timed_out else _reward(kind, answer),
        residual=True,
        dropped=tuple(sorted({*plan.dropped, *refused})),
        exit_code=result.exit_code,
        timed_out=result.timed_out,
        seconds=result.seconds,
        log=log,
    )


def _answer(stdout: bytes, nonce: str) -> tuple[str, str]:
    prefix = nonce.encode("ascii") + b" "
    for line in reversed(stdout.split(b"\n")):
        if line.startswith(prefix):
            try:
                kind, answer = json.loads(line[len(prefix) :])
                return str(kind), str(answer)
            except (ValueError, TypeError, RecursionError):
                return "none", ""
    return "none", ""


def _reward(kind: str, text: str) -> float:
    """Harbor's reward: a number, or an object's ``reward`` (else the mean of its numbers)."""
    try:
        value = json.loads(text) if kind == "json" else float(text.strip() or 0)
    except (ValueError, RecursionError):
        return 0.0
    if isinstance(value, dict):
        numbers = [v for v in value.values() if isinstance(v, int | float)]
        value = value.get("reward", math.fsum(numbers) / len(numbers) if numbers else 0.0)
    if not isinstance(value, int | float) or not math.isfinite(value):
        return 0.0
    return min(1.0, max(0.0, float(value)))
