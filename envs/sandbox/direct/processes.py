"""Finding and killing processes of a sandbox from the host, by what the kernel says of them."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass

from repodrome.envs.sandbox.direct import cgroup, lineage
from repodrome.envs.sandbox.direct.live import Live
from repodrome.envs.sandbox.direct.streams import read_proc


@dataclass(frozen=True)
class Process(lineage.Process):
    """One process of a sandbox, as the host sees it.

    Attributes:
        inside: its pid as the sandbox sees it.
    """

    inside: int


def members(live: Live) -> list[Process]:
    """Every process in the sandbox, init included."""
    pids = cgroup.members(live.order.cgroup) or _same_namespace(live)
    return [process for pid in pids if (process := _look(pid)) is not None]


def _same_namespace(live: Live) -> list[int]:
    """Without cgroups: every process whose pid namespace is init's."""
    init = live.init_pid()
    found = []
    with suppress(OSError):
        wanted = os.readlink(f"/proc/{init}/ns/pid")
        for name in os.listdir("/proc"):
            if name.isdigit():
                with suppress(OSError):
                    if os.readlink(f"/proc/{name}/ns/pid") == wanted:
                        found.append(int(name))
    return found


def _look(pid: int) -> Process | None:
    stat = lineage.read_stat(read_proc(f"/proc/{pid}/stat"))
    status = read_proc(f"/proc/{pid}/status")
    if stat is None:
        return None
    _, parent, started = stat
    # Bytes, split at newlines alone: a process may call itself b"\xff" or "\rNSpid: 1".
    for line in status.split(b"\n"):
        if line.startswith(b"NSpid:"):
            return Process(pid, parent, started, inside=int(line.split()[-1]))
    return None


def host_pid(live: Live, inside: int) -> int | None:
    """Host pid of a program that init started, from its pid inside."""
    init = live.init_pid()
    for pid in children(init) if init else ():
        process = _look(pid)
        if process is not None and process.inside == inside:
            return pid
    return None


def children(pid: int) -> set[int]:
    """Host pids of a process's children; empty when it is gone."""
    return {int(p) for p in read_proc(f"/proc/{pid}/task/{pid}/children").split()}


def kill_command(live: Live, root: int, spared: set[int], began: float) -> None:
    """Kill the processes of one command.

    Args:
        root: host pid of the shell or wrapper that runs it, which is itself left alive.
        spared: children of ``root`` from before the command, left alone with all below them.
        began: on the monotonic clock: what was started since and then reparented to init is killed
            too (start times have a resolution of 10 ms).
    """

    def look() -> tuple[list[Process], set[int]]:
        found, init = members(live), live.init_pid()
        return found, {p.pid for p in found if p.parent == init and p.inside not in live.protected}

    boot_began = began + time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    lineage.kill_command(look, kill_pid, root=root, spared=spared, began=boot_began)


def kill_pid(pid: int) -> None:
    """Kill one process by its host pid, if it is still there."""
    with suppress(OSError):
        fd = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        finally:
            os.close(fd)
