"""Who a process is, so that what a dead one left can be told from what a living one uses."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from repodrome.liveness import has_ended, start_time


@cache
def boot_id() -> str:
    """Short id of this boot of this host; pids and start times mean nothing beyond it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")[:12]


@cache
def _pid_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, exactly: host (boot), pid namespace, pid and start time."""

    boot: str
    namespace: int
    pid: int
    started: int

    @classmethod
    def current(cls) -> Owner:
        """This process."""
        pid = os.getpid()
        return cls(boot_id(), _pid_namespace(), pid, start_time(pid) or 0)

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """Read back ``str(owner)``, also with more behind it (``-7``); None if it isn't one."""
        parts = text.split("-")
        if len(parts) < 4 or not all(p.isdigit() for p in parts[1:4]):
            return None
        return cls(parts[0], int(parts[1]), int(parts[2]), int(parts[3]))

    def __str__(self) -> str:
        return f"{self.boot}-{self.namespace}-{self.pid}-{self.started}"

    def is_dead(self) -> bool:
        """Surely gone. An owner in another pid namespace can't be seen, so is taken to live."""
        if self.boot != boot_id():
            return True
        if self.namespace != _pid_namespace():
            return False
        return has_ended(self.pid, self.started)
