"""File access below a directory descriptor that hostile processes may be changing at the time.

Every path is resolved by the kernel, ``openat2(RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)``: links
that stay inside are followed, anything that leads out is refused, whatever races are run. Opens use
O_NONBLOCK and are followed by fstat, so that a FIFO or device can neither block us nor be read.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from repodrome.errors import SandboxError, WorkspaceError
from repodrome.tools.workspace import FileInfo, FileKind

SYS_OPENAT2 = 437
RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 0x02, 0x04, 0x08
MAX_READ = 64 << 20
RETRIES = 100
"""Tries of one open while processes inside rename what it passes, or hold a lease on it."""
_CODES = {
    errno.ENOENT: ("not_found", "no such file or directory"),
    errno.ENOTDIR: ("not_directory", "not a directory, or a parent of it isn't one"),
    errno.EISDIR: ("is_directory", "is a directory"),
    errno.EXDEV: ("escape", "leads out of the workspace"),
    errno.ELOOP: ("escape", "is a link that can't be followed"),
    errno.EACCES: ("permission", "permission denied"),
    errno.EPERM: ("permission", "not permitted"),
    errno.EROFS: ("permission", "read-only"),
    errno.ENOSPC: ("disk_full", "the disk quota is used up; delete something first"),
    errno.EDQUOT: ("disk_full", "the disk quota is used up; delete something first"),
    errno.EFBIG: ("too_large", "the file would be too large"),
    errno.ENOTEMPTY: ("not_empty", "directory not empty"),
    errno.EEXIST: ("exists", "exists already"),
    errno.ENAMETOOLONG: ("bad_path", "name too long"),
    errno.ENXIO: ("not_regular", "not a regular file"),
    errno.EINVAL: ("bad_path", "not a usable name"),
    errno.EAGAIN: ("permission", "is held by a process of the sandbox; end that first"),
    errno.EBUSY: ("permission", "is in use by the sandbox itself"),
    errno.ETXTBSY: ("permission", "is a program that is running"),
}
_libc = ctypes.CDLL(None, use_errno=True)


class _How(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def openat2(root: int, path: bytes, flags: int, mode: int = 0, *, links: bool = True) -> int:
    """Open ``path`` strictly below ``root``.

    Args:
        links: follow links that stay inside.

    Raises:
        OSError: EXDEV when the path leads out.
    """
    resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (0 if links else RESOLVE_NO_SYMLINKS)
    how = _How(flags | os.O_CLOEXEC, mode, resolve)
    for _ in range(RETRIES):
        fd = int(_libc.syscall(SYS_OPENAT2, root, path, ctypes.byref(how), ctypes.sizeof(how)))
        if fd >= 0:
            return fd
        code = ctypes.get_errno()
        if code not in (errno.EAGAIN, errno.EINTR):  # EAGAIN: a rename raced with the lookup
            break
    raise OSError(code, os.strerror(code))  # EAGAIN for good: renames without end, or a lease


@contextmanager
def _translate(path: str) -> Iterator[None]:
    """Turn the OS's word on a path into the agent's; leave alone what is not about the path."""
    try:
        yield
    except OSError as error:
        _fail(path, error)


def _fail(path: str, error: OSError) -> NoReturn:
    if error.errno in (errno.EBADF, errno.ESTALE, errno.EIO):
        raise SandboxError(f"the workspace is gone: {error}") from error
    code, text = _CODES.get(error.errno or 0, ("os_error", error.strerror or "failed"))
    raise WorkspaceError(f"{path}: {text}", code=code) from error


class Beneath:
    """Reads and writes below one directory.

    Args:
        fd: descriptor of the directory (O_PATH will do); closed by :meth:`close`.
        root: absolute path of it as the agent's commands see it.
        owner: uid and gid that created files get, or None where that is ours anyhow.
    """

    def __init__(self, fd: int, root: str, owner: tuple[int, int] | None) -> None:
        self.fd, self.root, self.owner = fd, root, owner

    def close(self) -> None:
        """Give the descriptor back; idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def relative(self, path: str) -> str:
        """A path as given by the agent, relative to the directory and normalised.

        Raises:
            WorkspaceError: ``escape`` or ``bad_path``.
        """
        if "\0" in path:
            raise WorkspaceError("a path can't hold a NUL character", code="bad_path")
        try:
            os.fsencode(path)
        except UnicodeEncodeError as error:
            raise WorkspaceError(f"not a valid path: {error.reason}", code="bad_path") from error
        if path.startswith("/"):
            if path != self.root and not path.startswith(self.root + "/"):
                raise WorkspaceError(
                    f"{path}: outside the workspace {self.root}; use a path inside it",
                    code="escape",
                )
            path = path[len(self.root) :].lstrip("/")
        parts: list[str] = []
        for part in path.split("/"):
            if part in ("", "."):
                continue
            if part == "..":
                if not parts:
                    raise WorkspaceError(
                        f"{path}: outside the workspace {self.root}; use a path inside it",
                        code="escape",
                    )
                parts.pop()
            else:
                parts.append(part)
        return "/".join(parts) or "."

    def stat(self, path: str) -> FileInfo:
        """See :meth:`repodrome.tools.workspace.Workspace.stat`."""
        name = self.relative(path)
        with _translate(path):
            fd = self._open(name, os.O_PATH | os.O_NOFOLLOW)
            try:
                return info(name, os.fstat(fd))
            finally:
                os.close(fd)

    def read(self, path: str, *, offset: int = 0, limit: int | None = None) -> bytes:
        """See :meth:`repodrome.tools.workspace.Workspace.read`."""
        name = self.relative(path)
        with _translate(path):
            fd = self._open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
            try:
                self._regular(path, fd)
                return _read(fd, offset, MAX_READ if limit is None else min(limit, MAX_READ))
            finally:
                os.close(fd)

    def write(self, path: str, data: bytes, *, executable: bool | None = None) -> None:
        """See :meth:`repodrome.tools.workspace.Workspace.write`."""
        name = self.relative(path)
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
        with _translate(path):
            try:
                fd = self._open(name, flags)
            except FileNotFoundError:
                self._parents(name)
                fd = self._open(name, flags | os.O_CREAT, 0o644)
                os.fchmod(fd, 0o644)  # whatever our umask: modes are part of what agents see
                self._own(fd)
            try:
                self._regular(path, fd)
                os.ftruncate(fd, 0)
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
                if executable is not None:
                    mode = stat.S_IMODE(os.fstat(fd).st_mode)
                    os.fchmod(fd, mode | 0o111 if executable else mode & ~0o111)
            finally:
                os.close(fd)

    def delete(self, path: str) -> None:
        """See :meth:`repodrome.tools.workspace.Workspace.delete`."""
        name = self.relative(path)
        if name == ".":
            raise WorkspaceError("the workspace itself can't be deleted", code="permission")
        with _translate(path), self._parent(name) as (parent, last):
            found = os.stat(last, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                os.rmdir(last, dir_fd=parent)
            else:
                os.unlink(last, dir_fd=parent)

    def list_dir(self, path: str = ".") -> list[FileInfo]:
        """See :meth:`repodrome.tools.workspace.Workspace.list_dir`."""
        name = self.relative(path)
        prefix = "" if name == "." else name + "/"
        with _translate(path):
            fd = self._open(name, os.O_RDONLY | os.O_DIRECTORY)
            try:
                found = []
                for entry in os.listdir(fd):
                    try:
                        status = os.stat(entry, dir_fd=fd, follow_symlinks=False)
                    except FileNotFoundError:  # deleted meanwhile
                        continue
                    found.append(info(prefix + entry, status))
            finally:
                os.close(fd)
        return sorted(found, key=lambda f: f.path)

    def _open(self, name: str, flags: int, mode: int = 0) -> int:
        return openat2(self.fd, os.fsencode(name), flags, mode)

    def _own(self, fd: int) -> None:
        if self.owner is not None:
            os.fchown(fd, *self.owner)

    def _regular(self, path: str, fd: int) -> None:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise WorkspaceError(f"{path}: is a directory", code="is_directory")
        if not stat.S_ISREG(mode):
            raise WorkspaceError(f"{path}: not a regular file", code="not_regular")

    @contextmanager
    def _parent(self, name: str) -> Iterator[tuple[int, str]]:
        head, _, last = name.rpartition("/")
        fd = self._open(head or ".", os.O_PATH | os.O_DIRECTORY)
        try:
            yield fd, last
        finally:
            os.close(fd)

    def _parents(self, name: str) -> None:
        """Make the missing parents of ``name``."""
        parts = name.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            here = "/".join(parts[:depth])
            try:
                os.close(self._open(here, os.O_PATH | os.O_DIRECTORY))
            except FileNotFoundError:
                with self._parent(here) as (parent, last):
                    os.mkdir(last, 0o755, dir_fd=parent)
                    made = os.open(
                        last, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent
                    )
                    try:
                        os.fchmod(made, 0o755)
                        self._own(made)
                    finally:
                        os.close(made)


def info(name: str, status: os.stat_result) -> FileInfo:
    """What the OS says of an entry, in our words."""
    kind: FileKind = "other"
    if stat.S_ISREG(status.st_mode):
        kind = "file"
    elif stat.S_ISDIR(status.st_mode):
        kind = "dir"
    elif stat.S_ISLNK(status.st_mode):
        kind = "link"
    return FileInfo(
        name, kind, status.st_size, status.st_mtime_ns, bool(status.st_mode & stat.S_IXUSR)
    )


def _read(fd: int, offset: int, limit: int) -> bytes:
    chunks = []
    while limit > 0:
        chunk = os.pread(fd, min(limit, 1 << 20), offset)
        if not chunk:
            break
        chunks.append(chunk)
        offset += len(chunk)
        limit -= len(chunk)
    return b"".join(chunks)
