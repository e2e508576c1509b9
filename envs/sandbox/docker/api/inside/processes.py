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
from dataclasses import dataclass

SWEEPS = 20
"""How often a command's processes are looked for, at most, until there are no new ones."""
_TICKS = os.sysconf("SC_CLK_TCK")
_LISTS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
_WATCH_SECONDS = 0.02
"""How often a process is looked at where the kernel has no pidfds (gVisor)."""


@dataclass(frozen=True)
class Process:
    """One process: pid, parent, and start in seconds on the boot clock."""

    pid: int
    parent: int
    started: float


def look(pid: int) -> Process | None:
    """A process, or None when it is gone (or only waits to be reaped)."""
    # Bytes: a process may call itself what it likes.
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    if not fields or fields[0] in (b"Z", b"X"):
        return None
    return Process(pid, int(fields[1]), int(fields[19]) / _TICKS)


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
    since = began - 1 / _TICKS
    killed: set[int] = set()
    for _ in range(SWEEPS):  # what forks while we look is found by the next look
        found = {process.pid: process for process in everyone()}
        roots = {root} | {p.pid for p in found.values() if p.parent == 1 and p.started >= since}
        fresh = set()
        for process in found.values():
            line = {process.pid, *_ancestors(process, found)}
            if process.pid != root and line & roots and not line & spared:
                fresh.add(process.pid)
        fresh -= killed
        for pid in fresh:
            kill_pid(pid, uid)
        killed |= fresh
        if not fresh:
            return


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


def _ancestors(process: Process, found: dict[int, Process]) -> set[int]:
    seen: set[int] = set()
    parent = process.parent
    while parent in found and parent not in seen:
        seen.add(parent)
        parent = found[parent].parent
    return seen


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.readall()
    except OSError:
        return b""
