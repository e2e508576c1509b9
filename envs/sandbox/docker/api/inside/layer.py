"""What was written over the layers, as a tar that needs no overlay's marks but whiteouts.

Directories that the overlay has made opaque or redirected are written out as a whole, with a
whiteout for each name that they hide. Nothing inside runs meanwhile. Standard library only.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from typing import BinaryIO

_MARKS = (
    *("trusted.overlay.opaque", "trusted.overlay.redirect"),
    *("user.overlay.opaque", "user.overlay.redirect"),
)


class LayerWriter:
    """Writes one part (``workspace``, ``env`` or ``home``) after the other.

    Args:
        to: where the tar goes.
    """

    def __init__(self, to: BinaryIO) -> None:
        self._to = to
        self._tar = tarfile.TarFile.open(fileobj=to, mode="w|", format=tarfile.PAX_FORMAT)

    def part(self, name: str, upper: str, merged: str, layers: Sequence[str]) -> None:
        """Write what one overlay's upper directory stands for.

        Args:
            upper: path of it.
            merged: path of the overlay, as it was seen.
            layers: paths of what lies below, lowest first.
        """
        self._merged, self._layers = merged, layers
        self._entry(upper, name)
        self._directory(upper, "", name)

    def close(self) -> None:
        """Write the tar's end."""
        self._tar.close()
        self._to.flush()

    def _directory(self, upper: str, path: str, name: str) -> None:
        for entry in sorted(os.listdir(upper)):
            here, below, shown = f"{upper}/{entry}", f"{path}/{entry}", f"{name}/{entry}"
            status = os.lstat(here)
            if stat.S_ISDIR(status.st_mode):
                if _is_whole(here):
                    self._whole(below, shown)
                    continue
                self._entry(here, shown)
                self._directory(here, below, shown)
            else:
                self._entry(here, shown)

    def _whole(self, path: str, name: str) -> None:
        merged = self._merged + path
        self._entry(merged, name)
        there = set(os.listdir(merged))
        for hidden in sorted(self._pristine(path) - there):
            self._whiteout(f"{name}/{hidden}")
        for entry in sorted(there):
            below = f"{path}/{entry}"
            if stat.S_ISDIR(os.lstat(self._merged + below).st_mode):
                self._whole(below, f"{name}/{entry}")
            else:
                self._entry(self._merged + below, f"{name}/{entry}")

    def _pristine(self, path: str) -> set[str]:
        """Names in a directory of any layer; more than are seen does no harm."""
        names: set[str] = set()
        for layer in self._layers:
            if stat.S_ISDIR(_mode(layer + path)):
                names.update(os.listdir(layer + path))
        return names

    def _whiteout(self, name: str) -> None:
        info = tarfile.TarInfo(name)
        info.type = tarfile.CHRTYPE
        self._tar.addfile(info)

    def _entry(self, path: str, name: str) -> None:
        info = self._tar.gettarinfo(path, name)
        if info is None:  # a socket
            return
        info.linkname = os.readlink(path) if info.issym() else ""
        if info.islnk():  # hard links are written as files of their own
            info.type, info.size = tarfile.REGTYPE, os.lstat(path).st_size
        info.pax_headers = {"mtime": f"{os.lstat(path).st_mtime_ns / 1e9:.9f}"}
        info.uname = info.gname = ""
        if info.isreg():
            with open(path, "rb") as file:
                self._tar.addfile(info, file)
        else:
            self._tar.addfile(info)


def _is_whole(path: str) -> bool:
    for mark in _MARKS:
        with suppress(OSError):
            if os.getxattr(path, mark, follow_symlinks=False):
                return True
    return False


def _mode(path: str) -> int:
    try:
        return os.lstat(path).st_mode
    except OSError:
        return 0
