"""The Docker backend: containers of this host entered directly, all others over the API."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from repodrome.envs.sandbox.base import SandboxSpec
from repodrome.envs.sandbox.direct.client import sandbox_owner, spawner
from repodrome.envs.sandbox.direct.sandbox import DirectSandbox
from repodrome.envs.sandbox.docker import reaper
from repodrome.envs.sandbox.docker.api.sandbox import ApiSandbox, start_api_sandbox
from repodrome.envs.sandbox.docker.container import Kind
from repodrome.envs.sandbox.docker.contents import variables
from repodrome.envs.sandbox.docker.egress import close_egress, egress_of
from repodrome.envs.sandbox.docker.engine import Engine
from repodrome.envs.sandbox.docker.hosts import (
    Host,
    Hosts,
    HostSpec,
    specs_from_environment,
    specs_of,
)
from repodrome.envs.sandbox.docker.images import Images
from repodrome.envs.sandbox.docker.labels import labels
from repodrome.envs.sandbox.docker.place import ContainerPlace
from repodrome.envs.sandbox.docker.pool import Pool
from repodrome.envs.sandbox.docker.way import Way, choose, runtime_from_environment
from repodrome.envs.sandbox.image import Image, ImageSource, Progress
from repodrome.envs.sandbox.prefetch import Prefetched
from repodrome.errors import SandboxError, SandboxUnavailableError

Made = DirectSandbox | ApiSandbox

TRIES = 3
"""Hosts that may go away, one after the other, while a sandbox is started."""


class DockerBackend:
    """Implements :class:`~repodrome.envs.sandbox.base.SandboxBackend`.

    Args:
        hosts: daemons to use, each an address as in DOCKER_HOST or the name of a Docker context,
            with ``=CAPACITY`` behind it where the default won't do; default: those of
            REPODROME_DOCKER_HOSTS, else the Docker client's own one.
        runtime: the daemon's runtime for what agents and graders run, such as ``runsc``; default:
            that of REPODROME_DOCKER_RUNTIME, else the daemon's own.
    """

    name = "docker"

    def __init__(self, hosts: Sequence[str | HostSpec] = (), *, runtime: str = "") -> None:
        self.runtime = runtime or runtime_from_environment()
        self.hosts = Hosts(specs_of(hosts) or specs_from_environment())
        self.pool = Pool(spawner, lambda: labels("sandbox"))
        self.prefetched: Prefetched[Made] = Prefetched(self._start)
        self.images = Images()
        self._ways: dict[Host, Way] = {}
        self._envs: dict[str, Mapping[str, str]] = {}
        self._leave: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: object) -> DockerBackend:
        """Itself: Gymnasium copies the arguments of an environment, and a backend is a service."""
        return self

    @property
    def owner(self) -> tuple[int, int]:
        """See :class:`~repodrome.envs.sandbox.base.SandboxBackend`."""
        return sandbox_owner()

    def check(self) -> None:
        """See :class:`~repodrome.envs.sandbox.base.SandboxBackend`: one host is enough."""
        trouble: SandboxError | None = None
        for host in self.hosts.hosts:
            try:
                host.engine.call_now(lambda client: client.ping())
                return
            except SandboxError as error:
                trouble = error
        assert trouble is not None
        raise trouble

    async def image(self, source: ImageSource, progress: Progress) -> Image:
        """See :class:`~repodrome.envs.sandbox.image.ImageBackend`.

        Always from the first host that can: each may have built its own, of another id.
        """
        trouble: SandboxError | None = None
        for host in sorted(self.hosts.hosts, key=lambda host: bool(host.trouble)):
            try:
                return await self.images.ensure(host.engine, source, progress)
            except SandboxUnavailableError as error:
                trouble = trouble or error
        assert trouble is not None
        raise trouble

    async def copy_out(self, image: Image, path: str, target: Path) -> None:
        """See :class:`~repodrome.envs.sandbox.image.ImageBackend`."""
        await self.images.copy_out(image, path, target)

    async def start(
        self, spec: SandboxSpec, *, live: bool = True, persist: Path | None = None
    ) -> Made:
        """See :class:`~repodrome.envs.sandbox.base.SandboxBackend`."""
        if live and persist is None and (ready := await self.prefetched.take(spec)):
            return ready
        return await self._start(spec, live=live, persist=persist)

    async def _start(
        self, spec: SandboxSpec, *, live: bool = True, persist: Path | None = None
    ) -> Made:
        for layer in spec.layers:
            if not layer.is_dir():
                raise SandboxError(
                    f"layer {layer} is missing; run `repodrome clean --cache`, start again"
                )
        for _ in range(TRIES):
            # What grades an episode must not wait for the places that other episodes hold.
            host = await self.hosts.acquire(beyond=not live)
            try:
                return await self._start_on(host, spec, live=live, persist=persist)
            except SandboxUnavailableError as error:
                if host.answers:
                    raise
                trouble = error  # it has just gone: another may do, or itself when it is back
        raise trouble

    async def _start_on(
        self, host: Host, spec: SandboxSpec, *, live: bool, persist: Path | None
    ) -> Made:
        """In a place that is held already, and given back if this fails."""
        try:
            way = await self._way(host)
            if way.apart and spec.network == "allowlist":
                raise SandboxUnavailableError(
                    "containers of this Docker runtime share no network namespace, which a list of "
                    "allowed hosts needs. Fix: use the runtime runc for this task"
                )
            image = await self.images.bring(host.engine, spec.image)
            if spec.network == "allowlist":  # what its way out runs in
                await self.images.bring(host.engine, None)
        except BaseException:
            self.hosts.release(host)
            raise
        if way.direct:
            return await self._start_directly(host, image, spec, live, persist)
        return await self._start_over_api(host, way, image, spec, live, persist)

    async def _start_directly(
        self, host: Host, image: str, spec: SandboxSpec, live: bool, persist: Path | None
    ) -> DirectSandbox:
        network = "none" if spec.network == "none" else "host" if persist else "bridge"
        hosts = spec.allowed_hosts if spec.network == "allowlist" else ()
        kind = Kind(image, spec.limits, network, hosts, spec.toolchains, self.runtime)
        place = await ContainerPlace.on(kind, spec, self.pool, host, self.hosts)
        sandbox = DirectSandbox(place, persist)
        await sandbox.start(live=live)
        return sandbox

    async def _start_over_api(
        self,
        host: Host,
        way: Way,
        image: str,
        spec: SandboxSpec,
        live: bool,
        persist: Path | None,
    ) -> ApiSandbox:
        release = partial(self.hosts.release, host)
        try:
            env = await self._env_of(host.engine, image)
            helper = await self.images.bring(host.engine, None)
        except BaseException:
            release()
            raise
        return await start_api_sandbox(
            host.engine,
            image,
            env,
            spec,
            live=live,
            persist=persist,
            helper=helper,
            # A kernel of its own can't have the host's network.
            network="host" if persist and not way.apart else "bridge",
            egress=egress_of(host.engine) if spec.network == "allowlist" else None,
            runtime=self.runtime,
            own_runtime=way.own_runtime,
            apart=way.apart,
            acquire=partial(self.hosts.acquire, host, beyond=True),
            release=release,
        )

    async def _env_of(self, engine: Engine, image: str) -> Mapping[str, str]:
        """The variables that an image sets."""
        if image not in self._envs:
            found = await engine.call(lambda client: client.inspect_image(image))
            self._envs[image] = variables(found["Config"])
        return self._envs[image]

    async def _way(self, host: Host) -> Way:
        """How to drive a host's containers; the first time, what dead owners left there goes."""
        found = self._ways.get(host)
        if found is None:
            found = await anyio.to_thread.run_sync(self._arrive, host.engine)
            self._ways[host] = found
        return found

    def _arrive(self, engine: Engine) -> Way:
        reaper.reap(engine)
        way = engine.call_now(lambda client: choose(client, client.info(), self.runtime))
        with self._lock:
            self._leave.append(reaper.release_at_exit(engine))
        return way

    async def prefetch(self, spec: SandboxSpec, count: int) -> None:
        """See :class:`~repodrome.envs.sandbox.base.SandboxBackend`."""
        await self.prefetched.fetch(spec, count)

    async def close(self) -> None:
        """See :class:`~repodrome.envs.sandbox.base.SandboxBackend`."""
        await self.prefetched.close()
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.pool.close)
        with self._lock:
            while self._leave:
                self._leave.pop()()
        self._ways.clear()
        for host in self.hosts.hosts:
            await anyio.to_thread.run_sync(close_egress, host.engine)
        self.hosts.close()
