"""The host's side of the spawner: start one a process, send orders, await their answers."""

from __future__ import annotations

import array
import atexit
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import anyio

from repodrome.envs.sandbox.bubblewrap.cgroups import Cgroups, detect
from repodrome.envs.sandbox.bubblewrap.root import skeleton
from repodrome.envs.sandbox.owner import Owner
from repodrome.errors import SandboxError, SandboxUnavailableError

SANDBOX_UID = 60_700
"""Host uid of sandboxed processes when we are root: outside the ranges that systems hand out."""

CAP_SYS_ADMIN = 21
WARM_BLANKS = 3
STAGE_PREFIX = "repodrome-"
MAX_MESSAGE = 1 << 18


@cache
def privileged() -> bool:
    """Whether we may mount: root with CAP_SYS_ADMIN (root in a container often lacks it)."""
    if os.getuid() != 0:
        return False
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAP_SYS_ADMIN & 1)
    return False


def sandbox_owner() -> tuple[int, int]:
    """Host uid and gid that own sandboxed files: an unused one where we may, else our own."""
    if privileged():
        return SANDBOX_UID, SANDBOX_UID
    return os.getuid(), os.getgid()


@dataclass
class Order:
    """One order on its way: the socket on which its answers come, and what the first one said.

    Attributes:
        reply: answers: first the start (or an error), at the end the exit status.
        pid: of the child, as the spawner knows it.
        cgroup: name of the child's cgroup.
        handles: descriptors that came with the first answer.
    """

    reply: socket.socket
    pid: int = 0
    cgroup: str = ""
    handles: list[int] = field(default_factory=list)
    exit_code: int | None = None
    oom_kills: int = 0
    _lock: anyio.Lock = field(default_factory=anyio.Lock)

    async def started(self) -> None:
        """Wait for the first answer.

        Raises:
            SandboxError: the order could not be carried out.
        """
        message, self.handles = await self._receive()
        if "error" in message:
            raise SandboxError(f"the sandbox could not be started: {message['error']}")
        if "pid" not in message:
            raise SandboxError("the sandbox could not be started: its process ended at once")
        self.pid, self.cgroup = message["pid"], message["cgroup"]

    async def exited(self) -> int:
        """Wait for the end: the status that the spawner's own waitpid reported."""
        async with self._lock:  # whoever closes and whoever was running both want to know
            while self.exit_code is None:
                message, fds = await self._receive()
                for fd in fds:
                    os.close(fd)
                if "error" in message:
                    raise SandboxError(f"the sandbox could not be started: {message['error']}")
                self.exit_code, self.oom_kills = message.get("exit"), message.get("oom", 0)
        return self.exit_code

    async def _receive(self) -> tuple[dict[str, Any], list[int]]:
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(
                    self.reply, MAX_MESSAGE, 16, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
                )
                break
            except BlockingIOError:
                await anyio.wait_readable(self.reply)
        if not data:
            raise SandboxError("the sandbox's spawner process is gone; start the episode again")
        return json.loads(data), list(fds)

    def close(self) -> None:
        """Close the reply socket; idempotent."""
        self.reply.close()


class Spawner:
    """A running spawner process. Orders may be sent from any thread."""

    def __init__(self, cgroups: Cgroups) -> None:
        self.cgroups = cgroups
        self.rootless = not privileged()
        self._lock = threading.Lock()
        self.stage = _make_stage()
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for sock in (mine, theirs):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        script = str(Path(__file__).with_name("spawner.py"))
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", script, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            cwd="/",
        )
        theirs.close()
        self._sock = mine
        uid, gid = sandbox_owner()
        config = {
            "rootless": self.rootless,
            "uid": uid,
            "gid": gid,
            "stage": self.stage,
            "cgroups": cgroups.directories,
            "prefix": f"{Owner.current()}-{self._process.pid}",
            "warm": WARM_BLANKS,
            **skeleton(),
        }
        mine.sendall(json.dumps(config).encode())
        answer = json.loads(mine.recv(MAX_MESSAGE) or b'{"error": "it ended at once"}')
        if "error" in answer:
            self.close()
            raise SandboxUnavailableError(
                f"namespaces and mounts can't be made here: {answer['error']}. "
                "Fix: run `repodrome doctor`, which names what this machine lacks"
            )

    def order(self, message: dict[str, Any], fds: dict[str, int]) -> Order:
        """Send an order. ``fds`` maps the names the spawner knows to descriptors, which stay ours.

        Raises:
            SandboxError: the spawner is gone.
        """
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mine.setblocking(False)
        named = {"reply": theirs.fileno(), **fds}
        data = json.dumps({**message, "fds": list(named)}).encode()
        try:
            self._send(data, list(named.values()))
        except OSError as error:
            mine.close()
            raise SandboxError(f"the sandbox's spawner process is gone ({error})") from error
        finally:
            theirs.close()
        return Order(mine)

    def kill(self, pid: int) -> None:
        """Kill an order's child with everything below it; a dead spawner has killed it already."""
        try:
            self._send(json.dumps({"kill": pid}).encode(), [])
        except OSError:
            return

    def alive(self) -> bool:
        """Whether the spawner still runs."""
        return self._process.poll() is None

    def _send(self, data: bytes, fds: list[int]) -> None:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        with self._lock:
            self._sock.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)

    def close(self) -> None:
        """End the spawner, and with it every sandbox that it made."""
        self._sock.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.stage, ignore_errors=True)

    def abandon(self) -> None:
        """In a forked child: let go of the parent's spawner without ending it."""
        self._sock.close()
        self._process.returncode = 0


def _make_stage() -> str:
    """An empty directory that every user may traverse, named after its owner for the reaper."""
    base = "/tmp" if os.access("/tmp", os.W_OK | os.X_OK) else tempfile.gettempdir()
    stage = tempfile.mkdtemp(prefix=f"{STAGE_PREFIX}{Owner.current()}-", dir=base)
    os.chmod(stage, 0o755)
    return stage


_current: Spawner | None = None
_current_lock = threading.Lock()


def spawner() -> Spawner:
    """This process's spawner, started at first use (and again if it died)."""
    global _current
    with _current_lock:
        if _current is None or not _current.alive():
            if _current is not None:
                _current.close()
            _current = Spawner(detect())
        return _current


def close_spawner() -> None:
    """End this process's spawner, if there is one."""
    global _current
    with _current_lock:
        if _current is not None:
            _current.close()
            _current = None


def _after_fork() -> None:
    global _current, _current_lock
    _current_lock = threading.Lock()
    if _current is not None:
        _current.abandon()
        _current = None


atexit.register(close_spawner)
os.register_at_fork(after_in_child=_after_fork)
