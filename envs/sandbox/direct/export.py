"""Bringing a sandbox's change over as plain bytes, by walking the overlay's upper layer.

Nothing inside runs any more when this is called. Still, names and contents are hostile: directories
are opened one component at a time without following links, only regular files are read, and what
the overlay says of itself (whiteouts, opaque and redirected directories) is checked against the
pristine tree, never trusted to name a path.

Overlay format: https://docs.kernel.org/filesystems/overlayfs.html
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from repodrome.envs.sandbox.base import Change, ChangedFile
from repodrome.envs.sandbox.beneath import openat2
from repodrome.tools.workspace import SCRATCH

_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_WHOLE = ("opaque", "redirect")
MAX_FILES_AT_ONCE = 4
"""A change is at most so many files of the greatest size: sparse ones cost the agent nothing."""
MAX_DEPTH = 128
"""Directories nested deeper are refused: each level costs a descriptor and stack."""
SKIPPED = frozenset({".git", SCRATCH})
"""Top-level names that are never part of a change."""


class Exporter:
    """Compares the workspace with the layers it was started from.

    Args:
        upper: descriptor of the upper layer's ``workspace`` directory, or None if it has none.
        merged: descriptor of the workspace as the agent saw it.
        layers: the pristine ``workspace`` directories, lowest first.
        max_file_bytes: larger files are refused.
    """

    def __init__(
        self, upper: int | None, merged: int, layers: Sequence[Path], max_file_bytes: int
    ) -> None:
        self.upper, self.merged, self.max_file_bytes = upper, merged, max_file_bytes
        self.layers = [layer for layer in reversed(layers) if layer.is_dir()]
        self.found: dict[str, ChangedFile] = {}
        self._left = MAX_FILES_AT_ONCE * max_file_bytes

    def run(self) -> Change:
        """Walk, compare, sort."""
        if self.upper is not None:
            fd = os.open(".", _DIR, dir_fd=self.upper)
            try:
                self._upper(fd, "")
            finally:
                os.close(fd)
        return Change(tuple(self.found[path] for path in sorted(self.found)))

    def _upper(self, fd: int, prefix: str) -> None:
        for name, status in _entries(fd):
            if not prefix and name in SKIPPED:
                continue
            path = prefix + name
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                self._deleted(path)
            elif stat.S_ISDIR(status.st_mode):
                self._directory(fd, name, path)
            else:
                self._entry(path)

    def _directory(self, parent: int, name: str, path: str) -> None:
        if path.count("/") > MAX_DEPTH:
            self._refuse(path, f"nested deeper than {MAX_DEPTH} directories")
            return
        fd = _open_directory(parent, name)
        if fd is None:
            self._refuse(path, "a directory that can't be read")
            return
        try:
            if is_whole(fd) or not self._pristine_is_directory(path):
                # Replaced or moved here as a whole: what counts is what the agent saw.
                self._deleted(path)
                self._merged(path)
            else:
                self._upper(fd, path + "/")
        finally:
            os.close(fd)

    def _merged(self, path: str) -> None:
        """Everything below a directory, as the agent saw it."""
        if path.count("/") > MAX_DEPTH:
            self._refuse(path, f"nested deeper than {MAX_DEPTH} directories")
            return
        try:
            fd = self._open(path, _DIR, 0o700)
        except OSError:
            self._refuse(path, "a directory that can't be read")
            return
        try:
            for name, status in _entries(fd):
                below = f"{path}/{name}"
                if stat.S_ISDIR(status.st_mode):
                    self._merged(below)
                else:
                    self._entry(below)
        finally:
            os.close(fd)

    def _entry(self, path: str) -> None:
        """A file, or something that is none, that the agent left at ``path``."""
        self._deleted_below(path)
        before = self._pristine(path)
        try:
            fd = openat2(self.merged, os.fsencode(path), os.O_PATH | os.O_NOFOLLOW, links=True)
        except OSError:
            self._refuse(path, "can't be read")
            return
        try:
            status = os.fstat(fd)
        finally:
            os.close(fd)
        if stat.S_ISLNK(status.st_mode):
            if before is not None and self._same_link(before, path):
                self.found.pop(path, None)
            else:
                self._refuse(path, "a link")
            return
        if not stat.S_ISREG(status.st_mode):
            self._refuse(path, "not a regular file")
            return
        data = self._read(path, status)
        if data is None:
            return
        executable = bool(status.st_mode & stat.S_IXUSR)
        if before is not None and _is_same_file(before, data, executable):
            self.found.pop(path, None)
            return
        known = before is not None and not before.is_symlink() and before.is_file()
        self.found[path] = ChangedFile(path, "modified" if known else "added", data, executable)

    def _read(self, path: str, status: os.stat_result) -> bytes | None:
        if status.st_size > self.max_file_bytes:
            self._refuse(path, f"larger than {self.max_file_bytes} bytes")
            return None
        if status.st_size > self._left:
            self._refuse(path, "the change as a whole is too large")
            return None
        self._left -= status.st_size
        try:
            fd = self._open(path, _FILE, 0o600)
        except OSError:
            self._refuse(path, "can't be read")
            return None
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                self._refuse(path, "not a regular file")
                return None
            data = file.read(self.max_file_bytes + 1)
        if len(data) > self.max_file_bytes:
            self._refuse(path, f"larger than {self.max_file_bytes} bytes")
            return None
        return data

    def _open(self, path: str, flags: int, mode: int) -> int:
        """Open what the agent saw; without root also what it has closed to itself."""
        name = os.fsencode(path)
        with suppress(PermissionError):
            return openat2(self.merged, name, flags, links=False)
        handle = openat2(self.merged, name, os.O_PATH | os.O_NOFOLLOW, links=False)
        try:
            os.chmod(f"/proc/self/fd/{handle}", mode)
        finally:
            os.close(handle)
        return openat2(self.merged, name, flags, links=False)

    def _same_link(self, before: Path, path: str) -> bool:
        if not before.is_symlink():
            return False
        head, _, last = path.rpartition("/")
        try:
            fd = openat2(self.merged, os.fsencode(head or "."), os.O_PATH, links=False)
        except OSError:
            return False
        try:
            return os.readlink(last, dir_fd=fd) == os.readlink(before)
        finally:
            os.close(fd)

    def _deleted(self, path: str) -> None:
        """Note ``path`` and, if it was a directory, everything that was below it as deleted."""
        before = self._pristine(path)
        if before is None:
            return
        if before.is_symlink() or not before.is_dir():
            self.found[path] = ChangedFile(path, "deleted")
            return
        for below in self._pristine_files(path):
            self.found[below] = ChangedFile(below, "deleted")

    def _deleted_below(self, path: str) -> None:
        """A file stands where a directory was."""
        if self._pristine_is_directory(path):
            self._deleted(path)

    def _pristine(self, path: str) -> Path | None:
        """Where ``path`` comes from in the pristine layers; None if it isn't there."""
        for layer in self.layers:
            found = layer / path
            try:
                status = found.lstat()
            except OSError:
                continue
            return None if stat.S_ISCHR(status.st_mode) else found
        return None

    def _pristine_is_directory(self, path: str) -> bool:
        before = self._pristine(path)
        return before is not None and not before.is_symlink() and before.is_dir()

    def _pristine_files(self, path: str) -> Iterator[str]:
        """Files and links below a directory of the pristine layers."""
        seen: set[str] = set()
        for layer in self.layers:
            for here, directories, files in os.walk(layer / path, followlinks=False):
                links = [d for d in directories if os.path.islink(os.path.join(here, d))]
                for name in (*files, *links):
                    below = os.path.relpath(os.path.join(here, name), layer)
                    if below not in seen and self._pristine(below) is not None:
                        seen.add(below)
                        yield below

    def _refuse(self, path: str, note: str) -> None:
        self.found[path] = ChangedFile(path, "refused", note=note)


