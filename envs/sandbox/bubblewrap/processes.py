"""Finding and killing processes of a sandbox from the host, by what the kernel says of them."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from repodrome.envs.sandbox.bubblewrap.live import Live

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
    pids = live.spawner.cgroups.members(live.order.cgroup) or _same_namespace(live)
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
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("NSpid:"):
            inside = int(line.split()[-1])
            return Process(pid, inside, int(fields[1]), int(fields[19]) / _TICKS)
    return None


def kill_command(live: Live, shell: int, began: float) -> None:
    """Kill what a shell has started since ``began``, and what of it was reparented to init.

    Args:
        shell: pid of the shell, as seen inside.
        began: on the monotonic clock; earlier background jobs are left alone.
    """
    boot_began = began + time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic() - 2 / _TICKS
    found = {p.pid: p for p in members(live)}
    mine = next((p.pid for p in found.values() if p.inside == shell), None)
    init = next((p.pid for p in found.values() if p.inside == 1), None)
    for process in found.values():
        if process.inside in (1, shell) or process.started < boot_began:
            continue
        ancestors = _ancestors(process, found)
        if mine in ancestors or (process.parent == init and began > 0):
            _kill(process.pid)


def kill_pid(live: Live, inside: int) -> None:
    """Kill one process by its pid inside."""
    for process in members(live):
        if process.inside == inside and inside > 1:
            _kill(process.pid)


def _ancestors(process: Process, found: dict[int, Process]) -> set[int]:
    seen: set[int] = set()
    parent = process.parent
    while parent in found and parent not in seen:
        seen.add(parent)
        parent = found[parent].parent
    return seen


def _kill(pid: int) -> None:
    with suppress(OSError):
        fd = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        finally:
            os.close(fd)
