"""The Docker backend: containers of this host entered directly, all others over the API."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio

from repodrome.envs.sandbox.base import SandboxSpec
from repodrome.envs.sandbox.direct.client import sandbox_owner, spawner
from repodrome.envs.sandbox.direct.sandbox import DirectSandbox
from repodrome.envs.sandbox.docker.container import Kind
from repodrome.envs.sandbox.docker.engine import Address, Engine, connect
from repodrome.envs.sandbox.docker.place import ContainerPlace
from repodrome.envs.sandbox.docker.pool import Pool
from repodrome.envs.sandbox.owner import Owner
from repodrome.envs.sandbox.prefetch import Prefetched
from repodrome.errors import SandboxError


class DockerBackend:
    """Implements :class:`~repodrome.envs.sandbox.base.SandboxBackend`."""

    name = "docker"

    def __init__(self, hosts: Sequence[str] = (), *, runtime: str = "") -> None:
        self.runtime = runtime
        self.pool = Pool(spawner, lambda: {"repodrome.owner": str(Owner.current())})
        self.prefetched: Prefetched[DirectSandbox] = Prefetched(self._start)
        self.engine = Engine(Address(*hosts[:1]), connect)

    def __deepcopy__(self, memo: object) -> DockerBackend:
        """Itself: Gymnasium copies the arguments of an environment, and a backend is a service."""
        return self

    @property
    def owner(self) -> tuple[int, int]:
        """See :class:`~repodrome.envs.sandbox.base.SandboxBackend`."""
        return sandbox_owner()

    def check(self) -> None:
        """See :class:`~repodrome.envs.sandbox.base.SandboxBackend`."""
        self.engine.call_now(lambda client: client.ping())

    async def start(
        self, spec: SandboxSpec, *, live: bool = True, persist: Path | None = None
    ) -> DirectSandbox:
        """See :class:`~repodrome.envs.sandbox.base.SandboxBackend`."""
        if live and persist is None and (ready := await self.prefetched.take(spec)):
            return ready
        return await self._start(spec, live=live, persist=persist)

    async def _start(
        self, spec: SandboxSpec, *, live: bool = True, persist: Path | None = None
    ) -> DirectSandbox:
        for layer in spec.layers:
            if not layer.is_dir():
                raise SandboxError(
                    f"layer {layer} is missing; run `repodrome clean --cache`, start again"
                )
        image = spec.image or "repodrome/base"
        network = "none" if spec.network == "none" else "host" if persist else "bridge"
        kind = Kind(image, spec.limits, network, spec.toolchains, self.runtime)
        container = await self.pool.take(self.engine, kind)
        sandbox = DirectSandbox(ContainerPlace(container, spec, self.pool), persist)
        await sandbox.start(live=live)
        return sandbox

    async def prefetch(self, spec: SandboxSpec, count: int) -> None:
        """See :class:`~repodrome.envs.sandbox.base.SandboxBackend`."""
        await self.prefetched.fetch(spec, count)

    async def close(self) -> None:
        """See :class:`~repodrome.envs.sandbox.base.SandboxBackend`."""
        await self.prefetched.close()
        await anyio.to_thread.run_sync(self.pool.close)
        self.engine.close()
