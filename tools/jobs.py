"""Background jobs of the terminal: started, watched, fed and stopped by small scripts inside.

A job leads a session of its own, so that one signal reaches all of it. Its output is appended to a
log in the workspace's scratch directory, where every tool can read it; what else there is of it
lies in ``job_dir``: ``N.in`` (a FIFO, its standard input, kept open by a sleeping process until the
input is ended), ``N.pid`` (process ids and the leader's start time, since ids come round again) and
``N.exit`` once it has ended. The agent may change all of that: it is believed in nothing that
matters.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from repodrome.errors import WorkspaceError
from repodrome.tools.base import ToolContext
from repodrome.tools.workspace import SCRATCH, CommandResult, Workspace

# Field 22 of /proc/PID/stat: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
_SINCE = """since() {
  local line; { read -r -d '' line <"/proc/$1/stat"; } 2>/dev/null
  set -- ${line##*) }; echo "${20}"
}
alive() {
  pid= hold= start=; { read -r pid hold start <"$1.pid"; } 2>/dev/null
  [ ! -s "$1.exit" ] && [ -n "$start" ] && [ "$(since "$pid")" = "$start" ]
}
"""

# 1: job_dir, 2: the log, 3: number, 4: command. Process ids come from inside, for $! need not be
# the leader's; "read" waits for them, so that all the files are there when we answer.
_START = (
    _SINCE
    + """base=$1/$3; mkdir -p "$1" && rm -f "$base".* && mkfifo "$base.in" || exit 1
echo 0 0 0 >"$base.pid" || exit 1  # a full disk is met before anything runs
read -r pid hold < <(exec setsid bash -c '
  exec 3>&1 >>"$2" 2>&1 9<>"$1.in" || exit 1
  sleep 2147483647 >/dev/null 2>&1 3>&- & hold=$!; disown
  exec <"$1.in" 9>&-; echo "$$ $hold" >&3; exec 3>&-
  bash -c "$3"; status=$?; kill $hold 2>/dev/null; echo $status >"$1.exit"
' job "$base" "$2" "$4") || exit 1
echo "$pid $hold $(since "$pid")" >"$base.pid" || { kill -KILL -- "-$pid"; exit 1; }
"""
)

# 1: job_dir, 2: seconds to wait, 3: a log, 4: its size when it was last read, then numbers.
_STATUS = (
    _SINCE
    + """dir=$1 end=$((SECONDS + $2)) log=$3 size=$4; shift 4
while [ $SECONDS -lt $end ] && alive "$dir/$1" && [ "$(stat -c %s -- "$log")" -le "$size" ]; do
  sleep 0.1
done
for n; do
  if alive "$dir/$n"; then echo "$n running"
  elif [ -s "$dir/$n.exit" ]; then read -r status <"$dir/$n.exit"; echo "$n $status"
  else echo "$n lost"; fi
done
"""
)

# 1: job_dir, 2: number. The text comes on standard input.
_FEED = _SINCE + 'alive "$1/$2" || exit 3; kill -0 "$hold" 2>/dev/null || exit 4; cat >"$1/$2.in"'
_END_INPUT = _SINCE + 'alive "$1/$2" || exit 3; kill "$hold" 2>/dev/null || exit 4'
_STOP = (
    _SINCE
    + """alive "$1/$2" || exit 3
kill -TERM -- "-$pid"
for _ in {1..40}; do kill -0 -- "-$pid" 2>/dev/null || break; sleep 0.05; done
kill -KILL -- "-$pid" 2>/dev/null
[ -s "$1/$2.exit" ] || echo stopped >"$1/$2.exit"
"""
)

NOT_RUNNING, INPUT_ENDED = 3, 4
"""Exit codes of :meth:`Jobs.feed`, :meth:`Jobs.end_input` and :meth:`Jobs.stop`."""


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What is known of a job.

    Attributes:
        state: ``lost`` where its processes are gone without a trace: killed, or left behind when
            the episode was restored or forked; ``unknown`` where it could not be asked.
        exit_code: once it has ended by itself.
    """

    number: int
    state: Literal["running", "ended", "stopped", "lost", "unknown"]
    exit_code: int | None = None

    def __str__(self) -> str:
        return f"ended, exit code {self.exit_code}" if self.state == "ended" else self.state


def terminal_memory(context: ToolContext) -> dict[str, Any]:
    """What the terminal's tools remember: the sessions opened, the outputs kept, and for each job
    its command and how much of its log was shown."""
    memory: dict[str, Any] = context.state.extra.setdefault(
        "terminal", {"sessions": [], "outputs": 0, "jobs": []}
    )
    return memory


async def make_scratch(workspace: Workspace) -> None:
    """Make the scratch directory, which git and ripgrep then pass over.

    Raises:
        WorkspaceError: it can't be written.
    """
    await workspace.write(f"{SCRATCH}/.gitignore", b"*\n")


@dataclass(frozen=True, slots=True)
class Jobs:
    """The background jobs of one episode.

    Args:
        context: of the call.
        job_dir: where in the sandbox their files are.
    """

    context: ToolContext
    job_dir: str

    @property
    def known(self) -> list[dict[str, Any]]:
        """Command and log position of every job so far; job 1 comes first."""
        jobs: list[dict[str, Any]] = terminal_memory(self.context)["jobs"]
        return jobs

    def log(self, number: int) -> str:
        """Path of a job's log, relative to the workspace."""
        return f"{SCRATCH}/jobs/{number}.log"

    async def start(self, command: str, session: str, timeout: float) -> tuple[int, CommandResult]:
        """Start a command with the directory and exported variables of a session.

        Returns:
            Its number, and how the start went; only with exit code 0 there is such a job.

        Raises:
            WorkspaceError: its log can't be written.
        """
        number = len(self.known) + 1
        workspace = self.context.workspace
        await make_scratch(workspace)
        await workspace.write(self.log(number), b"")
        log = f"{workspace.root.rstrip('/')}/{self.log(number)}"
        words = ("bash", "-c", _START, "start", self.job_dir, log, str(number), command)
        result = await workspace.shell(
            shlex.join(words), timeout=timeout, session=session, max_output=4096
        )
        if result.exit_code == 0:
            self.known.append({"command": command, "shown": 0})
        return number, result

    async def status(self, numbers: Sequence[int], wait: float = 0.0) -> list[JobStatus]:
        """How jobs are doing.

        Args:
            numbers: of the jobs.
            wait: seconds to wait at most for the first of them to print more or to end.
        """
        if not numbers:
            return []
        workspace = self.context.workspace
        log = f"{workspace.root.rstrip('/')}/{self.log(numbers[0])}"
        shown = str(self.known[numbers[0] - 1]["shown"])
        result = await self._script(
            _STATUS,
            self.job_dir,
            str(math.ceil(wait)),
            log,
            shown,
            *map(str, numbers),
            timeout=wait + 20,
        )
        found = dict(re.findall(rb"^(\d+) (\w+)$", result.stdout, re.MULTILINE))
        return [_status(number, found.get(str(number).encode(), b"unknown")) for number in numbers]

    async def feed(self, number: int, text: str, timeout: float) -> CommandResult:
        """Write to a job's standard input."""
        return await self._script(
            _FEED, self.job_dir, str(number), stdin=text.encode(), timeout=timeout
        )

    async def end_input(self, number: int) -> CommandResult:
        """Let a job read the end of its standard input."""
        return await self._script(_END_INPUT, self.job_dir, str(number))

    async def stop(self, number: int) -> CommandResult:
        """End all of a job's processes: SIGTERM, and SIGKILL two seconds later."""
        return await self._script(_STOP, self.job_dir, str(number))

    async def _script(
        self, script: str, *words: str, stdin: bytes = b"", timeout: float = 20.0
    ) -> CommandResult:
        argv = ["bash", "--noprofile", "--norc", "-c", script, "job", *words]
        return await self.context.workspace.exec(
            argv, stdin=stdin, timeout=timeout, max_output=64 << 10
        )

    async def new_output(self, number: int, max_bytes: int) -> tuple[bytes, int]:
        """What a job has printed since it was last asked, and how many bytes of its middle are
        left out."""
        workspace, job = self.context.workspace, self.known[number - 1]
        try:
            size = (await workspace.stat(self.log(number))).size
            start = job["shown"] if job["shown"] <= size else 0
            half = max_bytes // 2
            if size - start <= max_bytes:
                data, dropped = await self._piece(number, start, size - start), 0
            else:
                head = await self._piece(number, start, half)
                data = head + await self._piece(number, size - half, half)
                dropped = size - start - 2 * half
        except WorkspaceError:  # the agent has taken it away
            return b"", 0
        job["shown"] = size
        return data, dropped

    async def _piece(self, number: int, offset: int, length: int) -> bytes:
        return await self.context.workspace.read(self.log(number), offset=offset, limit=length)


def _status(number: int, word: bytes) -> JobStatus:
    if word.isdigit():
        return JobStatus(number, "ended", int(word[:6]))
    for state in ("running", "stopped", "lost"):
        if word == state.encode():
            return JobStatus(number, state)
    return JobStatus(number, "unknown")
