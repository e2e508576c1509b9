"""The host's side of the spawner: start one a process, send orders, await their answers."""

from __future__ import annotations

import array
import atexit
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import anyio

from repodrome.envs.sandbox.direct.cgroups import Cgroups, detect
from repodrome.envs.sandbox.direct.messages import MAX_MESSAGE
from repodrome.envs.sandbox.direct.skeleton import skeleton
from repodrome.envs.sandbox.direct.streams import close_all
from repodrome.envs.sandbox.owner import Owner
from repodrome.errors import SandboxError, SandboxUnavailableError

SANDBOX_UID = 60_700
"""Host uid of sandboxed processes when we are root: outside the ranges that systems hand out."""

CAP_SYS_ADMIN = 21
WARM_BLANKS = 3
READY_SANDBOXES = 2
"""Sandboxes that run already, with nothing in them, for the next starts."""
STAGE_PREFIX = "repodrome-"
NO_DESCRIPTORS = (
    "this process has no file descriptors left; raise the limit (`ulimit -n`) or run fewer "
    "episodes at once"
)
BOOTSTRAP = """
import sys, types
from pathlib import Path

# Our package's modules without its __init__, which would bring Gymnasium and NumPy along.
name, place = "repodrome", Path(sys.argv[1])
for part in (None, "envs", "sandbox", "direct"):
    name, place = (f"{name}.{part}", place / part) if part else (name, place)
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [str(place)]
from repodrome.envs.sandbox.direct.spawner import main

main()
"""
_PACKAGES = str(Path(__file__).parents[3])
START_SECONDS = 120.0
"""What the spawner gets to start something on a machine that is very busy."""
END_SECONDS = 15.0
"""What killed processes get to go; those stuck in the kernel may take longer."""


@cache
def privileged() -> bool:
    """Whether we may mount: root with CAP_SYS_ADMIN (root in a container often lacks it)."""
    if os.getuid() != 0 or not _mapped(SANDBOX_UID):
        return False
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAP_SYS_ADMIN & 1)
    return False


def _mapped(uid: int) -> bool:
    """Whether files can belong to this uid: the root of a user namespace may be its only one."""
    spans = (line.split() for line in Path("/proc/self/uid_map").read_text().splitlines())
    return any(int(first) <= uid < int(first) + int(count) for first, _, count in spans)


def sandbox_owner() -> tuple[int, int]:
    """Host uid and gid that own sandboxed files: an unused one where we may, else our own."""
    if privileged():
        return SANDBOX_UID, SANDBOX_UID
    return os.getuid(), os.getgid()


@dataclass(eq=False)
class Order:
    """One order on its way: the socket on which its answers come, and what the first one said.

    Attributes:
        reply: answers: first the start (or an error), at the end the exit status.
        kill: has the spawner kill the order's processes, whether it has started or not.
        pid: of the child, as the spawner knows it.
        cgroup: directories of the child's cgroup, by controller.
        handles: descriptors that came with the first answer.
    """

    reply: socket.socket
    kill: Callable[[], None]
    pid: int = 0
    cgroup: dict[str, str] = field(default_factory=dict)
    handles: list[int] = field(default_factory=list)
    exit_code: int | None = None
    oom_kills: int = 0
    _lock: anyio.Lock = field(default_factory=lambda: anyio.Lock(fast_acquire=True))

    async def started(self) -> None:
        """Wait for the first answer.

        Raises:
            SandboxError: the order could not be carried out.
        """
        try:
            with anyio.fail_after(START_SECONDS):
                message, self.handles = await self._receive()
        except TimeoutError as error:
            raise SandboxError(f"the spawner did not answer in {START_SECONDS:.0f} s") from error
        if "error" in message:
            self.exit_code = 125
            raise SandboxError(f"the sandbox could not be started: {message['error']}")
        if "pid" not in message:
            self.exit_code = 125
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
                # Whoever else waits for the socket to be readable must see it, too. The spawner's
                # end may stay open for long, in a child that it forked meanwhile.
                with suppress(OSError):
                    self.reply.shutdown(socket.SHUT_RD)
        return self.exit_code

    async def ended(self) -> int:
        """Wait, for a short while only, for the end of what was killed.

        Raises:
            SandboxError: it does not end.
        """
        try:
            with anyio.fail_after(END_SECONDS):
                return await self.exited()
        except TimeoutError as error:
            raise SandboxError(
                f"processes of a sandbox did not end within {END_SECONDS:.0f} s of being killed"
            ) from error

    async def _receive(self) -> tuple[dict[str, Any], list[int]]:
        while True:
            try:
                data, fds, flags, _ = socket.recv_fds(
                    self.reply, MAX_MESSAGE, 16, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
                )
                break
            except BlockingIOError:
                await anyio.wait_readable(self.reply)
        if not data:
            raise SandboxError("the sandbox's spawner process is gone; start the episode again")
        if flags & socket.MSG_CTRUNC:
            close_all(fds)
            raise SandboxError(NO_DESCRIPTORS)
        return json.loads(data), list(fds)

    def close(self) -> None:
        """Let go: what still runs is killed, what came and was not taken is closed; idempotent."""
        if self.exit_code is None and self.reply.fileno() >= 0:
            self.kill()
        self.reply.close()
        close_all(self.handles)
        self.handles = []


class Spawner:
    """A running spawner process. Orders may be sent from any thread."""

    def __init__(self, cgroups: Cgroups) -> None:
        self.cgroups = cgroups
        self.rootless = not privileged()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self.stage = _make_stage()
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for sock in (mine, theirs):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", BOOTSTRAP, _PACKAGES, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            cwd="/",
        )
        theirs.close()
        self._sock = mine
        self._prefix = f"{Owner.current()}-{self._process.pid}"
        uid, gid = sandbox_owner()
        config = {
            "rootless": self.rootless,
            "uid": uid,
            "gid": gid,
            "stage": self.stage,
            "cgroups": cgroups.directories,
            "prefix": self._prefix,
            "warm": WARM_BLANKS,
            "ready": READY_SANDBOXES,
            **skeleton(),
        }
        mine.sendall(json.dumps(config).encode())
        try:
            said = mine.recv(MAX_MESSAGE)
        except ConnectionResetError:  # it ended with our configuration unread
            said = b""
        answer = json.loads(said or b'{"error": "it ended at once"}')
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
        number = next(self._numbers)
        named = ["reply", *fds]
        data = json.dumps({**message, "id": number, "fds": named}).encode()
        if len(data) >= MAX_MESSAGE:
            raise SandboxError(
                f"a command line of {len(data)} bytes is too long; pass it in a file or on stdin"
            )
        try:
            mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            raise SandboxError(NO_DESCRIPTORS) from error
        mine.setblocking(False)
        try:
            self._send(data, [theirs.fileno(), *fds.values()])
        except OSError as error:
            mine.close()
            raise SandboxError(f"the sandbox's spawner process is gone ({error})") from error
        finally:
            theirs.close()
        return Order(mine, lambda: self._kill(number))

    def _kill(self, number: int) -> None:
        with suppress(OSError):  # a dead spawner has killed it already
            self._send(json.dumps({"kill": number}).encode(), [])

    def forget(self, container: str) -> None:
        """Have the spawner let go of a container that was told of with an ``adopt`` order."""
        with suppress(OSError):
            self._send(json.dumps({"forget": container}).encode(), [])

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
        # Nothing is left of one that ended by itself; one that was killed could not tidy up.
        self.cgroups.sweep(f"{self._prefix}-")
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
