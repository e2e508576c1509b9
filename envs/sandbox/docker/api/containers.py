"""One sandbox's containers on its daemon: the keeper's, the agent's, and those of programs.

The keeper's container holds the sandbox's volumes, and its end of our connection is the lease: when
we end, it ends, and as it is pid 1 of the agent's pid namespace too, so does everything else.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import IO, Any, Literal

import anyio
import anyio.to_thread

from repodrome.envs.sandbox.base import WORKSPACE
from repodrome.envs.sandbox.direct.layout import CONTROL
from repodrome.envs.sandbox.direct.shells import MAX_SESSIONS
from repodrome.envs.sandbox.docker.api.apart import Inside, adapt, own_env
from repodrome.envs.sandbox.docker.api.bundle import LOADER, program
from repodrome.envs.sandbox.docker.api.inside.keeper import CHUNK
from repodrome.envs.sandbox.docker.api.mounts import tar_of
from repodrome.envs.sandbox.docker.api.setting import Setting
from repodrome.envs.sandbox.docker.api.stream import Stream
from repodrome.envs.sandbox.docker.api.volumes import REMOVALS, Volumes
from repodrome.envs.sandbox.docker.api.wire import Wire
from repodrome.envs.sandbox.docker.egress import Outlet
from repodrome.envs.sandbox.docker.engine import DockerError
from repodrome.envs.sandbox.docker.hardening import USER, host_config
from repodrome.errors import SandboxError, SandboxUnavailableError

KEEPER_MB = 768
"""MiB that a keeper may use beyond what the sandbox's files take."""
_KEEPER = ("python3", "-I", "-c", LOADER)
_CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "FOWNER", "MKNOD"),  # copies of the agent's files, whiteouts
    *("KILL", "SETUID", "SETGID", "SYS_PTRACE"),  # its processes, and their view of the files
    "SYS_ADMIN",  # the overlay's marks, which are trusted.* attributes
)


