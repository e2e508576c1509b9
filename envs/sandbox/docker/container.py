"""One running container on this host, kept for many episodes: made, told to the spawner, removed.

Its only program is ``cat``, reading what nobody writes. The other end is held by the spawner alone:
when that ends, and it ends with us however we end, the daemon sees it close, ``cat`` ends, and with
it all that runs in the container, which the daemon then removes.
"""

from __future__ import annotations

import fcntl
import os
import select
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from repodrome.envs.sandbox.base import SandboxLimits
from repodrome.envs.sandbox.direct.cgroups import CONTROLLERS
from repodrome.envs.sandbox.direct.client import Spawner
from repodrome.envs.sandbox.direct.container import PLACES, STAGE
from repodrome.envs.sandbox.direct.streams import close_all
from repodrome.envs.sandbox.docker.contents import variables
from repodrome.envs.sandbox.docker.egress import Outlet, egress_of
from repodrome.envs.sandbox.docker.engine import Engine, remove_container
from repodrome.envs.sandbox.docker.hardening import USER, host_config
from repodrome.errors import SandboxError

NAMESPACES = ("pid", "mnt", "net")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a container is made of; one of an equal kind will do as well.

    Attributes:
        image: its content's id.
        limits: what all its processes together may use.
        network: as Docker names it; ``none`` means that every sandbox gets a loopback of its own.
        hosts: if any, all that may be reached, and ``network`` counts for nothing.
        binds: directories of the host bound read-only at the same path.
        runtime: the daemon's, or ``""``.
    """

    image: str
    limits: SandboxLimits
    network: str = "none"
    hosts: tuple[str, ...] = ()
    binds: tuple[str, ...] = ()
    runtime: str = ""


@dataclass(eq=False)
class Container:
    """A running container that the spawner knows.

    Attributes:
        id: the daemon's.
        kind: what it is made of.
        env: the image's own environment variables.
        spawner: whose children may become processes in it.
    """

    engine: Engine
    kind: Kind
    id: str
    env: Mapping[str, str]
    spawner: Spawner
    _pidfd: int = -1
    _fds: dict[str, int] = field(default_factory=dict)
    _outlet: Outlet | None = None

    @classmethod
    def create(
        cls, engine: Engine, kind: Kind, spawner: Spawner, labels: Mapping[str, str]
    ) -> Container:
        """Make and start one; blocks for a quarter of a second and more.

        Raises:
            SandboxError: the daemon can't, or the container ended at once.
        """
        outlet = egress_of(engine).open(kind.hosts) if kind.hosts else None
        container = cls(engine, kind, "", {}, spawner, _outlet=outlet)
        try:
            network = outlet.network if outlet else kind.network
            container.id = engine.call_now(lambda client: _create(client, kind, network, labels))
            engine.call_now(container._start)
        except BaseException:
            container.remove()
            raise
        return container

    def _start(self, client: Any) -> None:
        # Attached before it is started, or it would find its input closed.
        stream = client.attach_socket(self.id, params={"stdin": 1, "stream": 1})
        self._fds["lease"] = fcntl.fcntl(stream.fileno(), fcntl.F_DUPFD_CLOEXEC, 0)
        stream._response.close()  # the client's own hold on it
        stream.close()
        client.start(self.id)
        said = client.inspect_container(self.id)
        pid = said["State"]["Pid"]
        self.env = variables(said["Config"])
        if self._outlet is not None:
            self.env = {**self.env, **self._outlet.env}
        try:
            self._pidfd = os.pidfd_open(pid)
            lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
            for name in NAMESPACES:
                self._fds[name] = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, OverflowError) as error:
            raise SandboxError(f"a container ended as it started: {error}") from error
        self._tell(_directories(lines, self.id))

    def _tell(self, cgroups: dict[str, str]) -> None:
        alone = self.kind.network == "none" and not self.kind.hosts
        fds = {k: v for k, v in self._fds.items() if k != "net" or not alone}
        order = self.spawner.order({"adopt": {"id": self.id, "cgroups": cgroups}}, fds)
        order.close()
        close_all(self._fds.values())
        self._fds = {}

    def alive(self) -> bool:
        """Whether it runs, and the spawner that knows it too."""
        if self._pidfd < 0 or not self.spawner.alive():
            return False
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return not poll.poll(0)

    async def ended(self) -> None:
        """Wait for its end."""
        if self._pidfd >= 0:
            await anyio.wait_readable(self._pidfd)

    def remove(self) -> None:
        """Kill and remove it; idempotent; blocks. What the daemon can't do now it does later."""
        self.spawner.forget(self.id)
        with suppress(SandboxError):
            if self.id:
                remove_container(self.engine, self.id)
        if self._outlet is not None:
            self._outlet.close()
        self.abandon()

    def abandon(self) -> None:
        """Let go of our descriptors."""
        close_all((*self._fds.values(), self._pidfd))
        self._fds, self._pidfd = {}, -1
        if self._outlet is not None:
            self._outlet.abandon()


def _create(client: Any, kind: Kind, network: str, labels: Mapping[str, str]) -> str:
    config = host_config(kind.limits, network=network, runtime=kind.runtime)
    made = client.create_container(
        kind.image,
        entrypoint=["cat"],
        command=[],
        user=USER,
        working_dir="/",
        stdin_open=True,
        stop_signal="SIGKILL",  # pid 1 takes no other from inside, so a daemon that ends would wait
        labels=dict(labels),
        # A name of its own is refused where the network is another's.
        hostname=None if network == "host" or ":" in network else "sandbox",
        host_config=client.create_host_config(
            **config,
            auto_remove=True,
            # Only to have the directories: every sandbox has its own mounted over them.
            tmpfs={place: "size=4k" for place in (STAGE, *PLACES.values()) if place != "/dev/shm"},
            binds={path: {"bind": path, "mode": "ro"} for path in kind.binds} or None,
        ),
    )
    return str(made["Id"])


def _directories(lines: list[str], container: str) -> dict[str, str]:
    """The container's cgroup in each hierarchy, from ``/proc/PID/cgroup`` (cgroups(7)).

    Raises:
        SandboxError: it is none of a container's, so the pid is not the daemon's.
    """
    points = _mount_points()
    found: dict[str, str] = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        names = controllers.split(",") if controllers else ["unified"]
        point = next((points[name] for name in names if name in points), None)
        if container not in path or point is None:
            continue
        key = next((c for c in CONTROLLERS if c in names), names[0])
        found[key] = point + path
    if not found:
        raise SandboxError("a container's processes are not of this host")
    if set(found) == {"unified"}:  # version 2: one directory for all
        found |= dict.fromkeys(CONTROLLERS, found["unified"])
    return found


def _mount_points() -> dict[str, str]:
    """Controller, ``name=…`` or ``unified`` → where its hierarchy is mounted."""
    points: dict[str, str] = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, options = line.split()[:4]
        if kind == "cgroup2":
            points.setdefault("unified", point)
        elif kind == "cgroup":
            points.update(dict.fromkeys(options.split(","), point))
    return points
