"""Waiting on several descriptors at once, closing them, and reading /proc."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable

import anyio
import anyio.lowlevel

from repodrome.errors import SandboxError

FLOOD = 4
"""Waits in a row that may end at once before other tasks get their turn."""


class Poller:
    """Waits for any of several descriptors from whatever event loop is running."""

    def __init__(self) -> None:
        try:
            self._epoll = select.epoll()
        except OSError as error:
            raise SandboxError(f"can't wait for a sandbox: {error}") from error
        self._at_once = 0
        self.fds: set[int] = set()

    def add(self, *fds: int) -> None:
        """Watch descriptors for reading."""
        for fd in fds:
            self._epoll.register(fd, select.EPOLLIN)
            self.fds.add(fd)

    def remove(self, fd: int) -> None:
        """Stop watching one."""
        if fd in self.fds:
            self.fds.discard(fd)
            self._epoll.unregister(fd)

    async def wait(self) -> list[int]:
        """The descriptors that can be read (or have ended)."""
        while True:
            ready = self._epoll.poll(0)
            if ready:
                self._at_once += 1
                if self._at_once >= FLOOD:  # a flood must neither starve others nor its timeout
                    self._at_once = 0
                    await anyio.lowlevel.checkpoint()
                return [fd for fd, _ in ready]
            self._at_once = 0
            await anyio.wait_readable(self._epoll.fileno())

    def close(self) -> None:
        """Idempotent; the watched descriptors stay open."""
        self._epoll.close()


def read_proc(path: str) -> bytes:
    """A file below /proc; empty when the process is gone.

    Raises:
        SandboxError: it can't be known (no descriptors left, for example).
    """
    try:
        with open(path, "rb", buffering=0) as file:
            return file.readall()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
    except OSError as error:
        raise SandboxError(f"can't look at a sandbox's processes: {error}") from error


def close_all(fds: Iterable[int]) -> None:
    """Close descriptors that are open and ours; -1 stands for none."""
    for fd in fds:
        if fd >= 0:
            os.close(fd)
