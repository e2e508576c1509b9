"""``terminal``: run a command in a persistent shell of the sandbox."""

from __future__ import annotations

import shlex
import signal
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from repodrome.errors import ToolError
from repodrome.tools.base import Arguments, ToolContext, ToolOutput
from repodrome.tools.text import cut_middle, terminal_text
from repodrome.tools.workspace import CommandResult


class TerminalArguments(Arguments):
    """Arguments of ``terminal``."""

    command: str = Field(description="Shell command (bash); may be several lines.")
    timeout: float = Field(
        default=120.0,
        gt=0,
        description="Seconds after which the command and all its children are killed.",
    )
    session: str = Field(
        default="main",
        pattern=r"^[A-Za-z0-9_-]{1,32}$",
        description="Which shell runs it; each keeps its own directory and variables. A new name "
        "opens a new shell.",
    )
    background: bool = Field(
        default=False,
        description="Start it and answer at once; its output goes to a log file.",
    )


@dataclass(frozen=True, slots=True)
class Terminal:
    """Runs commands.

    Attributes:
        max_output_bytes: most bytes of output shown; head and tail are kept.
        max_timeout: longest timeout in seconds; a longer one is shortened to it.
        max_sessions: most shells of one episode.
        job_dir: directory in the sandbox for the logs of background commands.
    """

    name: str = "terminal"
    description: str = (
        "Run a command in a bash shell that stays open: working directory, variables and functions "
        "last until the next call. Output and errors come together, long output without its "
        "middle, and the exit code at the end. No keyboard input. Prefer the file tools for "
        "reading, searching and editing."
    )
    max_output_bytes: int = 30_000
    max_timeout: float = 600.0
    max_sessions: int = 8
    job_dir: str = "/tmp/jobs"
    arguments: ClassVar[type[Arguments]] = TerminalArguments
    read_only: ClassVar[bool] = False

    async def run(self, arguments: TerminalArguments, context: ToolContext) -> ToolOutput:
        """Run it. A failing command is an answer, not an error.

        Raises:
            ToolError: the command is empty or holds a NUL, or there are too many sessions.
        """
        if not arguments.command.strip():
            raise ToolError("command is empty; give a shell command", code="invalid_arguments")
        if "\0" in arguments.command:
            raise ToolError(
                "command holds a NUL character, which no shell takes; leave it out, or write "
                "$'\\0' or printf '\\0'",
                code="invalid_arguments",
            )
        memory = self._memory(context, arguments.session)
        if arguments.background:
            return await self._background(arguments, context, memory)
        timeout = min(arguments.timeout, self.max_timeout)
        # Four times what is shown: whatever the sandbox leaves out then lies in what we cut, too.
        result = await context.workspace.shell(
            arguments.command,
            timeout=timeout,
            session=arguments.session,
            max_output=4 * self.max_output_bytes,
        )
        return self._answer(result, timeout, arguments.session)

    def _memory(self, context: ToolContext, session: str) -> dict[str, Any]:
        """What is remembered between calls: the sessions opened and the jobs started."""
        memory: dict[str, Any] = context.state.extra.setdefault(
            "terminal", {"sessions": [], "jobs": 0}
        )
        sessions: list[str] = memory["sessions"]
        if session not in sessions:
            if len(sessions) >= self.max_sessions:
                raise ToolError(
                    f"{self.max_sessions} sessions are open, the most there may be; use one of "
                    + ", ".join(sessions),
                    code="too_many_sessions",
                )
            sessions.append(session)
        return memory

    def _answer(self, result: CommandResult, timeout: float, session: str) -> ToolOutput:
        head, tail, dropped = cut_middle(
            result.stdout + result.stderr, self.max_output_bytes, dropped=result.dropped
        )
        text = terminal_text(head).rstrip("\n")
        if dropped:
            text += (
                f"\n[… {dropped:,} bytes left out; to see all, send the output to a file and read "
                f"that …]\n{terminal_text(tail)}"
            ).rstrip("\n")
        notes = _notes(result, timeout, session)
        parts = [text or "[no output]", *(f"[{note}]" for note in notes)]
        return ToolOutput(
            "\n".join(parts),
            data={
                "exit_code": result.exit_code,
                "dropped": dropped,
                "timed_out": result.timed_out,
                "oom_killed": result.oom_killed,
                "shell_lost": result.shell_lost,
                "session": session,
            },
            truncated=dropped > 0,
        )

    async def _background(
        self, arguments: TerminalArguments, context: ToolContext, memory: dict[str, Any]
    ) -> ToolOutput:
        memory["jobs"] += 1
        job = memory["jobs"]
        base = f"{self.job_dir}/{job}"
        # A session of its own, so that one kill reaches all of it. It says its own process id, for
        # $! need not be the leader's where the shell has job control; "read" waits for that, so
        # that the files are there when we answer.
        script = (
            f"exec 3>&1 </dev/null >{base}.log 2>&1; echo $$ >&3; exec 3>&-; "
            f'bash -c "$1"; echo $? >{base}.exit'
        )
        start = f"exec setsid bash -c {shlex.quote(script)} job {shlex.quote(arguments.command)}"
        result = await context.workspace.shell(
            f"mkdir -p {shlex.quote(self.job_dir)} && "
            f"( read -r pid < <({start}) && echo $pid >{base}.pid )",
            timeout=min(30.0, self.max_timeout),
            session=arguments.session,
            max_output=4096,
        )
        if result.exit_code != 0:
            memory["jobs"] -= 1
            answer = self._answer(result, 30.0, arguments.session)
            return ToolOutput(
                f"the background command could not be started\n{answer.text}",
                data=answer.data,
                is_error=True,
            )
        return ToolOutput(
            f"[job {job} started]\n"
            f"output:  tail -n 50 {base}.log\n"
            f"ended?   cat {base}.exit   (its exit code; not there while it runs)\n"
            f"stop:    kill -- -$(cat {base}.pid)",
            data={"job": job, "log": f"{base}.log", "session": arguments.session},
        )


def _notes(result: CommandResult, timeout: float, session: str) -> list[str]:
    notes = []
    if result.timed_out and result.cut_short:
        notes.append(f"killed: {result.cut_short}")
    elif result.timed_out:
        notes.append(
            f"killed: it was still running after {timeout:g} s, its timeout; give a longer timeout "
            "or background=true"
        )
    if result.oom_killed:
        notes.append("out of memory: the sandbox's memory limit killed a process")
    if result.shell_lost:
        notes.append(
            f"the shell ended; the next command in session {session!r} gets a fresh one, so its "
            "directory, variables and functions are lost"
        )
    if result.exit_code is not None:
        notes.append(f"exit code {result.exit_code}{_signal_name(result.exit_code)}")
    elif not (result.timed_out or result.shell_lost):
        notes.append("exit code unknown")
    return notes


def _signal_name(code: int) -> str:
    if not 128 < code < 160:
        return ""
    try:
        return f", ended by {signal.Signals(code - 128).name}"
    except ValueError:
        return ""
