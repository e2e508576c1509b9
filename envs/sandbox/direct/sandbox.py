"""One sandbox whose files and processes this host holds itself, whatever its place."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio

from repodrome.envs.sandbox.base import WORKSPACE, Change, Snapshot
from repodrome.envs.sandbox.beneath import Beneath
from repodrome.envs.sandbox.direct import cgroup
from repodrome.envs.sandbox.direct.changed import changed_in
from repodrome.envs.sandbox.direct.client import Order
from repodrome.envs.sandbox.direct.export import Exporter
from repodrome.envs.sandbox.direct.files import (
    DIRECTORY,
    DirectSnapshot,
    Files,
    copy_upper,
)
from repodrome.envs.sandbox.direct.live import INIT_ARGV, Live, entrance
from repodrome.envs.sandbox.direct.place import Place
from repodrome.envs.sandbox.direct.program import Program
from repodrome.envs.sandbox.direct.shell import Shell
from repodrome.envs.sandbox.direct.shells import Shells
from repodrome.envs.sandbox.direct.streams import close_all
from repodrome.errors import SandboxError
from repodrome.tools.workspace import CommandResult, FileInfo

KILLED = 128 + 9
"""What a program's status looks like when the place it ran in ended."""


class DirectSandbox:
    """Implements :class:`~repodrome.envs.sandbox.base.Sandbox`; made by the backend.

    Args:
        place: where its processes run; released when it is closed.
        persist: see :meth:`~repodrome.envs.sandbox.base.SandboxBackend.start`.
    """

    def __init__(self, place: Place, persist: Path | None = None) -> None:
        self.spec = place.spec
        self._place, self._persist = place, persist
        self._owner = self._place.owner
        self._files: Files | None = None
        self._workspace: Beneath | None = None
        self._live: Live | None = None
        self._shells = Shells()
        self._reviving = anyio.Lock(fast_acquire=True)
        self._runs: set[Order] = set()
        self._oom_seen = 0
        self._closed = False

    async def usable(self) -> bool:
        """Whether it is open and what it depends on still runs."""
        return not self._closed and self._place.alive()

    @property
    def root(self) -> str:
        """Path of the workspace inside."""
        return WORKSPACE

    # -- starting ----------------------------------------------------------------------------

    async def start(self, *, live: bool, copy: Files | None = None) -> None:
        """Make the filesystem, and with ``live`` the init and the main shell.

        Args:
            copy: files of another sandbox or of a snapshot to begin with.
        """
        message = {
            **self._place.mounts(),
            "persist": str(self._persist) if self._persist else None,
        }
        if copy or self._persist or not live:
            message["fillable"] = False
        fds = {"copy": copy.base} if copy else {}
        try:
            if live:
                await self._start_live(message, fds)
                await self._shell("main")
            else:
                order = self._place.order(message, fds)
                try:
                    await order.started()
                    self._adopt(order)
                finally:
                    order.close()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.close()
            raise

    def _adopt(self, order: Order) -> None:
        self._files = Files.of(order)
        root = self._files.root
        fd = os.open("workspace", DIRECTORY, dir_fd=root)
        self._workspace = Beneath(fd, WORKSPACE, self._owner)

    async def _start_live(self, message: dict[str, Any], fds: dict[str, int]) -> None:
        """Start init, over a new filesystem or (with ``ns`` in ``fds``) over the present one."""
        message |= self._place.enter(INIT_ARGV, init=True)
        with ExitStack() as undo:
            try:
                read, control = os.pipe2(os.O_CLOEXEC)
                undo.callback(os.close, control)
                try:
                    os.set_blocking(control, False)
                    stderr = os.memfd_create("stderr", os.MFD_CLOEXEC)
                    undo.callback(os.close, stderr)
                    streams = {"stdin": read, "stdout": stderr, "stderr": stderr}
                    order = self._place.order(message, {**fds, **streams})
                    undo.callback(order.close)
                finally:
                    os.close(read)
                await order.started()
                if self._closed:
                    raise SandboxError("the sandbox was closed while it started")
                if own := order.handles[3:]:  # it ran already, with streams of its own
                    for theirs, mine in zip(own, (control, stderr), strict=True):
                        os.dup2(theirs, mine, inheritable=False)
                    os.set_blocking(control, False)
                    del order.handles[3:]
                    close_all(own)
                if order.handles:
                    self._adopt(order)
                assert self._files is not None
                ctl = os.open("ctl", DIRECTORY, dir_fd=self._files.base)
            except OSError as error:
                raise SandboxError(f"the sandbox could not be started: {error}") from error
            undo.pop_all()
        self._oom_seen = cgroup.oom_kills(order.cgroup)  # a kept container's may have some
        self._live = Live(
            order,
            control=control,
            ctl=ctl,
            stderr=stderr,
            owner=self._owner,
            enter=entrance(self._place.env),
        )

    # -- files -------------------------------------------------------------------------------

    def _open_files(self) -> Files:
        if self._files is None or self._closed:
            raise SandboxError("the sandbox is closed")
        return self._files

    def _beneath(self) -> Beneath:
        if self._workspace is None or self._closed:
            raise SandboxError("the sandbox is closed")
        return self._workspace

    async def stat(self, path: str) -> FileInfo:
        """See :class:`~repodrome.tools.workspace.Workspace`."""
        return self._beneath().stat(path)

    async def read(self, path: str, *, offset: int = 0, limit: int | None = None) -> bytes:
        """See :class:`~repodrome.tools.workspace.Workspace`."""
        return self._beneath().read(path, offset=offset, limit=limit)

    async def write(self, path: str, data: bytes, *, executable: bool | None = None) -> None:
        """See :class:`~repodrome.tools.workspace.Workspace`."""
        self._beneath().write(path, data, executable=executable)

    async def delete(self, path: str) -> None:
        """See :class:`~repodrome.tools.workspace.Workspace`."""
        self._beneath().delete(path)

    async def list_dir(self, path: str = ".") -> list[FileInfo]:
        """See :class:`~repodrome.tools.workspace.Workspace`."""
        return self._beneath().list_dir(path)

    async def changed_paths(self) -> list[str] | None:
        """Paths that the upper layer changes; see :func:`changed_in`."""
        base = self._open_files().base
        try:
            fd = os.open("upper/workspace", DIRECTORY, dir_fd=base)
        except FileNotFoundError:
            return []
        except OSError:  # a place whose layers only its own namespace can read
            return None
        try:
            return await anyio.to_thread.run_sync(changed_in, fd)
        finally:
            os.close(fd)

    # -- processes ---------------------------------------------------------------------------

    async def _alive(self) -> Live:
        """The running init; a new one if it was ended by an export, restore or by the agent."""
        async with self._reviving:
            files = self._open_files()
            if self._live is None:
                await self._start_live({}, {"ns": files.namespace})
            assert self._live is not None
            return self._live

    async def _shell(self, session: str) -> Shell:
        live = await self._alive()
        shell = self._shells.find(session, live) or await self._new_shell(session, live)
        if self._closed:  # meanwhile, and the close let go only of the shells that there were
            shell.close()
            raise SandboxError("the sandbox was closed while a shell started")
        return shell

    async def _new_shell(self, session: str, live: Live) -> Shell:
        try:
            return await self._shells.open(session, live)
        except TimeoutError:
            # The agent's processes keep it from coming up (all pids taken, init stopped, a state
            # that never ends): without them it does.
            async with self._reviving:
                if self._live is live:
                    await self._end_live()
            live = await self._alive()
            try:
                return await self._shells.open(session, live)
            except TimeoutError as error:
                raise SandboxError("a new shell does not answer") from error

    async def shell(
        self,
        command: str,
        *,
        timeout: float = 120.0,
        session: str = "main",
        max_output: int = 1 << 20,
    ) -> CommandResult:
        """See :class:`~repodrome.tools.workspace.Workspace`."""
        async with self._shells.lock(session):
            shell = await self._shell(session)
            try:
                with shell.live.used():
                    result = await shell.run(command, timeout=timeout, max_output=max_output)
            except SandboxError:
                if self._closed or await self._place.lost():
                    raise
                return await self._lost_all(shell)
            if self._closed:
                raise SandboxError("the sandbox was closed while the command ran")
            if result.shell_lost and await self._place.lost():
                raise SandboxError("what the sandbox ran in is gone")
            self._shells.note_cwd(shell)
            return self._with_oom(result)

    async def _lost_all(self, shell: Shell) -> CommandResult:
        """The command took the whole sandbox down (its memory limit hit init, for example)."""
        live = shell.live
        oom = False
        async with self._reviving:
            if self._live is live:
                await self._end_live()
            oom = live.order.oom_kills > 0
        return CommandResult(None, b"", oom_killed=oom, shell_lost=True)

    def _with_oom(self, result: CommandResult) -> CommandResult:
        if self._live is None or (result.exit_code == 0 and not result.shell_lost):
            return result
        kills = cgroup.oom_kills(self._live.order.cgroup)
        if kills <= self._oom_seen:
            return result
        self._oom_seen = kills
        return replace(result, oom_killed=True)

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
        live = await self._alive()
        program = Program(tuple(argv), stdin, cwd or WORKSPACE, dict(env or {}), max_output)
        with live.used():
            return self._with_oom(await program.run_beside(live, timeout))

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
        namespace = self._open_files().namespace
        program = Program(tuple(argv), stdin, cwd or WORKSPACE, dict(env or {}), max_output)
        result = await program.run_fresh(self._place, namespace, timeout, self._runs)
        if self._closed:
            raise SandboxError("the sandbox was closed while the program ran")
        if result.exit_code == KILLED and await self._place.lost():
            raise SandboxError("what the sandbox ran in is gone")
        return result

    # -- the change, snapshots ---------------------------------------------------------------

    async def _end_live(self) -> None:
        """Kill every process inside; files stay."""
        live, self._live = self._live, None
        shells = self._shells.take_all()
        try:
            if live is not None:
                await live.close()
        finally:
            for shell in shells:
                shell.close()

    async def export(self, *, max_file_bytes: int = 64 << 20) -> Change:
        """See :class:`~repodrome.envs.sandbox.base.Sandbox`."""
        async with self._reviving:
            await self._end_live()
        base = self._open_files().base
        layers = [layer / "workspace" for layer in self.spec.layers]
        try:
            upper: int | None = os.open("upper/workspace", DIRECTORY, dir_fd=base)
        except FileNotFoundError:
            upper = None
        merged = -1
        try:
            merged = os.dup(self._beneath().fd)  # a close meanwhile must not swap it under the walk
            exporter = Exporter(upper, merged, layers, max_file_bytes)
            return await anyio.to_thread.run_sync(exporter.run)
        finally:
            close_all((merged, -1 if upper is None else upper))

    async def snapshot(self) -> Snapshot:
        """See :class:`~repodrome.envs.sandbox.base.Sandbox`."""
        self._open_files()
        shells = await self._save_shells()
        message = {
            "snapshot": True,
            "size": self.spec.limits.disk_mb << 20,
            "inodes": self.spec.limits.inodes,
        }
        fds = {"copy": self._open_files().base}
        with self._frozen():
            order = self._place.spawner.order(message, fds)
            try:
                await order.started()
                return DirectSnapshot(Files.of(order), shells)
            finally:
                order.close()

    async def _save_shells(self) -> dict[str, tuple[str, bytes]]:
        # A close meanwhile must not take the shells away before they have seen the end.
        with nullcontext() if self._live is None else self._live.used():
            return await self._shells.save()

    def _frozen(self) -> AbstractContextManager[None]:
        return nullcontext() if self._live is None else self._live.frozen()

    async def restore(self, snapshot: Snapshot) -> None:
        """See :class:`~repodrome.envs.sandbox.base.Sandbox`."""
        if not isinstance(snapshot, DirectSnapshot) or snapshot.files.base < 0:
            raise SandboxError("not a snapshot of this backend, or one that was released")
        async with self._reviving:
            await self._end_live()
            self._release_files()
        self._shells.restore(snapshot.shells)
        await self.start(live=True, copy=snapshot.files)

    async def fork(self) -> DirectSandbox:
        """See :class:`~repodrome.envs.sandbox.base.Sandbox`."""
        self._open_files()
        twin = DirectSandbox(await self._place.another())
        twin._shells.restore(await self._save_shells())
        files = self._open_files()
        with self._frozen():
            await twin.start(live=True, copy=files)
        return twin

    async def commit(self, target: Path) -> None:
        """See :class:`~repodrome.envs.sandbox.base.Sandbox`."""
        if self._persist is None:
            raise SandboxError("only a sandbox started with persist=… can be committed")
        upper = self._persist / "upper"
        try:
            if not upper.is_dir():  # its filesystem can't hold one: it is in the tmpfs
                async with self._reviving:
                    await self._end_live()
                base = self._open_files().base
                await anyio.to_thread.run_sync(copy_upper, base, self._persist)
        finally:
            await self.close()
        upper.rename(target)

    # -- the end -----------------------------------------------------------------------------

    def _release_files(self) -> None:
        if self._workspace is not None:
            self._workspace.close()
            self._workspace = None
        if self._files is not None:
            self._files.close()
            self._files = None

    async def close(self) -> None:
        """See :class:`~repodrome.envs.sandbox.base.Sandbox`."""
        if self._closed:
            return
        self._closed = True
        for order in self._runs:
            order.kill()
        try:
            lost = True
            with suppress(SandboxError):  # gone with the spawner, or for the kernel to end
                await self._end_live()
                lost = False
        finally:
            self._release_files()
            await self._place.release(lost=lost)

    async def __aenter__(self) -> DirectSandbox:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
