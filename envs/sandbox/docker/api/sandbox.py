"""One sandbox on a daemon that is reached over its API alone."""

from __future__ import annotations

import json
import shlex
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import anyio
import anyio.to_thread

from repodrome.envs.sandbox.base import (
    WORKSPACE,
    Change,
    ChangedFile,
    SandboxSpec,
    Snapshot,
)
from repodrome.envs.sandbox.direct.client import sandbox_owner
from repodrome.envs.sandbox.direct.dialogue import BASH, INIT
from repodrome.envs.sandbox.direct.layout import BASE_ENV
from repodrome.envs.sandbox.direct.live import encode
from repodrome.envs.sandbox.direct.program import Program
from repodrome.envs.sandbox.docker.api.apart import Inside
from repodrome.envs.sandbox.docker.api.containers import Containers
from repodrome.envs.sandbox.docker.api.program import run_contained
from repodrome.envs.sandbox.docker.api.setting import Setting
from repodrome.envs.sandbox.docker.api.unpack import unpack_layer
from repodrome.envs.sandbox.docker.egress import ENV as EGRESS_ENV
from repodrome.envs.sandbox.docker.egress import Egress
from repodrome.envs.sandbox.docker.engine import DockerError, Engine
from repodrome.envs.sandbox.docker.labels import labels as own_labels
from repodrome.errors import SandboxError
from repodrome.tools.workspace import CommandResult, FileInfo

_INIT = 'exec <"$1.init" >/dev/null 2>&1; printf "%s\\0" "$$" >"$1.up"; exec ' + shlex.join(
    [*BASH, INIT]
)
TRIES = 3
"""How often a new init or shell is started while the agent's processes get in the way."""
IN_MEMORY = 1 << 20
"""Bytes of a snapshot that need no file."""
_OF_PROCESSES = frozenset(("init", "up", "alive", "end", "shell", "exec", "save", "load"))
"""Orders for the keeper inside of the agent's container, where there is one."""


@dataclass
class ApiSnapshot:
    """Files, packed, on this host, and shell states; implements :class:`Snapshot`."""

    files: IO[bytes]
    shells: tuple[dict[str, Any], bytes]

    async def release(self) -> None:
        """Give its space back; idempotent."""
        self.files.close()


async def start_api_sandbox(
    engine: Engine,
    image_id: str,
    image_env: Mapping[str, str],
    spec: SandboxSpec,
    *,
    live: bool = True,
    persist: Path | None = None,
    labels: Mapping[str, str] | None = None,
    helper: str = "",
    network: str = "bridge",
    egress: Egress | None = None,
    runtime: str = "",
    own_runtime: str = "",
    apart: bool = False,
    acquire: Callable[[], Awaitable[object]] | None = None,
    release: Callable[[], object] | None = None,
) -> ApiSandbox:
    """Start a sandbox by requests to a daemon alone, wherever it is.

    Args:
        image_id: of the agent's container: needs bash and coreutils.
        image_env: the image's own environment variables.
        live: start its processes at once.
        persist: see :meth:`~repodrome.envs.sandbox.base.SandboxBackend.start`.
        labels: of its containers and volumes; default: this process's own.
        helper: image of the container that keeps its files: needs Python 3.11 or newer; default:
            ``image_id``.
        network: Docker network that ``spec.network == "full"`` stands for.
        egress: the daemon's ways out, for ``spec.network == "allowlist"``.
        acquire: takes a place on the daemon for a fork.
        release: gives the place of a sandbox back: this one's when it is closed (or can't be
            started), and each fork's.
        runtime: of the agent's containers.
        own_runtime: of the containers that only serve it; default: the daemon's own.
        apart: containers of ``runtime`` share no pid namespace (gVisor).

    Raises:
        SandboxError: it can't be started.
    """
    private = ("HOME", "USER", "LOGNAME", "HOSTNAME")
    image_env = {name: value for name, value in image_env.items() if name not in private}
    if "PATH" in image_env:
        image_env["PATH"] = f"{BASE_ENV['PATH'].partition(':')[0]}:{image_env['PATH']}"
    way_out = EGRESS_ENV if spec.network == "allowlist" else {}
    setting = Setting(
        engine,
        image_id,
        helper or image_id,
        {**BASE_ENV, **image_env, **dict(spec.env), **way_out},
        spec,
        own_labels("sandbox", name=spec.name) if labels is None else labels,
        network,
        egress,
        runtime,
        own_runtime,
        apart,
        persist is not None,
        acquire,
        release,
    )
    sandbox = await _started(setting)
    try:
        if live:
            await sandbox.shell("true")
    except BaseException:
        with anyio.CancelScope(shield=True):
            await sandbox.close()
        raise
    return sandbox


async def _started(setting: Setting, files: IO[bytes] | None = None) -> ApiSandbox:
    """A sandbox in a place that is taken already, and is given back if this fails."""
    try:
        return ApiSandbox(setting, await Containers.start(setting, files))
    except BaseException:
        if setting.release is not None:
            setting.release()
        raise


