"""``terminal``: run a command in a persistent shell of the sandbox."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from repodrome.errors import ToolError, WorkspaceError
from repodrome.tools.base import Arguments, ToolContext, ToolOutput
from repodrome.tools.jobs import Jobs, make_scratch, terminal_memory
from repodrome.tools.text import cut_middle, terminal_text
from repodrome.tools.words import named
from repodrome.tools.workspace import SCRATCH, CommandResult


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
        description="Start it and answer at once: it becomes a job whose output goes to a log.",
    )


@dataclass(frozen=True, slots=True)
class Terminal:
    """Runs commands.

    Attributes:
        max_output_bytes: most bytes of output shown; head and tail are kept.
        max_timeout: longest timeout in seconds; a longer one is shortened to it.
        max_sessions: most shells of one episode.
        kept_outputs: how many of the latest long outputs are kept in files; 0 keeps none.
        kept_bytes: most bytes of each; of longer ones head and tail.
        job_dir: directory in the sandbox for what there is of background jobs beside their logs.
    """

    name: str = "terminal"
    description: str = (
        "Run a command in a bash shell that stays open: working directory, variables and functions "
        "last until the next call. Output and errors come together, and the exit code at the end; "
        "of long output head and tail are shown, and all of it is put into a file. No keyboard "
        f"input: start what wants that, or goes on running, with {named('terminal.background')}"
        f"=true, and look after it with {named('terminal_job')}. Prefer the file tools for "
        "reading, searching and editing."
    )
    max_output_bytes: int = 30_000
    max_timeout: float = 600.0
    max_sessions: int = 8
    kept_outputs: int = 8
    kept_bytes: int = 4 << 20
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
        self._open_session(context, arguments.session)
        if arguments.background:
            return await self._background(arguments, context)
        timeout = min(arguments.timeout, self.max_timeout)
        # Four times what is shown at least: what the sandbox leaves out then lies in what we cut.
        result = await context.workspace.shell(
            arguments.command,
            timeout=timeout,
            session=arguments.session,
            max_output=max(4 * self.max_output_bytes, self.kept_bytes),
        )
        kept = ""
        if len(result.stdout) + len(result.stderr) > self.max_output_bytes and self.kept_outputs:
            kept = await self._keep(result, context)
        return self._answer(result, timeout, arguments.session, kept)

    def _open_session(self, context: ToolContext, session: str) -> None:
        sessions: list[str] = terminal_memory(context)["sessions"]
        if session not in sessions:
            if len(sessions) >= self.max_sessions:
                raise ToolError(
                    f"{self.max_sessions} sessions are open, the most there may be; use one of "
                    + ", ".join(sessions),
                    code="too_many_sessions",
                )
            sessions.append(session)

    async def _keep(self, result: CommandResult, context: ToolContext) -> str:
        """Put the whole output into a file, and say where it is.

        Kept by us and not by a pipe inside: a command has to run as it would in a terminal.
        """
        memory, workspace = terminal_memory(context), context.workspace
        number = memory["outputs"] + 1
        path = f"{SCRATCH}/terminal/{number}.txt"
        data = result.stdout + result.stderr
        if result.dropped:
            half = len(data) // 2  # the sandbox keeps as much of the head as of the tail
            gap = f"\n[… {result.dropped:,} bytes were not kept …]\n".encode()
            data = data[:half] + gap + data[half:]
        try:
            await make_scratch(workspace)
            await workspace.write(path, data)
            if number > self.kept_outputs:
                await workspace.delete(f"{SCRATCH}/terminal/{number - self.kept_outputs}.txt")
        except WorkspaceError as error:
            if error.code != "not_found":  # an old one that the agent has deleted
                return f"it can't be kept in {path} ({error.code})"
        memory["outputs"] = number
        return f"{'more' if result.dropped else 'all'} of it is in {path}"

    def _answer(self, result: CommandResult, timeout: float, session: str, kept: str) -> ToolOutput:
        head, tail, dropped = cut_middle(
            result.stdout + result.stderr, self.max_output_bytes, dropped=result.dropped
        )
        text = terminal_text(head).rstrip("\n")
        if dropped:
            where = kept or "to see all, send the output to a file and read that"
            text += f"\n[… {dropped:,} bytes left out; {where} …]\n"
            text += terminal_text(tail).rstrip("\n")
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

    async def _background(self, arguments: TerminalArguments, context: ToolContext) -> ToolOutput:
        jobs = Jobs(context, self.job_dir)
        timeout = min(30.0, self.max_timeout)
        try:
            number, result = await jobs.start(arguments.command, arguments.session, timeout)
        except WorkspaceError as error:
            raise WorkspaceError(
                f"the job's log can't be made: {error}", code=error.code
            ) from error
        if result.exit_code != 0:
            answer = self._answer(result, timeout, arguments.session, "")
            return ToolOutput(
                f"the background command could not be started\n{answer.text}",
                data=answer.data,
                is_error=True,
            )
        return ToolOutput(
            f"[job {number} started; its output goes to {jobs.log(number)}; read, feed and stop it "
            f"with {named('terminal_job')}]",
            data={"job": number, "log": jobs.log(number), "session": arguments.session},
        )


def _notes(result: CommandResult, timeout: float, session: str) -> list[str]:
    notes = []
    if result.timed_out and result.cut_short:
        notes.append(f"killed: {result.cut_short}")
    elif result.timed_out:
        notes.append(
            f"killed: it was still running after {timeout:g} s, its timeout; give a longer timeout "
            f"or {named('terminal.background')}=true"
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