def _entries(fd: int) -> list[tuple[str, os.stat_result]]:
    found = []
    for name in os.listdir(fd):
        with suppress(FileNotFoundError):
            found.append((name, os.stat(name, dir_fd=fd, follow_symlinks=False)))
    return found


def _open_directory(parent: int, name: str) -> int | None:
    """Open a directory, also one that the agent made unreadable for itself."""
    with suppress(OSError):
        return os.open(name, _DIR, dir_fd=parent)
    with suppress(OSError):
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            os.chmod(f"/proc/self/fd/{handle}", 0o700)
        finally:
            os.close(handle)
        return os.open(name, _DIR, dir_fd=parent)
    return None


def is_whole(fd: int) -> bool:
    """Whether an upper directory stands for itself alone (opaque), or was moved here (redirect)."""
    for space in ("trusted", "user"):
        for name in _WHOLE:
            with suppress(OSError):
                if os.getxattr(fd, f"{space}.overlay.{name}"):
                    return True
    return False


def _is_same_file(before: Path, data: bytes, executable: bool) -> bool:
    if before.is_symlink() or not before.is_file():
        return False
    status = before.stat()
    return (
        status.st_size == len(data)
        and bool(status.st_mode & stat.S_IXUSR) == executable
        and before.read_bytes() == data
    )
