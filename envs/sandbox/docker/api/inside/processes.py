"""Finding and killing the agent's processes from within their pid namespace.

The keeper is pid 1 of it: whoever loses its parent becomes its child. What the engine itself has
put there (``docker exec``) has parent 0. Standard library only.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from repodrome.envs.sandbox.direct import lineage
from repodrome.envs.sandbox.direct.lineage import Process

_LISTS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
_WATCH_SECONDS = 0.02
"""How often a process is looked at where the kernel has no pidfds (gVisor)."""


def look(pid: int) -> Process | None:
    """A process, or None when it is gone (or only waits to be reaped)."""
    stat = lineage.read_stat(_read(f"/proc/{pid}/stat"))
    if stat is None or stat[0] in (b"Z", b"X"):
        return None
    _, parent, started = stat
    return Process(pid, parent, started)


def everyone() -> Iterator[Process]:
    """Every process but pid 1."""
    for name in os.listdir("/proc"):
        if name.isdigit() and name != "1":
            process = look(int(name))
            if process is not None:
                yield process


def children(pid: int) -> set[int]:
    """A process's children; empty when it is gone."""
    if not _LISTS_CHILDREN:
        return {process.pid for process in everyone() if process.parent == pid}
    return {int(p) for p in _read(f"/proc/{pid}/task/{pid}/children").split()}


def kill_command(root: int, spared: set[int], began: float, uid: int) -> None:
    """Kill the processes of one command.

    Args:
        root: pid of the shell or wrapper that runs it, which is itself left alive.
        spared: children of ``root`` from before the command, left alone with all below them.
        began: on the boot clock: what was started since and then lost its parent is killed too
            (start times have a resolution of 10 ms).
        uid: whose processes may be killed at all.
    """

    def look_around() -> tuple[list[Process], set[int]]:
        found = list(everyone())
        return found, {process.pid for process in found if process.parent == 1}

    lineage.kill_command(
        look_around, partial(kill_pid, uid=uid), root=root, spared=spared, began=began
    )


def kill_pid(pid: int, uid: int) -> None:
    """Kill one process, if it is still there and this user's."""
    with suppress(OSError):
        fd = _pidfd(pid)
        if fd is None:
            if _owner(pid) == uid:
                os.kill(pid, signal.SIGKILL)
            return
        try:
            if _owner(pid) == uid:
                signal.pidfd_send_signal(fd, signal.SIGKILL)
        finally:
            os.close(fd)


def end_of(pid: int) -> int:
    """A descriptor that can be read once a process has ended; the caller closes it."""
    fd = _pidfd(pid)
    if fd is not None:
        return fd
    read, write = os.pipe()
    threading.Thread(target=_watch, args=(pid, write), daemon=True).start()
    return read


def _pidfd(pid: int) -> int | None:
    """None where the kernel has none (gVisor)."""
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        return None


def _watch(pid: int, write: int) -> None:
    began = look(pid)
    while began is not None and look(pid) == began:
        time.sleep(_WATCH_SECONDS)
    os.close(write)


def kill_all(uid: int, gid: int) -> None:
    """Kill every process of a user at once: none can fork its way out of one ``kill(-1)``."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    os.close(write)
    os.read(read, 1)  # ends with the child, which nobody waits for: SIGCHLD is ignored
    os.close(read)
    deadline = time.monotonic() + 10
    while any(_owner(p.pid) == uid for p in everyone()) and time.monotonic() < deadline:
        time.sleep(0.001)


def boot_clock() -> float:
    """Seconds since boot, as the start times of processes count them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _owner(pid: int) -> int:
    """Real uid of a process, -1 when it is gone."""
    for line in _read(f"/proc/{pid}/status").split(b"\n"):
        if line.startswith(b"Uid:"):
            return int(line.split()[1])
    return -1


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.readall()
    except OSError:
        return b""