@dataclass
class Containers:
    """One sandbox's containers and volumes.

    Attributes:
        wire: to the keeper.
        agent: name of the agent's container, once there is one.
        inside: the same, where a keeper is in it.
        closed: nothing more is to be made.
    """

    setting: Setting
    name: str = field(default_factory=lambda: f"repodrome-{secrets.token_hex(6)}")
    wire: Wire | None = None
    agent: str = ""
    _view: str = ""
    inside: Inside | None = None
    volumes: Volumes = field(init=False)
    closed: bool = False
    _running: set[str] = field(default_factory=set)
    _outlet: Outlet | None = None
    _agent_lock: anyio.Lock = field(default_factory=lambda: anyio.Lock(fast_acquire=True))
    _making: anyio.Lock = field(default_factory=lambda: anyio.Lock(fast_acquire=True))

    def __post_init__(self) -> None:
        self.volumes = Volumes(self.setting, self.name)

    # -- the keeper --------------------------------------------------------------------------

    @classmethod
    async def start(cls, setting: Setting, files: IO[bytes] | None = None) -> Containers:
        """Make the volumes and the keeper.

        Args:
            files: what to begin with, as :meth:`pack` has written it.

        Raises:
            SandboxError: the daemon can't.
        """
        for _ in range(2):
            made = cls(setting)
            try:
                if await made._start():
                    if files is not None:
                        await made._unpack(files)
                    return made
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await made.close()
                raise
            await made.close()  # somebody has removed a layer's volume meanwhile
        raise SandboxError("the layers vanish from the Docker daemon as soon as they are there")

    async def _start(self) -> bool:
        self.wire = await self._keeper(await self.volumes.make())
        await self._hello(self.wire)
        answer, _ = await self.wire.ask("prepare")
        return "missing" not in answer

    async def _hello(self, wire: Wire, *, inside: bool = False) -> None:
        uid, gid = map(int, USER.split(":"))
        layers = len(self.setting.spec.layers)
        config = {"uid": uid, "gid": gid, "layers": layers, "root": WORKSPACE}
        config |= {"control": CONTROL, "max_sessions": MAX_SESSIONS, "inside": inside}
        with anyio.fail_after(60):
            await wire.hello(program(config))

    async def pack(self, to: IO[bytes]) -> None:
        """Write out all that was written in the sandbox."""
        assert self.wire is not None
        async with aclosing(self.wire.stream("pack")) as frames:
            async for _, content in frames:
                to.write(content)

    async def _unpack(self, files: IO[bytes]) -> None:
        assert self.wire is not None
        at = 0
        while True:
            files.seek(at)  # each time: others may be reading it too
            data = files.read(CHUNK)
            at += len(data)
            await self.wire.ask("unpack", data, last=not data)
            if not data:
                return

    async def _keeper(self, mounts: list[Any]) -> Wire:
        setting, name = self.setting, f"{self.name}-keeper"
        memory = (setting.spec.limits.disk_mb + KEEPER_MB) << 20

        def create(client: Any) -> Any:
            from docker.types import LogConfig

            config = client.create_host_config(
                mounts=mounts,
                network_mode="none",
                read_only=True,
                cap_drop=["ALL"],
                cap_add=list(_CAPABILITIES),
                security_opt=["no-new-privileges"],
                mem_limit=memory,
                memswap_limit=memory,
                pids_limit=256,
                log_config=LogConfig(type="none"),
                auto_remove=True,
                runtime=setting.own_runtime or None,
            )
            return client.create_container(
                setting.helper,
                entrypoint=list(_KEEPER),
                command=[],
                name=name,
                user="0:0",
                working_dir="/",
                stdin_open=True,
                labels=dict(setting.labels),
                hostname="sandbox",
                host_config=config,
            )

        await self.setting.engine.change(create)
        return Wire(await self._run(name, stdin=True))

    async def _run(self, container: str, *, stdin: bool = False) -> Stream:
        """Start a container with its streams at hand."""
        params = {"stdout": 1, "stderr": 1, "stream": 1, "stdin": int(stdin)}

        def attach(client: Any) -> Stream:
            return Stream(client.attach_socket(container, params=params))

        stream = await self.setting.engine.change(attach)
        try:
            await self.setting.engine.change(lambda c: c.start(container))
        except BaseException:
            stream.close()
            raise
        return stream

    # -- the agent's container ---------------------------------------------------------------

    async def ensure_agent(self) -> None:
        """Have the agent's container running, and the keepers at its files and processes.

        Raises:
            SandboxError: the daemon can't.
        """
        if self.agent:
            return
        async with self._agent_lock:
            if self.agent or self.wire is None:
                return
            setting = self.setting
            if not self._view:
                name = await self._create("agent", ["cat"], "view")
                await self.setting.engine.change(lambda c: c.start(name))
                found, _ = await self.wire.ask("agent")
                if found:
                    raise SandboxUnavailableError(
                        f"containers of the runtime {setting.runtime or 'that is the default'} "
                        "share no pid namespace. Fix: name it, as in REPODROME_DOCKER_RUNTIME"
                    )
                self._view = name
            if setting.apart:
                self.inside = await self._start_inside()
            self.agent = self.inside.name if self.inside else self._view

    async def _start_inside(self) -> Inside:
        """The agent's container where it can't be the one that the keeper sees into."""
        name = await self._create(f"inside-{secrets.token_hex(4)}", _KEEPER, "inside")
        try:
            wire = Wire(await self._run(name, stdin=True))
            try:
                await self._hello(wire, inside=True)
            except BaseException:
                wire.close()
                raise
        except (SandboxError, TimeoutError) as error:
            raise SandboxUnavailableError(
                f"no keeper in a container of the runtime {self.setting.runtime}: {error}. Fix: "
                "the image needs Python 3.11 or newer; else see whether `docker run --runtime "
                f"{self.setting.runtime} --network none {self.setting.image} true` works there"
            ) from error
        return Inside(name, wire)

    async def end_inside(self, inside: Inside) -> bool | None:
        """What has become of the agent's own container when it stopped answering.

        Returns:
            Whether memory ran out; None: it still runs. There will be a new one.

        Raises:
            SandboxError: it was removed from outside, or the daemon is gone.
        """
        async with inside.lock:
            if inside.oom is None and inside.wire.ended:
                state = await self.ended(inside.name)
                inside.oom = bool(state.get("OOMKilled"))
                self.agent, self.inside = "", None
                inside.wire.close()
                await self._remove(inside.name)
            return inside.oom

    async def ended(self, name: str) -> dict[str, Any]:
        """Wait for a container to end: what the engine's own wait has found."""
        pause = 0.005
        while True:
            said = await self.setting.engine.call(lambda c: c.inspect_container(name))
            state: dict[str, Any] = said["State"]
            if not state["Running"]:
                return state
            await anyio.sleep(pause)
            pause = min(1.0, pause * 2)

    async def _create(
        self, kind: str, command: Sequence[str], role: Literal["view", "inside", "program"]
    ) -> str:
        """Create a container over the sandbox's files.

        Args:
            role: what the keeper sees the files through, and the agent's processes where it can
                see those; the agent's container with a keeper inside; or a program's.
        """
        setting, spec = self.setting, self.setting.spec
        mounts = await self.volumes.mounts()
        files = [path for path in spec.toolchains if os.path.isfile(path)]
        env = dict(setting.env)
        if role != "program":  # whoever is entered gets the agent's with what is started there
            env = own_env(env, [mount["Target"] for mount in mounts])
        bare = setting.apart and role == "view"  # nothing of the agent's runs there
        network = "none" if bare else await self._network()
        shared = network == "host" or network.startswith("container:")
        name = f"{self.name}-{kind}"

        def create(client: Any) -> None:
            runtime = setting.own_runtime if bare else setting.runtime
            config = host_config(spec.limits, network=network, runtime=runtime)
            if setting.apart and not bare:
                adapt(config, spec.limits, inside=role == "inside")
            if files:  # only for set-up; the daemon puts nothing into a read-only root
                config["read_only"] = False
            client.create_container(
                setting.helper if bare else setting.image,
                entrypoint=list(command),
                command=[],
                name=name,
                user=USER if role == "program" else "0:0",
                working_dir="/",
                stdin_open=role != "program",
                environment=env,
                labels=dict(setting.labels),
                hostname=None if shared else "sandbox",
                host_config=client.create_host_config(
                    **config,
                    mounts=[m for m in mounts if role != "inside" or m["Target"] != CONTROL],
                    pid_mode=f"container:{self.name}-keeper" if role == "view" else None,
                    auto_remove=role == "view",
                ),
            )
            if files:
                client.put_archive(name, "/", tar_of(files))

        self._open()
        self._running.add(name)
        await self.setting.engine.change(create)
        if self.closed:  # meanwhile; a container that is made late makes its volumes anew
            with anyio.CancelScope(shield=True):
                await self._remove(name)
                await self.volumes.remove()
        self._open()
        return name

    def _open(self) -> None:
        if self.closed:
            raise SandboxError("the sandbox was closed")

    async def _network(self) -> str:
        setting, spec = self.setting, self.setting.spec
        if spec.network == "none":
            return "none"
        if spec.network == "full":
            return setting.network
        if setting.egress is None:
            raise SandboxUnavailableError(
                "no way out to listed hosts on this Docker daemon. Fix: have repodrome/base there"
            )
        async with self._making:
            if self._outlet is None:  # not cut short: nobody else would close what was opened
                self._outlet = await anyio.to_thread.run_sync(
                    setting.egress.open, spec.allowed_hosts
                )
            return self._outlet.network

    # -- programs ----------------------------------------------------------------------------

    async def start_program(self, command: Sequence[str]) -> tuple[str, Stream]:
        """Start a program in a container of its own; returns its name and its output."""
        name = await self._create(f"run-{secrets.token_hex(4)}", command, "program")
        return name, await self._run(name)

    async def remove_program(self, name: str) -> bool:
        """Kill and remove a program's container; False if somebody else does, or did."""
        with anyio.CancelScope(shield=True):
            removed = await self._remove(name)
        return removed

    async def start_init(self, command: Sequence[str]) -> None:
        """Have the engine start a process of the agent's in its container."""

        def execute(client: Any) -> None:
            made = client.exec_create(
                self.agent,
                list(command),
                stdout=False,
                stderr=False,
                user=USER,
                workdir="/",
                environment=dict(self.setting.env),
            )
            client.exec_start(made["Id"], detach=True)

        await self.setting.engine.change(execute)

    async def pause(self, paused: bool) -> None:
        """Stop or resume the agent's processes, where the daemon can."""
        if self.agent:
            with suppress(DockerError):
                await self.setting.engine.call(
                    lambda c: c.pause(self.agent) if paused else c.unpause(self.agent)
                )

    # -- the end -----------------------------------------------------------------------------

    async def close(self) -> None:
        """Remove everything; idempotent. What a daemon that is gone keeps is for the reaper."""
        if self.closed:
            return
        self.closed = self.volumes.closed = True
        for wire in (self.wire, self.inside.wire if self.inside else None):
            if wire is not None:
                wire.close()
        with anyio.CancelScope(shield=True), suppress(SandboxError):
            async with anyio.create_task_group() as group:
                for name in (*self._running, f"{self.name}-keeper"):
                    group.start_soon(self._remove, name)
            if self._outlet is not None:
                await anyio.to_thread.run_sync(self._outlet.close)
            await self.volumes.remove()

    async def _remove(self, name: str) -> bool:
        self._running.discard(name)
        mine = True
        for _ in range(REMOVALS):
            try:
                await self.setting.engine.call(lambda c: c.remove_container(name, force=True))
                return mine
            except DockerError as error:
                if "already in progress" not in str(error):
                    return False
            except SandboxError:
                return False
            mine = False
            await anyio.sleep(0.02)
        return False
