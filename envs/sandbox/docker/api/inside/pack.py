"""A sandbox's own files as one compressed stream, and back: for snapshots and forks.

The agent's processes may be changing them at the time: every step is relative to a descriptor and
follows no link; what vanishes or changes its kind meanwhile is left out. Standard library only.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
import zlib
from contextlib import suppress
from typing import Any, BinaryIO

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = frozenset({errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EAGAIN})
_BLOCK = 1 << 16
_XATTR = "SCHILY.xattr."
_MARKS = ("trusted.overlay.opaque", "trusted.overlay.redirect", "user.")
MAX_DEPTH = 200
"""Directories nested deeper than this are left out."""


class Packer:
    """Writes trees: files, directories, links, FIFOs and whiteouts, hard links kept as such."""

    def __init__(self, to: BinaryIO) -> None:
        self._to = _Compressed(to)
        to_tar: Any = self._to
        self._tar = tarfile.TarFile.open(
            fileobj=to_tar, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_BLOCK
        )
        self._links: dict[tuple[int, int], str] = {}

    def tree(self, parent: int, name: str) -> None:
        """Write the directory ``name`` below the descriptor ``parent``."""
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
        try:
            self._directory(fd, name, 0)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Write the end."""
        self._tar.close()
        self._to.close()

    def _directory(self, fd: int, path: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            return
        self._tar.addfile(_info(path, os.fstat(fd), tarfile.DIRTYPE, fd))
        for name in os.listdir(fd):
            try:
                self._entry(fd, name, f"{path}/{name}", depth)
            except OSError as error:
                if error.errno not in _GONE:
                    raise

    def _entry(self, parent: int, name: str, path: str, depth: int) -> None:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        kind = stat.S_IFMT(status.st_mode)
        if kind in (stat.S_IFREG, stat.S_IFDIR):
            fd = os.open(name, _DIRECTORY if kind == stat.S_IFDIR else _READ, dir_fd=parent)
            try:
                if kind == stat.S_IFDIR:
                    self._directory(fd, path, depth + 1)
                else:
                    self._file(fd, path)
            finally:
                os.close(fd)
        elif kind == stat.S_IFLNK:
            info = _info(path, status, tarfile.SYMTYPE)
            try:
                info.linkname = os.readlink(name, dir_fd=parent)
            except OSError as error:
                if error.errno == errno.EINVAL:  # no link any more
                    return
                raise
            self._tar.addfile(info)
        elif kind == stat.S_IFIFO:
            self._tar.addfile(_info(path, status, tarfile.FIFOTYPE))
        elif kind == stat.S_IFCHR and status.st_rdev == 0:
            self._tar.addfile(_info(path, status, tarfile.CHRTYPE))

    def _file(self, fd: int, path: str) -> None:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return
        key = (status.st_dev, status.st_ino)
        if key in self._links:
            info = _info(path, status, tarfile.LNKTYPE)
            info.linkname = self._links[key]
            self._tar.addfile(info)
            return
        if status.st_nlink > 1:
            self._links[key] = path
        info = _info(path, status, tarfile.REGTYPE, fd)
        info.size = status.st_size
        content: Any = _Padded(fd)
        self._tar.addfile(info, content)


def unpack(source: BinaryIO, root: str) -> None:
    """Write what a :class:`Packer` has read below ``root``, where nobody else is.

    Raises:
        OSError: it is full.
    """
    directories: list[tuple[str, tarfile.TarInfo]] = []
    expanded: Any = _Expanded(source)
    with tarfile.TarFile.open(fileobj=expanded, mode="r|", bufsize=_BLOCK) as tar:
        for info in tar:
            path = f"{root}/{info.name}"
            if info.isdir():
                with suppress(FileExistsError):
                    os.mkdir(path, 0o700)
                directories.append((path, info))
            elif info.islnk():
                os.link(f"{root}/{info.linkname}", path)
            else:
                if info.isreg():
                    _write(tar, info, path)
                elif info.issym():
                    os.symlink(info.linkname, path)
                elif info.isfifo():
                    os.mkfifo(path)
                else:
                    os.mknod(path, stat.S_IFCHR, 0)
                _attributes(path, info)
    for path, info in reversed(directories):  # their times change with what is put into them
        _attributes(path, info)


def _write(tar: tarfile.TarFile, info: tarfile.TarInfo, path: str) -> None:
    content = tar.extractfile(info)
    assert content is not None
    with os.fdopen(os.open(path, _WRITE, 0o600), "wb", buffering=0) as file:
        while block := content.read(_BLOCK):
            if block.count(0) == len(block):  # a hole costs nothing, as before
                file.seek(len(block), os.SEEK_CUR)
            else:
                view = memoryview(block)
                while view:
                    view = view[file.write(view) :]
        file.truncate(info.size)


def _attributes(path: str, info: tarfile.TarInfo) -> None:
    os.chown(path, info.uid, info.gid, follow_symlinks=False)
    if info.issym():
        return
    os.chmod(path, info.mode)
    for key, value in info.pax_headers.items():
        if key.startswith(_XATTR):
            with suppress(PermissionError):
                data = value.encode("utf-8", "surrogateescape")
                os.setxattr(path, key.removeprefix(_XATTR), data, follow_symlinks=False)
    os.utime(path, (info.mtime, info.mtime))


def _info(path: str, status: os.stat_result, kind: bytes, fd: int = -1) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.type, info.mode = kind, stat.S_IMODE(status.st_mode)
    info.uid, info.gid, info.mtime = status.st_uid, status.st_gid, status.st_mtime_ns / 1e9
    if fd >= 0:
        headers = {}
        for name in os.listxattr(fd):
            if name.startswith(_MARKS):
                with suppress(OSError):
                    value = os.getxattr(fd, name)
                    headers[_XATTR + name] = value.decode("utf-8", "surrogateescape")
        info.pax_headers = headers
    return info


class _Padded:
    """A file's content, zeros for what was cut off since its size was taken."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (more := os.read(self._fd, size - len(data))):
            data += more
        return data.ljust(size, b"\0")


class _Compressed:
    def __init__(self, to: BinaryIO) -> None:
        self._to, self._zlib = to, zlib.compressobj(1)

    def write(self, data: bytes) -> int:
        self._to.write(self._zlib.compress(data))
        return len(data)

    def close(self) -> None:
        self._to.write(self._zlib.flush())
        self._to.flush()


class _Expanded:
    def __init__(self, source: BinaryIO) -> None:
        self._source, self._zlib, self._rest = source, zlib.decompressobj(), b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size:
            data: Any = self._zlib.unconsumed_tail or self._source.read(_BLOCK)
            if not data:
                break
            self._rest += self._zlib.decompress(data, 1 << 20)
        found, self._rest = self._rest[:size], self._rest[size:]
        return found
