"""One cgroup, as a directory for each controller: what is in it, its OOM kills, freezing, killing.

Standard library only: the spawner uses it too. ``paths`` maps ``memory``, ``pids``, ``cpu`` and
``unified`` (where freezing and killing are offered) to directories; what is missing isn't there.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from repodrome.envs.sandbox.direct.syscalls import write_file

Paths = Mapping[str, str]


def members(paths: Paths) -> list[int]:
    """Pids in it; empty when it is gone."""
    for directory in paths.values():
        with suppress(OSError):
            return [int(pid) for pid in _read(f"{directory}/cgroup.procs").split()]
    return []


def oom_kills(paths: Paths) -> int:
    """How often its memory limit killed something; both versions call it ``oom_kill``."""
    memory = paths.get("memory")
    for file in ("memory.events", "memory.oom_control") if memory else ():
        with suppress(OSError):
            for line in _read(f"{memory}/{file}").splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0


def freeze(paths: Paths, frozen: bool) -> None:
    """Stop or resume everything in it, where the kernel offers it."""
    if "unified" in paths:
        with suppress(OSError):
            write_file(f"{paths['unified']}/cgroup.freeze", "1" if frozen else "0")


def kill(paths: Paths) -> bool:
    """Kill everything in it at once; False where the kernel doesn't offer it."""
    if "unified" in paths:
        with suppress(OSError):
            write_file(f"{paths['unified']}/cgroup.kill", "1")
            return True
    return False


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()