class _KernelEndedError(SandboxError):
    """The agent's own kernel has ended, which is the agent's doing; the next command has another.

    Args:
        oom: whether its memory ran out.
    """

    def __init__(self, oom: bool) -> None:
        super().__init__("the kernel that the agent's processes ran on has ended")
        self.oom = oom


class ApiSandbox:
    """Implements :class:`~repodrome.envs.sandbox.base.Sandbox`."""

    def __init__(self, setting: Setting, containers: Containers) -> None:
        self.spec = setting.spec
        self._setting, self._containers = setting, containers
        self._reviving = anyio.Lock(fast_acquire=True)
        self._inits = 0
        self._closed = False

    async def usable(self) -> bool:
        """Whether it is open and its keeper answers: while nobody asks, its end isn't seen."""
        try:
            await self.stat(".")
        except SandboxError:
            return False
        return True

    @property
    def root(self) -> str:
        """Path of the workspace inside."""
        return WORKSPACE

    def _open(self) -> Containers:
        if self._closed:
            raise SandboxError("the sandbox is closed")
        return self._containers

    async def _ask(self, op: str, data: bytes = b"", **order: Any) -> tuple[dict[str, Any], bytes]:
        """Have the keeper do something with the agent's files or processes."""
        containers = self._open()
        try:
            await containers.ensure_agent()
            inside = containers.inside
            if inside is not None and op in _OF_PROCESSES:
                return await self._ask_inside(containers, inside, op, data, order)
            assert containers.wire is not None
            return await containers.wire.ask(op, data, **order)
        except SandboxError:
            self._open()  # closed meanwhile: that is why
            raise

    async def _ask_inside(
        self,
        containers: Containers,
        inside: Inside,
        op: str,
        data: bytes,
        order: Mapping[str, Any],
    ) -> tuple[dict[str, Any], bytes]:
        try:
            return await inside.wire.ask(op, data, **order)
        except SandboxError as error:
            oom = await containers.end_inside(inside)
            if oom is None:
                raise
            raise _KernelEndedError(oom) from error

    # -- files -------------------------------------------------------------------------------

    async def stat(self, path: str) -> FileInfo:
        """See :class:`~repodrome.tools.workspace.Workspace`."""
        answer, _ = await self._ask("stat", path=path)
        return FileInfo(**answer["info"])

    async def read(self, path: str, *, offset: int = 0, limit: int | None = None) -> bytes:
        """See :class:`~repodrome.tools.workspace.Workspace`."""
        _, data = await self._ask("read", path=path, offset=offset, limit=limit)
        return data

    async def write(self, path: str, data: bytes, *, executable: bool | None = None) -> None:
        """See :class:`~repodrome.tools.workspace.Workspace`."""
        await self._ask("write", data, path=path, executable=executable)

    async def delete(self, path: str) -> None:
        """See :class:`~repodrome.tools.workspace.Workspace`."""
        await self._ask("delete", path=path)

    async def list_dir(self, path: str = ".") -> list[FileInfo]:
        """See :class:`~repodrome.tools.workspace.Workspace`."""
        _, found = await self._ask("list", path=path)
        return [FileInfo(**info) for info in json.loads(found)]

    async def changed_paths(self) -> list[str] | None:
        """Paths that the upper layer changes; None: too many to say."""
        _, found = await self._ask("changed")
        paths: list[str] | None = json.loads(found)
        return paths

    # -- processes ---------------------------------------------------------------------------

    async def _living(self, op: str, data: bytes, **order: Any) -> CommandResult:
        """The same for what needs an init: without one, or one that answers, there is a new one."""
        began = time.monotonic()
        try:
            return await self._with_init(op, data, began, order)
        except _KernelEndedError as error:
            seconds = time.monotonic() - began
            return CommandResult(None, b"", seconds=seconds, oom_killed=error.oom, shell_lost=True)

    async def _with_init(
        self, op: str, data: bytes, began: float, order: Mapping[str, Any]
    ) -> CommandResult:
        for _ in range(TRIES):
            inits = self._inits
            answer, content = await self._ask(op, data, **order)
            if "need" in answer or "silent" in answer:
                await self._new_init(inits)
                continue
            if not answer["alive"]:
                raise SandboxError("the container that the sandbox ran in is gone")
            self._open()
            return _result(answer, content, began)
        raise SandboxError("a new shell does not answer")

    async def _new_init(self, seen: int) -> None:
        """Kill what runs and start a new init, unless somebody has done so since."""
        async with self._reviving:
            if self._inits != seen:
                return
            for _ in range(TRIES):
                answer, _ = await self._ask("init")
                base = answer["name"]
                words = [*BASH, _INIT, "init", base]
                try:
                    await self._open().start_init(words)
                except DockerError:  # killed processes may not have left their limit yet
                    if not (await self._ask("alive"))[0]["alive"]:
                        raise
                    await anyio.sleep(0.1)
                    continue
                up, _ = await self._ask("up")
                if not up:
                    self._inits += 1
                    return
            raise SandboxError("the sandbox's init does not come up: does the image have bash?")

    async def shell(
        self,
        command: str,
        *,
        timeout: float = 120.0,
        session: str = "main",
        max_output: int = 1 << 20,
    ) -> CommandResult:
        """See :class:`~repodrome.tools.workspace.Workspace`."""
        data = encode(command)
        return await self._living(
            "shell", data, session=session, timeout=timeout, max_output=max_output
        )

    async def exec(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 120.0,
        max_output: int = 1 << 20,
    ) -> CommandResult:
        """See :class:`~repodrome.tools.workspace.Workspace`."""
        words = b"".join(encode(word) + b"\0" for word in argv)
        place = encode(cwd or WORKSPACE)
        return await self._living(
            "exec",
            words + place + stdin,
            argv=len(words),
            cwd=len(place),
            env=dict(env or {}),
            timeout=timeout,
            max_output=max_output,
        )

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 600.0,
        max_output: int = 1 << 20,
    ) -> CommandResult:
        """See :class:`~repodrome.envs.sandbox.base.Sandbox`."""
        containers = self._open()
        program = Program(tuple(argv), stdin, cwd or WORKSPACE, dict(env or {}), max_output)
        try:
            result = await run_contained(program, containers, timeout)
        except SandboxError:
            self._open()
            raise
        self._open()
        return result

    # -- the change, snapshots ---------------------------------------------------------------

    async def export(self, *, max_file_bytes: int = 64 << 20) -> Change:
        """See :class:`~repodrome.envs.sandbox.base.Sandbox`."""
        containers = await self._settled()
        assert containers.wire is not None
        files = []
        async with aclosing(
            containers.wire.stream("export", max_file_bytes=max_file_bytes)
        ) as frames:
            async for facts, content in frames:
                if "path" in facts:
                    data = content if facts["data"] else None
                    files.append(
                        ChangedFile(
                            facts["path"], facts["kind"], data, facts["executable"], facts["note"]
                        )
                    )
        return Change(tuple(files))

    async def _settled(self) -> Containers:
        """With the agent's processes ended."""
        with suppress(_KernelEndedError):
            await self._ask("end")
        return self._open()

    async def snapshot(self) -> ApiSnapshot:
        """See :class:`~repodrome.envs.sandbox.base.Sandbox`."""
        containers = self._open()
        shells: tuple[dict[str, Any], bytes] = {"shells": []}, b""
        if containers.agent:
            with suppress(_KernelEndedError):
                shells = await self._ask("save")
            await containers.pause(True)
        files = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 (the snapshot's)
        try:
            await containers.pack(files)
        except BaseException:
            files.close()
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await containers.pause(False)
        return ApiSnapshot(files, shells)

    async def restore(self, snapshot: Snapshot) -> None:
        """See :class:`~repodrome.envs.sandbox.base.Sandbox`."""
        self._open()
        if not isinstance(snapshot, ApiSnapshot) or snapshot.files.closed:
            raise SandboxError("not a snapshot of this backend, or one that was released")
        fresh = await Containers.start(self._setting, snapshot.files)
        async with self._reviving:
            old, self._containers = self._containers, fresh
            self._inits += 1
        await old.close()
        if self._closed:
            await fresh.close()
        await self._begin(snapshot.shells)

    async def _begin(self, shells: tuple[dict[str, Any], bytes]) -> None:
        await self._ask("load", shells[1], shells=shells[0]["shells"])
        await self.shell("true")

    async def fork(self) -> ApiSandbox:
        """See :class:`~repodrome.envs.sandbox.base.Sandbox`."""
        present = await self.snapshot()
        try:
            if self._setting.acquire is not None:
                await self._setting.acquire()
            twin = await _started(self._setting, present.files)
        finally:
            await present.release()
        try:
            await twin._begin(present.shells)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await twin.close()
            raise
        return twin

    async def commit(self, target: Path) -> None:
        """See :class:`~repodrome.envs.sandbox.base.Sandbox`."""
        if not self._setting.persist:
            raise SandboxError("only a sandbox started with persist=… can be committed")
        containers = await self._settled()
        assert containers.wire is not None
        with tempfile.TemporaryFile() as file:
            try:
                async with aclosing(containers.wire.stream("layer")) as frames:
                    async for _, content in frames:
                        file.write(content)
            finally:
                await self.close()
            file.seek(0)
            owner = sandbox_owner()
            await anyio.to_thread.run_sync(unpack_layer, file, target, owner)

    # -- the end -----------------------------------------------------------------------------

    async def close(self) -> None:
        """See :class:`~repodrome.envs.sandbox.base.Sandbox`."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._containers.close()
        finally:
            if self._setting.release is not None:
                self._setting.release()

    async def __aenter__(self) -> ApiSandbox:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


def _result(answer: dict[str, Any], content: bytes, began: float) -> CommandResult:
    return CommandResult(
        answer["exit_code"],
        content[: answer["out"]],
        content[answer["out"] :],
        dropped=answer["dropped"],
        seconds=time.monotonic() - began,
        timed_out=answer["timed_out"],
        oom_killed=answer["oom_killed"],
        shell_lost=answer["shell_lost"],
    )
