"""A real Workspace over a temporary directory without isolation, for tests only.

:mod:`tests.fakes.plain_sandbox` makes a whole sandbox of it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from repodrome.errors import WorkspaceError
from repodrome.tools.workspace import CommandResult, FileInfo, FileKind

_CODES = {
    errno.ENOENT: "not_found",
    errno.ENOTDIR: "not_directory",
    errno.EISDIR: "is_directory",
    errno.ENOTEMPTY: "not_empty",
    errno.EACCES: "permission",
    errno.ENOSPC: "disk_full",
    errno.ENAMETOOLONG: "bad_path",
    errno.ELOOP: "bad_path",
    errno.ENXIO: "not_regular",
}


class LocalWorkspace:
    """Files below ``root``; each shell command is a fresh bash.

    ``full_after`` is the number of writes after which one meets a full disk.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.realpath(root))
        self.full_after: int | None = None
        self.unreadable: set[str] = set()

    @property
    def root(self) -> str:
        return str(self._root)

    def environment(self) -> dict[str, str]:
        """What every command finds in its environment."""
        return dict(os.environ)

    def _resolve(self, path: str, *, follow: bool = True) -> Path:
        if "\0" in path:
            raise WorkspaceError("the path holds a NUL", code="bad_path")
        full = self._root / path
        if follow or full == self._root or full.name == "..":
            real = Path(os.path.realpath(full))
        else:
            real = Path(os.path.realpath(full.parent)) / full.name
        if not real.is_relative_to(self._root):
            raise WorkspaceError(f"{path} leads out of the workspace", code="escape")
        return real

    def _translated(self, path: str, error: OSError) -> WorkspaceError:
        code = _CODES.get(error.errno or 0, "io")
        return WorkspaceError(f"{path}: {error.strerror}", code=code)

    def _info(self, full: Path) -> FileInfo:
        facts = full.lstat()
        kinds: dict[int, FileKind] = {
            stat.S_IFREG: "file",
            stat.S_IFDIR: "dir",
            stat.S_IFLNK: "link",
        }
        return FileInfo(
            path=os.path.relpath(full, self._root),
            kind=kinds.get(stat.S_IFMT(facts.st_mode), "other"),
            size=facts.st_size,
            mtime_ns=facts.st_mtime_ns,
            executable=bool(facts.st_mode & 0o100),
        )

    async def stat(self, path: str) -> FileInfo:
        try:
            return self._info(self._resolve(path, follow=False))
        except OSError as error:
            raise self._translated(path, error) from error

    async def read(self, path: str, *, offset: int = 0, limit: int | None = None) -> bytes:
        full = self._resolve(path)
        if os.path.relpath(full, self._root) in self.unreadable:
            raise WorkspaceError(f"{path}: permission denied", code="permission")
        try:
            descriptor = os.open(full, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise self._translated(path, error) from error
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                raise WorkspaceError(f"{path} is a directory", code="is_directory")
            if not stat.S_ISREG(mode):
                raise WorkspaceError(f"{path} is not a regular file", code="not_regular")
            return os.pread(descriptor, min(64 << 20, 64 << 20 if limit is None else limit), offset)
        finally:
            os.close(descriptor)

    async def write(self, path: str, data: bytes, *, executable: bool | None = None) -> None:
        full = self._resolve(path)
        if self.full_after is not None:
            if self.full_after == 0:
                self.full_after = None
                raise WorkspaceError(f"{path}: the disk is full", code="disk_full")
            self.full_after -= 1
        try:
            full.parent.mkdir(parents=True, exist_ok=True)
            if full.exists() and not full.is_file():
                code = "is_directory" if full.is_dir() else "not_regular"
                raise WorkspaceError(f"{path} is not a regular file", code=code)
            full.write_bytes(data)
            if executable is not None:
                full.chmod(0o755 if executable else 0o644)
        except FileExistsError as error:
            raise WorkspaceError(f"{path}: a parent is a file", code="not_directory") from error
        except OSError as error:
            raise self._translated(path, error) from error

    async def delete(self, path: str) -> None:
        full = self._resolve(path, follow=False)
        try:
            if full.is_dir() and not full.is_symlink():
                full.rmdir()
            else:
                full.unlink()
        except OSError as error:
            raise self._translated(path, error) from error

    async def list_dir(self, path: str = ".") -> list[FileInfo]:
        try:
            return [self._info(entry) for entry in sorted(self._resolve(path).iterdir())]
        except OSError as error:
            raise self._translated(path, error) from error

    async def shell(
        self,
        command: str,
        *,
        timeout: float = 120.0,
        session: str = "main",
        max_output: int = 1 << 20,
    ) -> CommandResult:
        argv = ["bash", "--noprofile", "--norc", "-c", command]
        return await self._run(argv, b"", None, None, timeout, max_output, merged=True)

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
        return await self._run(argv, stdin, cwd, env, timeout, max_output, merged=False)

    async def _run(
        self,
        argv: Sequence[str],
        stdin: bytes,
        cwd: str | None,
        env: Mapping[str, str] | None,
        timeout: float,
        max_output: int,
        *,
        merged: bool,
    ) -> CommandResult:
        started = time.monotonic()
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=pipe,
            stdout=pipe,
            stderr=asyncio.subprocess.STDOUT if merged else pipe,
            cwd=cwd or self._root,
            env={**self.environment(), **(env or {})},
            start_new_session=True,
        )
        timed_out = False
        talk = asyncio.ensure_future(process.communicate(stdin))
        try:
            out, err = await asyncio.wait_for(asyncio.shield(talk), timeout)
        except TimeoutError:
            timed_out = True
            os.killpg(process.pid, signal.SIGKILL)
            out, err = await talk
        dropped = max(0, len(out) - max_output)
        if dropped:
            out = out[: max_output // 2] + out[len(out) - max_output // 2 :]
        code = process.returncode
        return CommandResult(
            exit_code=None if timed_out or code is None else code if code >= 0 else 128 - code,
            stdout=out,
            stderr=(err or b"")[:max_output],
            dropped=dropped,
            seconds=time.monotonic() - started,
            timed_out=timed_out,
        )
