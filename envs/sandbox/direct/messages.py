"""What goes over the spawner's sockets: JSON objects with descriptors attached."""

from __future__ import annotations

import array
import json
import socket
from typing import Any

MAX_FDS = 16
MAX_MESSAGE = 1 << 18


def send(sock: socket.socket, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
    """Send one message; a peer that went away is not our concern."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    try:
        sock.sendmsg([json.dumps(message).encode()], ancillary, socket.MSG_NOSIGNAL)
    except (BrokenPipeError, ConnectionResetError):
        pass


def receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """One message and its descriptors; empty bytes at end of file."""
    flags = socket.MSG_CMSG_CLOEXEC  # else those numbered high would get into the sandbox
    data, fds, _flags, _addr = socket.recv_fds(sock, MAX_MESSAGE, MAX_FDS, flags)
    return data, list(fds)
