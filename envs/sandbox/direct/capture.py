"""Reading what processes print, in bounded memory. Standard library only: it runs in containers."""

from __future__ import annotations

import os

CHUNK = 1 << 16


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
