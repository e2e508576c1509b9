"""A workspace whose commands can't outlast the episode's limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from repodrome.tools.words import named
from repodrome.tools.workspace import CommandResult, FileInfo, Workspace


class LimitedWorkspace:
    """Passes everything on, with the timeout of every command cut to what is left.

    The sandbox itself then kills the command, which leaves the shell in a known state; cancelling
    the call from outside would not.

    Args:
        workspace: the sandbox.
        command_timeout: the longest a command may ask for, seconds.
        remaining: seconds of the episode's wall time that are left.
    """

    def __init__(
        self, workspace: Workspace, command_timeout: float, remaining: Callable[[], float]
    ) -> None:
        self._inner = workspace
        self._command_timeout = command_timeout
        self._remaining = remaining

    def _cut(self, timeout: float) -> tuple[float, str]:
        """The timeout that holds, and why it is shorter than what was asked for."""
        left = self._remaining()
        if left <= min(timeout, self._command_timeout):
            # Never 0: backends may read that as "no timeout".
            return max(0.01, left), "the episode's time is up"
        if self._command_timeout < timeout:
            longest = self._command_timeout
            return longest, (
                f"it was still running after {longest:g} s, the most that a command may take here; "
                f"use {named('terminal.background')}=true"
            )
        return timeout, ""

    @property
    def root(self) -> str:
        """As the sandbox says."""
        return self._inner.root

    async def stat(self, path: str) -> FileInfo:
        """As the sandbox does."""
        return await self._inner.stat(path)

    async def read(self, path: str, *, offset: int = 0, limit: int | None = None) -> bytes:
        """As the sandbox does."""
        return await self._inner.read(path, offset=offset, limit=limit)

    async def write(self, path: str, data: bytes, *, executable: bool | None = None) -> None:
        """As the sandbox does."""
        await self._inner.write(path, data, executable=executable)

    async def delete(self, path: str) -> None:
        """As the sandbox does."""
        await self._inner.delete(path)

    async def list_dir(self, path: str = ".") -> list[FileInfo]:
        """As the sandbox does."""
        return await self._inner.list_dir(path)

    async def shell(
        self,
        command: str,
        *,
        timeout: float = 120.0,
        session: str = "main",
        max_output: int = 1 << 20,
    ) -> CommandResult:
        """As the sandbox does, within the limits."""
        timeout, why = self._cut(timeout)
        result = await self._inner.shell(
            command, timeout=timeout, session=session, max_output=max_output
        )
        return replace(result, cut_short=why) if result.timed_out and why else result

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
        """As the sandbox does, within the limits."""
        timeout, why = self._cut(timeout)
        result = await self._inner.exec(
            argv, stdin=stdin, cwd=cwd, env=env, timeout=timeout, max_output=max_output
        )
        return replace(result, cut_short=why) if result.timed_out and why else result
