"""Where the processes of one sandbox run: the spawner's orders that end in bwrap."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repodrome.envs.sandbox.base import WORKSPACE, SandboxSpec
from repodrome.envs.sandbox.bubblewrap import seccomp
from repodrome.envs.sandbox.bubblewrap.client import Order, Spawner, sandbox_owner
from repodrome.envs.sandbox.bubblewrap.root import command_line


@dataclass(frozen=True)
class Place:
    """A spawner, what the sandbox is made of, and the bwrap program."""

    spawner: Spawner
    spec: SandboxSpec
    bwrap: str

    @property
    def owner(self) -> tuple[int, int] | None:
        """Uid and gid of what programs inside are to open again; None where they are ours."""
        return None if self.spawner.rootless else sandbox_owner()

    def command_line(
        self,
        argv: Sequence[str],
        *,
        init: bool,
        cwd: str = WORKSPACE,
        env: Mapping[str, str] | None = None,
    ) -> list[str]:
        """bwrap's command line for ``argv``; see :func:`root.command_line`."""
        return command_line(
            self.spawner.stage,
            self.spec,
            argv,
            bwrap=self.bwrap,
            init=init,
            seccomp=seccomp.program() is not None,
            cwd=cwd,
            env=env,
        )

    def order(self, message: dict[str, Any], fds: dict[str, int]) -> Order:
        """Send an order that ends in bwrap: limits and the system call filter go with it.

        Raises:
            SandboxError: the spawner is gone.
        """
        limits, cgroups = self.spec.limits, self.spawner.cgroups
        rlimits = {
            "RLIMIT_CORE": 0,
            "RLIMIT_CPU": limits.cpu_seconds,
            "RLIMIT_FSIZE": limits.file_mb << 20,
            "RLIMIT_NOFILE": 4096,
        }
        if "memory" not in cgroups.directories:
            rlimits["RLIMIT_AS"] = limits.memory_mb << 20
        if "pids" not in cgroups.directories:  # counts all processes of the user, so leave room
            rlimits["RLIMIT_NPROC"] = 4096 + 4 * limits.pids
        message = {
            **message,
            "limits": cgroups.limits(limits),
            "rlimits": rlimits,
            "network": self.spec.network == "full",
        }
        program = seccomp.open_program()
        try:
            if program is not None:
                fds = {**fds, "seccomp": program}
            return self.spawner.order(message, fds)
        finally:
            if program is not None:
                os.close(program)
