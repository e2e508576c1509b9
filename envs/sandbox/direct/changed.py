"""Which paths an overlay's upper layer changes, by name alone.

Overlay format: https://docs.kernel.org/filesystems/overlayfs.html
"""

from __future__ import annotations

import os
from pathlib import Path

from repodrome.envs.sandbox.direct.export import SKIPPED, is_whole

MOST = 50_000
"""Entries that are looked at before it is better to look at the workspace itself."""


def changed_below(upper: Path) -> list[str] | None:
    """As :func:`changed_in`, of a directory of ours; nothing where there is none."""
    try:
        fd = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        return changed_in(fd)
    finally:
        os.close(fd)


def changed_in(upper: int) -> list[str] | None:
    """Paths below the upper layer's directory that may differ from what is below it.

    A path given may be gone. A directory that stands for itself alone (opaque, redirected) is given
    instead of what is in it. Links are not followed.

    Returns:
        Paths relative to it, surrogate-escaped; None where there are too many.
    """
    found: list[str] = []
    seen = 0
    for here, directories, files, fd in os.fwalk(".", dir_fd=upper):
        prefix = "" if here == "." else f"{here[2:]}/"
        seen += len(directories) + len(files)
        if seen > MOST:
            return None
        if prefix and is_whole(fd):
            found.append(prefix.rstrip("/"))
            directories.clear()
            continue
        found += [prefix + name for name in files]
        if not prefix:
            directories[:] = [name for name in directories if name not in SKIPPED]
    return found
