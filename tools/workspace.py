"""What a tool needs of a sandbox, as a small Protocol that every sandbox satisfies.

Paths are POSIX strings, relative to the workspace or absolute below :attr:`Workspace.root`. Links
inside the workspace are followed; one that leads out of it is refused. Everything the agent did
wrong raises :class:`~repodrome.errors.WorkspaceError`; what the machine did wrong raises
:class:`~repodrome.errors.SandboxError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

FileKind = Literal["file", "dir", "link", "other"]

SCRATCH = ".repodrome"
"""Directory of the workspace for what tools put aside for the agent to read (long output, logs of
jobs); it is never part of the agent's change."""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One entry of the workspace.

    Attributes:
        path: relative to the workspace, POSIX; undecodable bytes are surrogate-escaped.
        kind: what it is; ``"other"`` is a FIFO, socket or device.
        size: bytes.
        mtime_ns: modification time, nanoseconds since the epoch.
        executable: whether the owner may execute it.
    """

    path: str
    kind: FileKind
    size: int
    mtime_ns: int
    executable: bool = False


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command did. Its exit status is data, never an exception.

    Attributes:
        exit_code: status, 128+N for signal N, or None when it is not known (shell gone, timeout).
        stdout: at most the byte cap, head and tail kept; holds stderr too where they are merged.
        stderr: empty where merged.
        dropped: bytes of output left out of ``stdout`` and ``stderr`` together.
        seconds: wall time.
        timed_out: it was killed for running past its timeout.
        cut_short: why that was sooner than the timeout asked for, or ``""``.
        oom_killed: the memory limit killed something during it.
        shell_lost: the persistent shell ended; the next command gets a fresh one.
    """

    exit_code: int | None
    stdout: bytes
    stderr: bytes = b""
    dropped: int = 0
    seconds: float = 0.0
    timed_out: bool = False
    oom_killed: bool = False
    shell_lost: bool = False
    cut_short: str = ""


@runtime_checkable
class Workspace(Protocol):
    """The files and processes that tools work on."""

    @property
    def root(self) -> str:
        """Absolute path of the workspace as commands see it, e.g. ``/workspace``."""

    async def stat(self, path: str) -> FileInfo:
        """Describe an entry without following a final link.

        Raises:
            WorkspaceError: ``not_found``, ``escape``, ``bad_path``, ``permission``.
        """

    async def read(self, path: str, *, offset: int = 0, limit: int | None = None) -> bytes:
        """Read a regular file, at most ``limit`` bytes (default and most: 64 MiB).

        Raises:
            WorkspaceError: also ``is_directory``, ``not_regular``.
        """

    async def write(self, path: str, data: bytes, *, executable: bool | None = None) -> None:
        """Replace or create a regular file, making missing parents; mode is kept unless given.

        Raises:
            WorkspaceError: also ``is_directory``, ``not_regular``, ``disk_full``.
        """

    async def delete(self, path: str) -> None:
        """Remove a file or link (the link itself), or an empty directory.

        Raises:
            WorkspaceError: also ``not_empty`` for a directory with entries.
        """

    async def list_dir(self, path: str = ".") -> list[FileInfo]:
        """The entries of a directory, sorted by name, links not followed.

        Raises:
            WorkspaceError: also ``not_directory``.
        """

    async def shell(
        self,
        command: str,
        *,
        timeout: float = 120.0,
        session: str = "main",
        max_output: int = 1 << 20,
    ) -> CommandResult:
        """Run a command in a persistent shell (stdout and stderr merged, as a terminal shows them).

        Sessions are made when first named. State (cwd, variables, functions) survives between
        commands. ``timeout`` is in seconds and kills the command's whole process tree.
        """

    async def exec(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 120.0,
        max_output: int = 1 << 20,
    ) -> CommandResult:
        """Run one program beside the agent's shells, stdout and stderr apart.

        The agent's processes share its namespaces, so its status must not decide a reward.
        """
