"""``terminal_job``: background jobs listed, polled, fed with input, stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import Field

from repodrome.errors import ToolError
from repodrome.tools.base import Arguments, ToolContext, ToolOutput
from repodrome.tools.jobs import INPUT_ENDED, NOT_RUNNING, Jobs, JobStatus
from repodrome.tools.text import clip_line, count, cut_middle, safe_text, terminal_text
from repodrome.tools.words import named
from repodrome.tools.workspace import CommandResult

_BACKGROUND = f"{named('terminal')} with {named('terminal.background')}=true"


class TerminalJobArguments(Arguments):
    """Arguments of ``terminal_job``."""

    action: Literal["list", "output", "input", "end_input", "stop"] = Field(
        default="list",
        description="'list': all jobs; 'output': what a job has printed since it was last asked; "
        "'input': write to its standard input; 'end_input': close that; 'stop': end it.",
    )
    job: int = Field(default=0, ge=0, description="Number of the job; 0 is the latest.")
    input: str = Field(
        default="",
        description="With 'input': the text, written exactly as given; end lines with a newline.",
    )
    wait: float = Field(
        default=0.0,
        ge=0,
        description="With 'output' and 'input': seconds to wait at most until it prints more or "
        "ends.",
    )


@dataclass(frozen=True, slots=True)
class TerminalJob:
    """Looks after what ``terminal`` started in the background.

    One tool with an action, not a tool for each: that is one schema to learn, and flat.

    Attributes:
        max_output_bytes: most bytes of output shown; head and tail are kept.
        max_wait: longest wait in seconds; a longer one is shortened to it.
        input_timeout: seconds after which a job that doesn't take its input is given up on.
        job_dir: as ``terminal``'s.
    """

    name: str = "terminal_job"
    description: str = (
        f"Look after the background jobs that {_BACKGROUND} started: list them, read what they "
        "print, write to their standard input, stop them."
    )
    max_output_bytes: int = 30_000
    max_wait: float = 60.0
    input_timeout: float = 5.0
    job_dir: str = "/tmp/jobs"
    arguments: ClassVar[type[Arguments]] = TerminalJobArguments
    read_only: ClassVar[bool] = False

    async def run(self, arguments: TerminalJobArguments, context: ToolContext) -> ToolOutput:
        """Do it.

        Raises:
            ToolError: there is no such job, it isn't running, or it doesn't take the input.
        """
        jobs = Jobs(context, self.job_dir)
        if arguments.action == "list":
            return await self._list(jobs)
        number = _number(jobs, arguments.job)
        wait = min(arguments.wait, self.max_wait)
        if arguments.action == "output":
            return await self._output(jobs, number, wait)
        if arguments.action == "input":
            if not arguments.input:
                raise ToolError(
                    f"{named('terminal_job.input')} is empty; give the text to write",
                    code="invalid_arguments",
                )
            fed = await jobs.feed(number, arguments.input, self.input_timeout)
            _check(fed, number, feeding=True)
            return await self._output(jobs, number, wait)
        if arguments.action == "end_input":
            _check(await jobs.end_input(number), number)
            return ToolOutput(f"[the input of job {number} is ended]", data={"job": number})
        _check(await jobs.stop(number), number)
        return await self._output(jobs, number, 0.0)

    async def _list(self, jobs: Jobs) -> ToolOutput:
        found = await jobs.status(range(1, len(jobs.known) + 1))
        rows = [
            f"job {status.number}: {status}; {jobs.log(status.number)}\n"
            f"  $ {safe_text(clip_line(' '.join(job['command'].split()), 200))}"
            for status, job in zip(found, jobs.known, strict=True)
        ]
        running = sum(status.state == "running" for status in found)
        rows.append(f"[{count(len(found), 'job')}, {running} running]")
        return ToolOutput("\n".join(rows), data={"jobs": [_facts(one) for one in found]})

    async def _output(self, jobs: Jobs, number: int, wait: float) -> ToolOutput:
        (status,) = await jobs.status([number], wait)
        raw, missing = await jobs.new_output(number, self.max_output_bytes)
        head, tail, dropped = cut_middle(raw, self.max_output_bytes, dropped=missing)
        text = terminal_text(head).rstrip("\n")
        if dropped:
            text += f"\n[… {dropped:,} bytes left out; all of it is in {jobs.log(number)} …]\n"
            text += terminal_text(tail).rstrip("\n")
        return ToolOutput(
            f"{text or '[no new output]'}\n[job {number}: {status}]",
            data={**_facts(status), "dropped": dropped},
            truncated=dropped > 0,
        )


def _facts(status: JobStatus) -> Mapping[str, Any]:
    return {"job": status.number, "state": status.state, "exit_code": status.exit_code}


def _number(jobs: Jobs, wanted: int) -> int:
    known = len(jobs.known)
    if not known:
        raise ToolError(
            f"there are no background jobs; start one by {_BACKGROUND}", code="no_such_job"
        )
    if wanted > known:
        raise ToolError(
            f"there is no job {wanted}; they are numbered from 1 to {known}", code="no_such_job"
        )
    return wanted or known


def _check(result: CommandResult, number: int, *, feeding: bool = False) -> None:
    """Raise for what a script of :class:`Jobs` refused."""
    if result.exit_code == NOT_RUNNING:
        raise ToolError(
            f"job {number} is not running; see what it printed with "
            f"{named('terminal_job.action')}='output'",
            code="not_running",
        )
    if result.exit_code == INPUT_ENDED:
        raise ToolError(f"the input of job {number} was ended before", code="input_ended")
    if result.timed_out:
        problem = "doesn't answer; end it with a command"
        if feeding:
            problem = "doesn't read its input: some of the text may be waiting there; look at its "
            problem += "output, or stop it"
        raise ToolError(f"job {number} {problem}", code="timeout")
    if result.exit_code != 0:
        problem = safe_text(result.stderr[:500].decode("utf-8", "replace")).strip()
        raise ToolError(f"job {number} can't be reached: {problem}", code="failed")
