"""Which cgroup controllers this process may use, and how limits are written there (v1, v2)."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from repodrome.envs.sandbox.base import SandboxLimits
from repodrome.envs.sandbox.direct import cgroup

CONTROLLERS = ("memory", "pids", "cpu")
PARENT = "repodrome"


@dataclass(frozen=True)
class Cgroups:
    """Usable cgroup directories of ours, by controller.

    Attributes:
        directories: ``memory``, ``pids``, ``cpu`` and ``unified`` (for kill and freeze) → directory
            under which each sandbox gets one of its own; what is missing is not there.
        version: 1, 2, or 0 where none may be used.
    """

    directories: dict[str, str] = field(default_factory=dict)
    version: int = 0

    def limits(self, limits: SandboxLimits) -> list[tuple[str, str, str]]:
        """``(controller, file, value)`` of each limit."""
        memory = limits.memory_mb << 20
        if self.version == 1:
            return [
                ("memory", "memory.limit_in_bytes", str(memory)),
                ("pids", "pids.max", str(limits.pids)),
                ("cpu", "cpu.cfs_quota_us", str(max(1000, int(limits.cpus * 100_000)))),
            ]
        if self.version == 2:
            return [
                ("memory", "memory.max", str(memory)),
                ("memory", "memory.oom.group", "0"),
                ("pids", "pids.max", str(limits.pids)),
                ("cpu", "cpu.max", f"{max(1000, int(limits.cpus * 100_000))} 100000"),
            ]
        return []

    def named(self, name: str) -> dict[str, str]:
        """The directories of the cgroup ``name``, by controller."""
        return {c: f"{directory}/{name}" for c, directory in self.directories.items()}

    def sweep(self, prefix: str) -> None:
        """Remove the cgroups whose names begin with ``prefix``, and what still runs in them.

        Blocks while what was killed goes, half a second at most.
        """
        for _ in range(50):
            swept = [self._swept(d, prefix) for d in {*self.directories.values()}]
            if not any(swept):
                return
            time.sleep(0.01)

    def _swept(self, directory: str, prefix: str) -> bool:
        """One pass over one hierarchy; whether something is left."""
        left = False
        with suppress(OSError):
            for name in os.listdir(directory):
                if name.startswith(prefix):
                    cgroup.kill(self.named(name))
                    try:
                        os.rmdir(os.path.join(directory, name))
                    except OSError:
                        left = True
        return left


def detect() -> Cgroups:
    """Find and make the parent directories; nothing is raised, what can't be had is left out."""
    mounts = _mounts()
    own = _own_paths()
    v1 = {c: m for c, m in mounts.items() if c in CONTROLLERS}
    found: dict[str, str] = {}
    if v1:
        for controller, point in v1.items():
            parent = _parent(point, own.get(controller, "/"))
            if parent:
                found[controller] = parent
    unified = mounts.get("unified")
    if unified:
        parent = _parent(unified, own.get("", "/"))
        if parent:
            found["unified"] = parent
            if not v1:
                for controller in _enable(Path(parent)):
                    found[controller] = parent
    version = 1 if v1 else 2 if found else 0
    if "cpu" in found:
        _share_fairly(Path(found["cpu"]), version)
    return Cgroups(found, version)


def _share_fairly(parent: Path, version: int) -> None:
    """Give all sandboxes together the weight of one process a core, not that of one in all.

    Else a machine busy with other things starves them, and tests in them run out of time.
    """
    cores = os.cpu_count() or 1
    name, value = ("cpu.shares", 1024 * cores) if version == 1 else ("cpu.weight", 100 * cores)
    with suppress(OSError):
        (parent / name).write_text(str(min(value, 10_000 if version == 2 else 1 << 18)))


def _mounts() -> dict[str, str]:
    """Controller (or ``unified``) → mount point."""
    found: dict[str, str] = {}
    with suppress(OSError):
        for line in Path("/proc/self/mounts").read_text().splitlines():
            _, point, kind, options = line.split()[:4]
            if kind == "cgroup2":
                found.setdefault("unified", point)
            elif kind == "cgroup":
                for controller in set(options.split(",")) & set(CONTROLLERS):
                    found[controller] = point
    return found


def _own_paths() -> dict[str, str]:
    """Controller (``""`` for v2) → the cgroup of this process within its mount."""
    found: dict[str, str] = {}
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            for controller in controllers.split(","):
                found[controller] = path
    return found


def _parent(point: str, own: str) -> str | None:
    """The first of the root and our own cgroup in which we may make and join a child."""
    for base in (Path(point), Path(point + own)):
        parent = base / PARENT
        with suppress(OSError):
            parent.mkdir(exist_ok=True)
            if os.access(parent / "cgroup.procs", os.W_OK) and os.access(
                base / "cgroup.procs", os.W_OK
            ):
                return str(parent)
    return None


def _enable(parent: Path) -> list[str]:
    """Turn controllers on below ``parent`` on a pure v2 system; those that are there afterwards."""
    for directory in (parent.parent, parent):
        for controller in CONTROLLERS:
            with suppress(OSError):
                (directory / "cgroup.subtree_control").write_text(f"+{controller}")
    with suppress(OSError):
        enabled = (parent / "cgroup.subtree_control").read_text().split()
        return [c for c in CONTROLLERS if c in enabled]
    return []
