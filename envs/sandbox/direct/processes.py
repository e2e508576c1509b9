"""Finding and killing processes of a sandbox from the host, by what the kernel says of them."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass

from repodrome.envs.sandbox.direct import cgroup
from repodrome.envs.sandbox.direct.live import Live
from repodrome.envs.sandbox.direct.streams import read_proc

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """One process of a sandbox.

    Attributes:
        pid: as the host sees it.
        inside: as the sandbox sees it.
        parent: host pid of its parent.
        started: seconds on the boot clock.
    """

    pid: int
    inside: int
    parent: int
    started: float


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
    # Bytes, split at newlines alone: a process may call itself b"\xff" or "\rNSpid: 1".
    fields = read_proc(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    status = read_proc(f"/proc/{pid}/status")
    if not fields:
        return None
    for line in status.split(b"\n"):
        if line.startswith(b"NSpid:"):
            inside = int(line.split()[-1])
            return Process(pid, inside, int(fields[1]), int(fields[19]) / _TICKS)
    return None


SWEEPS = 20
"""How often a command's processes are looked for, at most, until there are no new ones."""


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
    boot_began = began + time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic() - 1 / _TICKS
    killed: set[int] = set()
    for _ in range(SWEEPS):  # what forks while we look is found by the next look
        found = {p.pid: p for p in members(live)}
        init = live.init_pid()
        roots = {root} | {
            p.pid
            for p in found.values()
            if p.parent == init and p.inside not in live.protected and p.started >= boot_began
        }
        fresh = set()
        for process in found.values():
            line = {process.pid, *_ancestors(process, found)}
            if process.pid != root and line & roots and not line & spared:
                fresh.add(process.pid)
        fresh -= killed
        for pid in fresh:
            kill_pid(pid)
        killed |= fresh
        if not fresh:
            return


def _ancestors(process: Process, found: dict[int, Process]) -> set[int]:
    seen: set[int] = set()
    parent = process.parent
    while parent in found and parent not in seen:
        seen.add(parent)
        parent = found[parent].parent
    return seen


def kill_pid(pid: int) -> None:
    """Kill one process by its host pid, if it is still there."""
    with suppress(OSError):
        fd = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        finally:
            os.close(fd)
