"""Copying a tree that hostile processes may be changing at the time, standard library only.

``cp -a`` follows a directory that is swapped for a link between its look and its open, and here it
would do so with the host's rights and in the host's tree. So every step is relative to a descriptor
and follows no link; what vanishes or changes its kind meanwhile is left out.
"""

from __future__ import annotations

import errno
import os
import stat

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = frozenset({errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EAGAIN})
_CHUNK = 1 << 20
MAX_DEPTH = 200
"""Directories nested deeper than this are left out; each level holds two descriptors."""


class TreeCopy:
    """Copies files, directories, links, FIFOs and overlay whiteouts, hard links kept as such.

    Args:
        target: descriptor of the directory that the trees are copied into.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._links: dict[tuple[int, int], str] = {}

    def copy(self, source: int, name: str) -> None:
        """Copy the directory ``name`` below the descriptor ``source``, onto one that may be there.

        Raises:
            OSError: the target is full, or not writable.
        """
        fd = os.open(name, _DIRECTORY, dir_fd=source)
        try:
            self._directory(fd, self._target, name, name, 0)
        finally:
            os.close(fd)

    def _directory(self, source: int, parent: int, name: str, path: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            return
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            pass
        target = os.open(name, _DIRECTORY, dir_fd=parent)
        try:
            for entry in os.listdir(source):
                try:
                    status = os.stat(entry, dir_fd=source, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                self._entry(source, target, entry, f"{path}/{entry}", status, depth)
            _attributes(source, target)
        finally:
            os.close(target)

    def _entry(
        self,
        source: int,
        target: int,
        name: str,
        path: str,
        status: os.stat_result,
        depth: int,
    ) -> None:
        kind = stat.S_IFMT(status.st_mode)
        if kind in (stat.S_IFREG, stat.S_IFDIR):
            try:
                flags = _DIRECTORY if kind == stat.S_IFDIR else _READ
                fd = os.open(name, flags, dir_fd=source)
            except OSError as error:
                if error.errno in _GONE:
                    return
                raise
            try:
                if kind == stat.S_IFDIR:
                    self._directory(fd, target, name, path, depth + 1)
                else:
                    self._file(fd, target, name, path)
            finally:
                os.close(fd)
            return
        if kind == stat.S_IFLNK:
            try:
                os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINVAL):
                    return
                raise
        elif kind == stat.S_IFIFO:
            os.mkfifo(name, stat.S_IMODE(status.st_mode), dir_fd=target)
        elif kind == stat.S_IFCHR and status.st_rdev == 0:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=target)
        else:
            return
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)

    def _file(self, source: int, parent: int, name: str, path: str) -> None:
        status = os.fstat(source)
        if not stat.S_ISREG(status.st_mode):
            return
        key = (status.st_dev, status.st_ino)
        if key in self._links:
            os.link(self._links[key], name, src_dir_fd=self._target, dst_dir_fd=parent)
            return
        if status.st_nlink > 1:
            self._links[key] = path
        target = os.open(name, _WRITE, 0o600, dir_fd=parent)
        try:
            if status.st_size:
                _data(source, target, status.st_size)
            _attributes(source, target)
        finally:
            os.close(target)


def _data(source: int, target: int, size: int) -> None:
    """The bytes; holes stay holes, so that a sparse file costs what it cost."""
    at = 0
    while at < size:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
            end = min(size, os.lseek(source, at, os.SEEK_HOLE))
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break
        os.lseek(target, at, os.SEEK_SET)
        while at < end:
            sent = os.sendfile(target, source, at, min(end - at, _CHUNK))
            if sent == 0:
                break
            at += sent
        if at < end:  # cut short meanwhile
            break
    os.ftruncate(target, size)


def _attributes(source: int, target: int) -> None:
    """Owner, mode, times and extended attributes; overlayfs keeps its marks in the last."""
    status = os.fstat(source)
    for name in os.listxattr(source):
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.EPERM, errno.EOPNOTSUPP):
                raise
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
