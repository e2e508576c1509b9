"""Connections that the engine hands over to a container's streams, whatever they travel on."""

from __future__ import annotations

import select
import socket
import struct
import threading
from contextlib import suppress
from typing import Any

import anyio

from repodrome.errors import SandboxError

_HEAD = struct.Struct(">BxxxL")
_CHUNK = 1 << 18


class Stream:
    """One attached container: bytes in, and its stdout and stderr out.

    Args:
        sock: what the Docker client has returned for the attachment; closed with the stream.

    Attributes:
        ended: the other side has nothing more to say.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = plain(sock)
        self._sock.setblocking(False)
        self._buffer = bytearray()
        self._writing = anyio.Lock(fast_acquire=True)
        self.ended = False
        self._closed = False

    async def read(self) -> list[tuple[int, bytes]]:
        """What has come, as (1 stdout or 2 stderr, bytes); empty once it has ended."""
        while not self.ended:
            try:
                data = self._sock.recv(_CHUNK)
            except BlockingIOError:
                try:
                    await anyio.wait_readable(self._sock)
                except (anyio.ClosedResourceError, ValueError):
                    self.ended = True
                continue
            except OSError:
                data = b""
            if not data:
                self.ended = True
                break
            self._buffer += data
            if found := self._take():
                return found
        return []

    def _take(self) -> list[tuple[int, bytes]]:
        found, at = [], 0
        while len(self._buffer) - at >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._buffer, at)
            end = at + _HEAD.size + length
            if len(self._buffer) < end:
                break
            found.append((kind, bytes(self._buffer[at + _HEAD.size : end])))
            at = end
        del self._buffer[:at]
        return found

    async def write(self, data: bytes) -> None:
        """Send all of it; once begun, it is not left half-way.

        Raises:
            SandboxError: the connection is gone.
        """
        async with self._writing:
            with anyio.CancelScope(shield=True):
                view = memoryview(data)
                while view:
                    try:
                        view = view[self._sock.send(view) :]
                    except BlockingIOError:
                        with suppress(anyio.ClosedResourceError, ValueError):
                            await anyio.wait_writable(self._sock)
                    except OSError as error:
                        raise SandboxError(f"the sandbox is gone: {error}") from error

    def close(self) -> None:
        """Let go of the connection; whoever reads from it sees its end. Idempotent."""
        if self._closed:
            return
        self._closed = self.ended = True
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        anyio.notify_closing(self._sock)
        self._sock.close()


def plain(sock: Any) -> socket.socket:
    """A socket of our own in place of whatever the Docker client returned.

    TLS and SSH are pumped to and fro by threads.
    """
    import ssl

    inner = getattr(sock, "_sock", sock)
    if isinstance(inner, ssl.SSLSocket):
        return _pumped(lambda far: _pump_tls(inner, far))
    if isinstance(inner, socket.socket):
        timeout_free = socket.socket(fileno=inner.detach())
        with suppress(OSError):  # a machine that vanishes says nothing
            timeout_free.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return timeout_free
    return _pumped(lambda far: _pump_channel(inner, far))


def _pumped(pump: Any) -> socket.socket:
    near, far = socket.socketpair()
    threading.Thread(target=pump, args=(far,), name="repodrome-docker", daemon=True).start()
    return near


def _pump_tls(remote: Any, far: socket.socket) -> None:
    """Both ways in one thread: OpenSSL takes no reads and writes of one connection at once."""
    remote.setblocking(False)
    far.setblocking(False)
    pending = {far: bytearray(), remote: bytearray()}  # what is to be sent there
    try:
        while True:
            for source, target in ((remote, far), (far, remote)):
                while len(pending[target]) < _CHUNK:
                    try:
                        data = source.recv(_CHUNK)
                    except OSError as error:
                        if not _would_block(error):
                            return
                        break
                    if not data:
                        return
                    pending[target] += data
            for target, waiting in pending.items():
                while waiting:
                    try:
                        del waiting[: target.send(waiting)]
                    except OSError as error:
                        if not _would_block(error):
                            return
                        break
            poll = select.poll()
            for source, target in ((remote, far), (far, remote)):
                room = len(pending[target]) < _CHUNK
                out = select.POLLOUT if pending[source] else 0
                poll.register(source, (select.POLLIN if room else 0) | out)
            poll.poll()
    finally:
        _close(remote, far)


def _would_block(error: OSError) -> bool:
    import ssl

    return isinstance(error, (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError))


def _pump_channel(remote: Any, far: socket.socket) -> None:
    """SSH: one thread each way."""

    def back() -> None:
        with suppress(Exception):
            while data := remote.recv(_CHUNK):
                far.sendall(data)
        with suppress(OSError):
            far.shutdown(socket.SHUT_RDWR)

    thread = threading.Thread(target=back, name="repodrome-docker", daemon=True)
    thread.start()
    try:
        with suppress(Exception):
            while data := far.recv(_CHUNK):
                remote.sendall(data)
    finally:
        _close(remote)
        thread.join()
        _close(far)


def _close(*connections: Any) -> None:
    for connection in connections:
        with suppress(Exception):
            connection.close()
