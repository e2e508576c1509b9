"""The filesystem of a sandbox as the host holds it, and copies of it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from repodrome.envs.sandbox.direct.client import Order
from repodrome.envs.sandbox.direct.streams import close_all
from repodrome.envs.sandbox.direct.treecopy import TreeCopy
from repodrome.errors import SandboxError

DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
"""Flags of a directory that is only a place to begin from."""


@dataclass
class Files:
    """The filesystem of a sandbox, alive as long as these descriptors are open.

    Attributes:
        base: the quota'd tmpfs with ``upper``, ``tmp`` and ``ctl``.
        root: the overlay's root.
        namespace: the mount namespace that holds both.
    """

    base: int
    root: int
    namespace: int

    @classmethod
    def of(cls, order: Order) -> Files:
        """Take what an order made."""
        base, root, namespace = order.handles
        order.handles = []
        return cls(base, root, namespace)

    def close(self) -> None:
        """Let the kernel take everything down; idempotent."""
        close_all((self.base, self.root, self.namespace))
        self.base = self.root = self.namespace = -1


@dataclass
class DirectSnapshot:
    """Copied files and shell states; implements :class:`Snapshot`."""

    files: Files
    shells: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    async def release(self) -> None:
        """Give its space back; idempotent."""
        self.files.close()


def copy_upper(base: int, to: Path) -> None:
    """Copy the upper layer to a filesystem that can't hold one while it is mounted.

    Raises:
        SandboxError: nor can it hold the marks of deleted files.
    """
    fd = os.open(to, DIRECTORY)
    try:
        TreeCopy(fd).copy(base, "upper")
    except PermissionError as error:
        raise SandboxError(
            f"set-up deleted files of the pristine tree, and the filesystem of {to} can't keep "
            f"the marks of that ({error.strerror}). Fix: set REPODROME_CACHE to a directory on a "
            "disk, a volume or a tmpfs, not on a container's own root"
        ) from error
    finally:
        os.close(fd)
