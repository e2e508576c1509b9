"""Running one program in a container of its own: its status is the one that the daemon saw."""

from __future__ import annotations

import time
from collections.abc import Sequence

import anyio

from repodrome.envs.sandbox.direct.capture import Capture
from repodrome.envs.sandbox.direct.program import Program, result_of
from repodrome.envs.sandbox.docker.api.containers import Containers
from repodrome.envs.sandbox.docker.api.stream import Stream
from repodrome.errors import SandboxError
from repodrome.tools.workspace import CommandResult

_RUN = (
    'cd -- "$1" && in=$2 && shift 2 && exec 3>&2 2>/dev/null || exit 126; '
    '(exec "$@" <"$in" 2>&3 3>&-); exit "$?"'
)
"""Below a shell: what is pid 1 itself could not be killed by a signal of its own."""
END_SECONDS = 30.0
"""What a killed program's container gets to end."""


async def run_contained(program: Program, containers: Containers, timeout: float) -> CommandResult:
    """Run a program over the files of a sandbox.

    Raises:
        SandboxError: it could not be started, or its container was removed from outside.
    """
    wire = containers.wire
    assert wire is not None
    source, name = "/dev/null", ""
    try:
        if program.stdin:
            answer, _ = await wire.ask("file", program.stdin)
            source, name = answer["path"], answer["name"]
        words = ["env", *(f"{k}={v}" for k, v in program.env.items())] if program.env else []
        command = ["/bin/sh", "-c", _RUN, "sh", program.cwd, source, *words, *program.argv]
        return await _run(containers, command, timeout, program.max_output)
    finally:
        if name and not containers.closed:
            with anyio.CancelScope(shield=True):
                await wire.ask("remove", name=name)


async def _run(
    containers: Containers, command: Sequence[str], timeout: float, max_output: int
) -> CommandResult:
    out, err = Capture(max_output), Capture(max_output)
    began = time.monotonic()
    name, stream = await containers.start_program(command)
    try:
        with anyio.move_on_after(timeout) as scope:
            await _collect(stream, out, err)
            state = await containers.ended(name)
        timed_out = scope.cancelled_caught
        if timed_out:
            await containers.setting.engine.call(lambda c: c.kill(name))
            with anyio.move_on_after(END_SECONDS):
                await _collect(stream, out, err)
                state = await containers.ended(name)
        code = None if timed_out else int(state["ExitCode"])
        oom = not timed_out and bool(state.get("OOMKilled"))
    finally:
        stream.close()
        removed = await containers.remove_program(name)
    if not removed:
        raise SandboxError("the container that a program ran in was removed from outside")
    return result_of(code, out, err, began, timed_out, oom)


async def _collect(stream: Stream, out: Capture, err: Capture) -> None:
    while found := await stream.read():
        for kind, data in found:
            (err if kind == 2 else out).feed(data)
