"""Reading what processes print, in bounded memory, and waiting on several descriptors at once."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable

import anyio
import anyio.lowlevel

from repodrome.errors import SandboxError

CHUNK = 1 << 16
FLOOD = 4
"""Waits in a row that may end at once before other tasks get their turn."""


class Capture:
    """Keeps the head and the tail of a stream, at most ``cap`` bytes, and counts what it drops."""

    def __init__(self, cap: int) -> None:
        self.cap = max(2, cap)
        self._half = self.cap // 2
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    def feed(self, data: bytes) -> None:
        """Add what was read."""
        self.total += len(data)
        room = self._half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._tail += data
            if len(self._tail) > 4 * self._half + CHUNK:
                del self._tail[: -self._half]

    @property
    def dropped(self) -> int:
        """Bytes left out."""
        return self.total - len(self._head) - min(len(self._tail), self._half)

    def value(self) -> bytes:
        """Head and tail; a line between them says how much was left out."""
        tail = bytes(self._tail[-self._half :])
        if not self.dropped:
            return bytes(self._head) + tail
        return bytes(self._head) + f"\n[... {self.dropped} bytes left out ...]\n".encode() + tail


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


def drain(fd: int, capture: Capture | bytearray, *, most: int = 1 << 20) -> bool:
    """Read what is there now, at most ``most`` bytes. False at the end of the stream."""
    while most > 0:
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return True
        if not data:
            return False
        most -= len(data)
        if isinstance(capture, bytearray):
            capture += data
        else:
            capture.feed(data)
    return True


def claimed(text: bytes) -> int:
    """A small number that a process inside claims to say; -1 where it is none."""
    return int(text) if len(text) < 9 and text.isdigit() else -1


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
