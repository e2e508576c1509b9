"""A new layer from the tar that a keeper sends of what set-up has written."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import IO

from repodrome.envs.sandbox.beneath import openat2
from repodrome.errors import SandboxError

_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def unpack_layer(file: IO[bytes], target: Path, owner: tuple[int, int] | None) -> None:
    """Write files, directories, links and whiteouts; no link is ever followed.

    Args:
        target: made by this call.
        owner: uid and gid that everything gets, or None where that is ours anyhow.

    Raises:
        SandboxError: the tar is broken, or the filesystem can't hold what is in it.
    """
    os.mkdir(target, 0o755)
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    directories: list[tuple[str, tarfile.TarInfo]] = []
    try:
        with tarfile.open(fileobj=file, mode="r|") as tar:
            for info in tar:
                _entry(tar, info, root, owner)
                if info.isdir():
                    directories.append((info.name, info))
        for name, info in reversed(directories):  # their times change with what is put into them
            fd = openat2(root, os.fsencode(name), os.O_RDONLY | os.O_DIRECTORY, links=False)
            try:
                os.fchmod(fd, info.mode & 0o1777)
                os.utime(fd, (info.mtime, info.mtime))
            finally:
                os.close(fd)
    except PermissionError as error:
        raise SandboxError(
            f"the filesystem of {target} can't hold a layer ({error.strerror}). Fix: set "
            "REPODROME_CACHE to a directory on a disk, a volume or a tmpfs"
        ) from error
    except (tarfile.TarError, OSError, ValueError) as error:
        raise SandboxError(f"a layer could not be brought over: {error}") from error
    finally:
        os.close(root)


def _entry(
    tar: tarfile.TarFile, info: tarfile.TarInfo, root: int, owner: tuple[int, int] | None
) -> None:
    head, _, name = info.name.rpartition("/")
    if name in ("", ".", ".."):
        raise ValueError(f"a bad name: {info.name!r}")
    parent = openat2(root, os.fsencode(head or "."), os.O_RDONLY | os.O_DIRECTORY, links=False)
    try:
        if info.isdir():
            os.mkdir(name, 0o700, dir_fd=parent)
        elif info.issym():
            os.symlink(info.linkname, name, dir_fd=parent)
        elif info.isreg():
            _file(tar, info, name, parent)
        elif info.ischr() and (info.devmajor, info.devminor) == (0, 0):
            os.mknod(name, 0o020000, 0, dir_fd=parent)
        else:
            return
        if owner is not None:
            os.chown(name, *owner, dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(parent)


def _file(tar: tarfile.TarFile, info: tarfile.TarInfo, name: str, parent: int) -> None:
    content = tar.extractfile(info)
    assert content is not None
    with os.fdopen(os.open(name, _WRITE, 0o600, dir_fd=parent), "wb") as file:
        while chunk := content.read(1 << 20):
            file.write(chunk)
        file.flush()
        os.fchmod(file.fileno(), info.mode & 0o777)
        os.utime(file.fileno(), (info.mtime, info.mtime))
