"""Sandboxes in a container of this host: entered by the spawner, not through the daemon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import anyio

from repodrome.envs.sandbox.base import WORKSPACE, SandboxSpec
from repodrome.envs.sandbox.direct.layout import BASE_ENV
from repodrome.envs.sandbox.direct.place import Place
from repodrome.envs.sandbox.docker.container import Container, Kind

if TYPE_CHECKING:
    from repodrome.envs.sandbox.docker.hosts import Host, Hosts
    from repodrome.envs.sandbox.docker.pool import Pool

ENDING = 0.3
"""Seconds in which a container that ends is seen to end, after its sandbox's processes have."""
OURS = frozenset({"HOME", "USER", "LOGNAME", "SHELL", "TMPDIR"})
"""Variables of an image that speak of its own user, not of the agent."""


class ContainerPlace(Place):
    """Implements :class:`~repodrome.envs.sandbox.direct.place.Place`.

    Args:
        container: where; given back to ``pool`` when the sandbox is closed.
        host: whose place it takes; given back to ``hosts``.
    """

    def __init__(
        self, container: Container, spec: SandboxSpec, pool: Pool, host: Host, hosts: Hosts
    ) -> None:
        super().__init__(container.spawner, spec)
        self.container, self.pool, self.host, self.hosts = container, pool, host, hosts
        image = {name: value for name, value in container.env.items() if name not in OURS}
        self.env = {**image, **self.env}

    def alive(self) -> bool:
        """See :class:`~repodrome.envs.sandbox.direct.place.Place`."""
        return self.container.alive()

    async def lost(self) -> bool:
        """See :class:`~repodrome.envs.sandbox.direct.place.Place`.

        The kernel ends a container's own program last, when all below it have gone.
        """
        with anyio.move_on_after(ENDING):
            await self.container.ended()
        return not self.alive()

    async def another(self) -> ContainerPlace:
        """See :class:`~repodrome.envs.sandbox.direct.place.Place`: beyond capacity if need be."""
        await self.hosts.acquire(self.host, beyond=True)
        return await self.on(self.container.kind, self.spec, self.pool, self.host, self.hosts)

    @classmethod
    async def on(
        cls, kind: Kind, spec: SandboxSpec, pool: Pool, host: Host, hosts: Hosts
    ) -> ContainerPlace:
        """One on a host where a place is held already; it is given back if this fails.

        Raises:
            SandboxError: the daemon can't.
        """
        try:
            container = await pool.take(host.engine, kind)
        except BaseException:
            hosts.release(host)
            raise
        return cls(container, spec, pool, host, hosts)

    async def release(self, *, lost: bool) -> None:
        """See :class:`~repodrome.envs.sandbox.direct.place.Place`."""
        try:
            await self.pool.give_back(self.container, reusable=not lost)
        finally:
            self.hosts.release(self.host)

    def mounts(self) -> dict[str, Any]:
        """See :class:`~repodrome.envs.sandbox.direct.place.Place`."""
        return {
            **super().mounts(),
            "container": self.container.id,
            "toolchains": [],
            "workspace_at": self.spec.workspace_at,
        }

    def limits(self) -> dict[str, Any]:
        """See :class:`~repodrome.envs.sandbox.direct.place.Place`: what the container lacks."""
        rlimits = dict(super().limits()["rlimits"])
        return {"rlimits": {k: v for k, v in rlimits.items() if k not in _OF_THE_CONTAINER}}

    def enter(
        self,
        argv: Sequence[str],
        *,
        init: bool,
        cwd: str = WORKSPACE,
        env: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """See :class:`~repodrome.envs.sandbox.direct.place.Place`."""
        own = {} if init else {**self.env, **(env or {})}
        return {
            "container": self.container.id,
            "argv": list(argv),
            "init": init,
            "cwd": "/" if init else cwd,
            "environ": {**BASE_ENV, **own},
        }


_OF_THE_CONTAINER = frozenset({"RLIMIT_AS", "RLIMIT_NPROC"})
