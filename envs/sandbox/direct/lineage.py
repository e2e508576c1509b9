"""Which processes belong to a command, by their parents and start times, and killing all of them.

Standard library only: the keeper of a Docker container uses it too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

_TICKS = os.sysconf("SC_CLK_TCK")
SWEEPS = 20
"""How often a command's processes are looked for, at most, until there are no new ones."""


@dataclass(frozen=True)
class Process:
    """One process: pid, parent, and start in seconds on the boot clock."""

    pid: int
    parent: int
    started: float


def read_stat(stat: bytes) -> tuple[bytes, int, float] | None:
    """State, parent and start (seconds on the boot clock) of a process; None: there is none.

    Args:
        stat: its ``/proc/PID/stat`` (proc(5)). Bytes: a process may call itself what it likes.
    """
    fields = stat.rpartition(b")")[2].split()
    return (fields[0], int(fields[1]), int(fields[19]) / _TICKS) if fields else None


def kill_command(
    look: Callable[[], tuple[Sequence[Process], Collection[int]]],
    kill: Callable[[int], object],
    *,
    root: int,
    spared: set[int],
    began: float,
) -> None:
    """Kill the processes of one command.

    Args:
        look: gives every process, and the pids of those that may have lost their parent.
        kill: kills the process with that pid, if it is still there.
        root: pid of the shell or wrapper that runs the command, which is itself left alive.
        spared: children of ``root`` from before the command, left alone with all below them.
        began: on the boot clock: what was started since and then lost its parent is killed too
            (start times have a resolution of 10 ms).
    """
    since = began - 1 / _TICKS
    killed: set[int] = set()
    for _ in range(SWEEPS):  # what forks while we look is found by the next look
        processes, astray = look()
        found = {process.pid: process for process in processes}
        roots = {root} | {pid for pid in astray if found[pid].started >= since}
        fresh = set()
        for process in processes:
            line = {process.pid, *_ancestors(process, found)}
            if process.pid != root and line & roots and not line & spared:
                fresh.add(process.pid)
        fresh -= killed
        for pid in fresh:
            kill(pid)
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
