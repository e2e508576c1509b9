"""One sandbox of the embedded backend."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from repodrome.envs.sandbox.base import WORKSPACE, Change, SandboxSpec, Snapshot
from repodrome.envs.sandbox.beneath import Beneath
from repodrome.envs.sandbox.bubblewrap import seccomp
from repodrome.envs.sandbox.bubblewrap.client import Order, Spawner, sandbox_owner
from repodrome.envs.sandbox.bubblewrap.export import Exporter
from repodrome.envs.sandbox.bubblewrap.live import INIT_ARGV, Live
from repodrome.envs.sandbox.bubblewrap.processes import host_pid, kill_command, kill_pid
from repodrome.envs.sandbox.bubblewrap.root import CONTROL, command_line
from repodrome.envs.sandbox.bubblewrap.shell import Shell
from repodrome.envs.sandbox.bubblewrap.streams import Capture, Poller, close_all, drain
from repodrome.errors import SandboxError
from repodrome.tools.workspace import CommandResult, FileInfo

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass
class Files:
    """The filesystem of a sandbox, alive as long as these descriptors are open.

    Attributes:
        base: the quota'd tmpfs with ``upper``, ``tmp`` and ``ctl``.
        root: the overlay's root.
        namespace: the mount namespace that holds both.
    """

    base: int
    root: int
    namespace: int

    def close(self) -> None:
        """Let the kernel take everything down; idempotent."""
        close_all((self.base, self.root, self.namespace))
        self.base = self.root = self.namespace = -1


@dataclass
class BubblewrapSnapshot:
    """Copied files and shell states; implements :class:`Snapshot`."""

    files: Files
    shells: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    async def release(self) -> None:
        """Give its space back; idempotent."""
        self.files.close()


class BubblewrapSandbox:
    """Implements :class:`~repodrome.envs.sandbox.base.Sandbox`; made by the backend."""

    def __init__(self, spec: SandboxSpec, spawner: Spawner, bwrap: str, persist: Path | None):
        self.spec = spec
        self._spawner, self._bwrap, self._persist = spawner, bwrap, persist
        self._owner = sandbox_owner() if not spawner.rootless else None
        self._files: Files | None = None
        self._workspace: Beneath | None = None
        self._live: Live | None = None
        self._shells: dict[str, Shell] = {}
        self._cwds: dict[str, str] = {}
        self._states: dict[str, bytes] = {}
        self._locks: dict[str, anyio.Lock] = {}
        self._reviving = anyio.Lock()
        self._oom_seen = 0
        self._closed = False

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
        message: dict[str, Any] = {
            "layers": [str(layer) for layer in self.spec.layers],
            "size": self.spec.limits.disk_mb << 20,
            "inodes": self.spec.limits.inodes,
            "toolchains": list(self.spec.toolchains),
            "persist": str(self._persist) if self._persist else None,
        }
        fds = {"copy": copy.base} if copy else {}
        try:
            if live:
                await self._start_live(message, fds)
                await self._shell("main")
            else:
                order = self._spawner.order(message, fds)
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
        base, root, namespace = order.handles
        order.handles = []
        self._files = Files(base, root, namespace)
        fd = os.open("workspace", _DIRECTORY, dir_fd=root)
        self._workspace = Beneath(fd, WORKSPACE, self._owner)

    async def _start_live(self, message: dict[str, Any], fds: dict[str, int]) -> None:
        """Start init, over a new filesystem or (with ``ns`` in ``fds``) over the present one."""
        read, control = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(control, False)
        stderr = os.memfd_create("stderr", os.MFD_CLOEXEC)
        line = self._command_line(INIT_ARGV, init=True)
        try:
            streams = {"stdin": read, "stdout": stderr, "stderr": stderr}
            order = self._order({**message, "argv": line}, {**fds, **streams})
            try:
                await order.started()
            except BaseException:
                order.close()
                raise
        except BaseException:
            close_all((control, stderr))
            raise
        finally:
            os.close(read)
        if order.handles:
            self._adopt(order)
        assert self._files is not None
        ctl = os.open("ctl", _DIRECTORY, dir_fd=self._files.base)
        self._oom_seen = 0
        self._live = Live(
            self._spawner, order, control=control, ctl=ctl, stderr=stderr, owner=self._owner
        )

    def _command_line(self, argv: Sequence[str], *, init: bool, **more: Any) -> list[str]:
        return command_line(
            self._spawner.stage,
            self.spec,
            argv,
            bwrap=self._bwrap,
            init=init,
            seccomp=seccomp.program() is not None,
            **more,
        )

    def _order(self, message: dict[str, Any], fds: dict[str, int]) -> Order:
        """Send an order that ends in bwrap: limits and the system call filter go with it."""
        limits, cgroups = self.spec.limits, self._spawner.cgroups
        rlimits = {
            "RLIMIT_CORE": 0,
            "RLIMIT_CPU": limits.cpu_seconds,
            "RLIMIT_FSIZE": limits.file_mb << 20,
            "RLIMIT_NOFILE": 4096,
        }
        if "memory" not in cgroups.directories:
            rlimits["RLIMIT_AS"] = limits.memory_mb << 20
        if "pids" not in cgroups.directories:
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
            return self._spawner.order(message, fds)
        finally:
            if program is not None:
                os.close(program)

    # -- files -------------------------------------------------------------------------------

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

    # -- processes ---------------------------------------------------------------------------

    async def _alive(self) -> Live:
        """The running init; a new one if it was ended by an export, restore or by the agent."""
        async with self._reviving:
            if self._closed or self._files is None:
                raise SandboxError("the sandbox is closed")
            if self._live is None:
                await self._start_live({}, {"ns": self._files.namespace})
            assert self._live is not None
            return self._live

    async def _shell(self, session: str) -> Shell:
        live = await self._alive()
        shell = self._shells.get(session)
        if shell is not None and shell.live is live and not shell.lost:
            return shell
        if shell is not None:
            shell.close()
            del self._shells[session]
        state = self._states.pop(session, b"")
        name = f"state-{len(self._states)}-{session.encode().hex()[:40]}"
        path = live.file(name, state) if state else ""
        shell = await Shell.open(live, session, cwd=self._cwds.get(session, WORKSPACE), state=path)
        self._shells[session] = shell
        return shell

    async def shell(
        self,
        command: str,
        *,
        timeout: float = 120.0,
        session: str = "main",
        max_output: int = 1 << 20,
    ) -> CommandResult:
        """See :class:`~repodrome.tools.workspace.Workspace`."""
        async with self._locks.setdefault(session, anyio.Lock()):
            shell = await self._shell(session)
            try:
                with shell.live.used():
                    result = await shell.run(command, timeout=timeout, max_output=max_output)
            except SandboxError:
                if self._closed:
                    raise
                return await self._lost_all(shell)
            if self._closed:
                raise SandboxError("the sandbox was closed while the command ran")
            self._cwds[session] = shell.cwd
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
        kills = self._spawner.cgroups.oom_kills(self._live.order.cgroup)
        if kills <= self._oom_seen:
            return result
        self._oom_seen = kills
        from dataclasses import replace

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
        with live.used():
            return await self._exec(live, argv, stdin, cwd, env, timeout, max_output)

    async def _exec(
        self,
        live: Live,
        argv: Sequence[str],
        stdin: bytes,
        cwd: str | None,
        env: Mapping[str, str] | None,
        timeout: float,
        max_output: int,
    ) -> CommandResult:
        channel = live.channel(error=True)
        base = f"{CONTROL}/{channel.number}"
        source = live.file(f"{channel.number}.stdin", stdin) if stdin else "/dev/null"
        words = [*(["env", *(f"{k}={v}" for k, v in env.items())] if env else []), *argv]
        program = (
            f"cd -- {shlex.quote(cwd or WORKSPACE)} && exec {shlex.join(words)}"
            f" <{source} >{base}.out 2>{base}.err 9>&-"
        )
        snippet = f'{{ printf "%s\\0" "$BASHPID" >&9; ( {program} ); printf "%s\\0" "$?" >&9; }}'
        snippet += f" </dev/null >/dev/null 2>&1 9>{base}.st &"
        out, err, status = Capture(max_output), Capture(max_output), bytearray()
        began = time.monotonic()
        poller = Poller()
        timed_out = False
        try:
            poller.add(channel.status, channel.output, channel.error, live.reply_fd)
            await live.tell(snippet)
            with anyio.move_on_after(timeout) as scope:
                while status.count(0) < 2:
                    ready = await poller.wait()
                    for fd, capture in ((channel.output, out), (channel.error, err)):
                        if fd in ready and not drain(fd, capture):
                            poller.remove(fd)
                    if channel.status in ready and not drain(channel.status, status):
                        break
                    if live.reply_fd in ready:
                        raise await live.died()
            timed_out = scope.cancelled_caught
        finally:
            fields = bytes(status).split(b"\0")
            done = len(fields) > 2
            if not done and fields[0].isdigit():
                wrapper = host_pid(live, int(fields[0]))
                if wrapper:
                    kill_command(live, wrapper, set(), began)
                    kill_pid(wrapper)
            drain(channel.output, out)
            drain(channel.error, err)
            poller.close()
            live.drop(channel)
            if stdin:
                live.remove(f"{channel.number}.stdin")
        code = int(fields[1]) if done and fields[1].isdigit() and not timed_out else None
        return self._with_oom(
            CommandResult(
                code,
                out.value(),
                err.value(),
                dropped=out.dropped + err.dropped,
                seconds=time.monotonic() - began,
                timed_out=timed_out,
            )
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
        if self._closed or self._files is None:
            raise SandboxError("the sandbox is closed")
        began = time.monotonic()
        line = self._command_line(argv, init=False, cwd=cwd or WORKSPACE, env=env)
        source = os.memfd_create("stdin", os.MFD_CLOEXEC)
        ends: list[int] = [source]
        poller = Poller()
        order: Order | None = None
        out, err = Capture(max_output), Capture(max_output)
        timed_out = False
        try:
            os.write(source, stdin)
            os.lseek(source, 0, os.SEEK_SET)
            (out_fd, out_end), (err_fd, err_end) = self._pipe(), self._pipe()
            ends += [out_end, err_end, out_fd, err_fd]
            fds = {"ns": self._files.namespace, "stdin": source, "stdout": out_end}
            order = self._order({"argv": line}, {**fds, "stderr": err_end})
            close_all(ends[:3])
            del ends[:3]
            await order.started()
            poller.add(out_fd, err_fd, order.reply.fileno())
            with anyio.move_on_after(timeout) as scope:
                await self._collect(order, poller, {out_fd: out, err_fd: err})
            if scope.cancelled_caught:
                timed_out = True
                self._spawner.kill(order.pid)
            code = await order.exited()
            drain(out_fd, out)
            drain(err_fd, err)
        finally:
            if order is not None:
                if order.exit_code is None and order.pid:
                    self._spawner.kill(order.pid)
                order.close()
            poller.close()
            close_all(ends)
        return CommandResult(
            None if timed_out else code,
            out.value(),
            err.value(),
            dropped=out.dropped + err.dropped,
            seconds=time.monotonic() - began,
            timed_out=timed_out,
            oom_killed=order.oom_kills > 0,
        )

    def _pipe(self) -> tuple[int, int]:
        read, write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(read, False)
        if self._owner is not None:  # else programs inside could not open /dev/stdout again
            os.fchown(write, *self._owner)
        return read, write

    @staticmethod
    async def _collect(order: Order, poller: Poller, captures: dict[int, Capture]) -> None:
        reply = order.reply.fileno()
        while True:
            ready = await poller.wait()
            for fd, capture in captures.items():
                if fd in ready and not drain(fd, capture):
                    poller.remove(fd)
            if reply in ready:
                return

    # -- the change, snapshots ---------------------------------------------------------------

    async def _end_live(self) -> None:
        """Kill every process inside; files stay."""
        live, self._live = self._live, None
        shells = list(self._shells.values())
        self._shells.clear()
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
        if self._files is None or self._closed:
            raise SandboxError("the sandbox is closed")
        layers = [layer / "workspace" for layer in self.spec.layers]
        try:
            upper: int | None = os.open("upper/workspace", _DIRECTORY, dir_fd=self._files.base)
        except FileNotFoundError:
            upper = None
        try:
            merged = self._beneath().fd
            exporter = Exporter(upper, merged, layers, max_file_bytes)
            return await anyio.to_thread.run_sync(exporter.run)
        finally:
            if upper is not None:
                os.close(upper)

    async def snapshot(self) -> Snapshot:
        """See :class:`~repodrome.envs.sandbox.base.Sandbox`."""
        files, shells = await self._copy_out()
        return BubblewrapSnapshot(files, shells)

    async def _shell_states(self) -> dict[str, tuple[str, bytes]]:
        """Each idle shell's cwd and the script that brings its state back."""
        states = {}
        for name, shell in list(self._shells.items()):
            lock = self._locks.setdefault(name, anyio.Lock())
            if lock.statistics().locked or shell.lost:
                continue
            async with lock:
                states[name] = (shell.cwd, await shell.save())
        return states

    async def _copy_out(self) -> tuple[Files, dict[str, tuple[str, bytes]]]:
        if self._files is None or self._closed:
            raise SandboxError("the sandbox is closed")
        shells = await self._shell_states()
        message = {
            "snapshot": True,
            "size": self.spec.limits.disk_mb << 20,
            "inodes": self.spec.limits.inodes,
        }
        self._freeze(True)
        try:
            order = self._spawner.order(message, {"copy": self._files.base})
            try:
                await order.started()
                files = Files(*order.handles)
            finally:
                order.close()
        finally:
            self._freeze(False)
        return files, shells

    def _freeze(self, frozen: bool) -> None:
        if self._live is not None:
            self._spawner.cgroups.freeze(self._live.order.cgroup, frozen)

    async def restore(self, snapshot: Snapshot) -> None:
        """See :class:`~repodrome.envs.sandbox.base.Sandbox`."""
        if not isinstance(snapshot, BubblewrapSnapshot) or snapshot.files.base < 0:
            raise SandboxError("not a snapshot of this backend, or one that was released")
        async with self._reviving:
            await self._end_live()
            self._release_files()
        self._restore_shells(snapshot.shells)
        await self.start(live=True, copy=snapshot.files)

    def _restore_shells(self, shells: Mapping[str, tuple[str, bytes]]) -> None:
        self._cwds = {name: cwd for name, (cwd, _) in shells.items()}
        self._states = {name: state for name, (_, state) in shells.items()}

    async def fork(self) -> BubblewrapSandbox:
        """See :class:`~repodrome.envs.sandbox.base.Sandbox`."""
        if self._files is None or self._closed:
            raise SandboxError("the sandbox is closed")
        twin = BubblewrapSandbox(self.spec, self._spawner, self._bwrap, None)
        twin._restore_shells(await self._shell_states())
        self._freeze(True)
        try:
            await twin.start(live=True, copy=self._files)
        finally:
            self._freeze(False)
        return twin

    async def commit(self, target: Path) -> None:
        """See :class:`~repodrome.envs.sandbox.base.Sandbox`."""
        if self._persist is None:
            raise SandboxError("only a sandbox started with persist=True can be committed")
        upper = self._persist / "upper"
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
        try:
            await self._end_live()
        finally:
            self._release_files()

    async def __aenter__(self) -> BubblewrapSandbox:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
