"""Where the processes of one sandbox run: what a backend adds to the machinery that all share."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

from repodrome.envs.sandbox.base import WORKSPACE, SandboxSpec
from repodrome.envs.sandbox.direct import seccomp
from repodrome.envs.sandbox.direct.client import Order, Spawner, sandbox_owner


class Place(ABC):
    """A spawner, and the way in which it starts the processes of one sandbox.

    Attributes:
        spawner: makes them.
        spec: what the sandbox is made of.
        env: environment variables of every command, beside the fixed base.
    """

    def __init__(self, spawner: Spawner, spec: SandboxSpec) -> None:
        self.spawner, self.spec = spawner, spec
        self.env: Mapping[str, str] = dict(spec.env)

    @property
    def owner(self) -> tuple[int, int] | None:
        """Uid and gid of what programs inside are to open again; None where they are ours."""
        return None if self.spawner.rootless else sandbox_owner()

    def alive(self) -> bool:
        """Whether what all its processes depend on still runs."""
        return self.spawner.alive()

    async def lost(self) -> bool:
        """After the init has ended unasked: whether the place has ended, and not the init alone."""
        return not self.alive()

    @abstractmethod
    def enter(
        self,
        argv: Sequence[str],
        *,
        init: bool,
        cwd: str = WORKSPACE,
        env: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The part of an order that says what to run.

        Args:
            init: ``argv`` is the sandbox's own init, as pid 1, which signals from inside can't end.
                It gets nothing of the task's, so that it can be started before there is one.
        """

    def mounts(self) -> dict[str, Any]:
        """The part of an order that says what a new filesystem holds."""
        return {
            "layers": [str(layer) for layer in self.spec.layers],
            "size": self.spec.limits.disk_mb << 20,
            "inodes": self.spec.limits.inodes,
        }

    def limits(self) -> dict[str, Any]:
        """The part of an order that says what its processes may use."""
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
        return {"limits": cgroups.limits(limits), "rlimits": rlimits}

    @abstractmethod
    async def another(self) -> Self:
        """A place for a second sandbox of the same spec.

        Raises:
            SandboxError: there is none.
        """

    @abstractmethod
    async def release(self, *, lost: bool) -> None:
        """Its sandbox is closed; ``lost``: not everything in it may have ended."""

    def order(self, message: dict[str, Any], fds: dict[str, int]) -> Order:
        """Send an order that ends in a program: limits and the system call filter go with it.

        Raises:
            SandboxError: the spawner is gone.
        """
        message = {**message, **self.limits(), "network": self.spec.network == "full"}
        program = seccomp.open_program()
        try:
            if program is not None:
                fds = {**fds, "seccomp": program}
            return self.spawner.order(message, fds)
        finally:
            if program is not None:
                os.close(program)
