"""The live side of a sandbox: its init (pid 1), and channels to programs that init starts.

Init is a bash loop that evaluates what the host sends on its standard input. As pid 1 it can't be
killed from inside, and with it the sandbox ends when the host lets go of the pipe. Programs talk to
the host over FIFOs in a directory that is read-only inside: output, status, and input where needed.
Status and framing travel on a FIFO of their own, never in the output. All the same, the agent's
processes run as the same user, so nothing here is proof of anything: what counts is run by
:meth:`DirectSandbox.run`.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import anyio

from repodrome.envs.sandbox.direct import cgroup
from repodrome.envs.sandbox.direct.client import END_SECONDS, Order
from repodrome.envs.sandbox.direct.dialogue import BASH, INIT
from repodrome.envs.sandbox.direct.layout import CONTROL
from repodrome.envs.sandbox.direct.streams import close_all, read_proc
from repodrome.errors import SandboxError, WorkspaceError

INIT_ARGV = (*BASH, INIT)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_READ_ONLY = frozenset({"BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID"})


@dataclass
class Channel:
    """The FIFOs of one program, as opened by the host."""

    number: int
    output: int = -1
    status: int = -1
    error: int = -1
    input: int = -1
    names: list[str] = field(default_factory=list)

    def close(self) -> None:
        """Close the host's ends; idempotent."""
        close_all((self.output, self.status, self.error, self.input))
        self.output = self.status = self.error = self.input = -1


class Live:
    """A running init and what it takes to talk to it.

    Args:
        order: the order that started it.
        control: write end of init's standard input.
        ctl: descriptor of the control directory.
        stderr: descriptor of the memory file that has bwrap's own complaints.
        owner: uid and gid that FIFOs must have, or None where that is ours.
        enter: what starts a program with the task's variables; see :func:`entrance`.
    """

    def __init__(
        self,
        order: Order,
        *,
        control: int,
        ctl: int,
        stderr: int,
        owner: tuple[int, int] | None,
        enter: str,
    ) -> None:
        self.order = order
        self.control, self.ctl, self.stderr, self.owner = control, ctl, stderr, owner
        self.enter = enter
        self.protected: set[int] = {1}
        """Pids inside of init and of what it runs for the host."""
        self._count = 0
        self._users = 0
        self._frozen = 0
        self._unused: anyio.Event | None = None
        self._closed = False

    @property
    def reply_fd(self) -> int:
        """Readable when the sandbox has ended."""
        return self.order.reply.fileno()

    @contextmanager
    def used(self) -> Iterator[None]:
        """While something waits on this sandbox; :meth:`close` lets it see the end first."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if self._users == 0 and self._unused is not None:
                self._unused.set()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """While its files are copied: nothing inside runs, where the kernel offers that."""
        self._frozen += 1
        cgroup.freeze(self.order.cgroup, True)
        try:
            yield
        finally:
            self._frozen -= 1
            if not self._frozen:  # else another copy is being taken
                cgroup.freeze(self.order.cgroup, False)

    def channel(self, *, error: bool = False, input: bool = False) -> Channel:
        """Make the FIFOs of a new program.

        Raises:
            SandboxError: the sandbox was closed, or they can't be made.
        """
        self._open()
        self._count += 1
        made = Channel(self._count)
        try:
            made.output = self._fifo(made, "out", os.O_RDONLY)
            made.status = self._fifo(made, "st", os.O_RDONLY)
            if error:
                made.error = self._fifo(made, "err", os.O_RDONLY)
            if input:
                made.input = self._fifo(made, "in", os.O_RDWR)
        except OSError as problem:
            self.drop(made)
            raise SandboxError(f"no channel into the sandbox: {problem}") from problem
        return made

    def _fifo(self, channel: Channel, kind: str, flags: int) -> int:
        name = f"{channel.number}.{kind}"
        os.mkfifo(name, 0o600, dir_fd=self.ctl)
        channel.names.append(name)
        if self.owner is not None:
            os.chown(name, *self.owner, dir_fd=self.ctl, follow_symlinks=False)
        return os.open(name, flags | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self.ctl)

    def _open(self) -> None:
        if self._closed:
            raise SandboxError("the sandbox was closed")

    def drop(self, channel: Channel) -> None:
        """Close a channel and remove its names."""
        channel.close()
        for name in channel.names:
            self.remove(name)
        channel.names.clear()

    def file(self, name: str, data: bytes) -> str:
        """Leave a file for programs inside to read; returns its path there.

        Raises:
            SandboxError: the sandbox was closed, or has no room for it.
        """
        self._open()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(name, flags, 0o644, dir_fd=self.ctl), "wb") as file:
                os.fchmod(file.fileno(), 0o644)  # whatever our umask: it is for another uid
                file.write(data)
        except OSError as error:
            self.remove(name)
            raise SandboxError(f"{len(data)} bytes can't go into the sandbox: {error}") from error
        return f"{CONTROL}/{name}"

    def remove(self, name: str) -> None:
        """Remove a file or FIFO of the control directory, if it is there."""
        if self.ctl >= 0:  # once closed its number may be another sandbox's
            with suppress(OSError):
                os.unlink(name, dir_fd=self.ctl)

    async def tell(self, snippet: str) -> None:
        """Have init evaluate a piece of bash.

        Raises:
            SandboxError: the sandbox was closed, or ended.
        """
        self._open()
        await write_all(self.control, encode(snippet) + b"\0")

    async def died(self) -> SandboxError:
        """The sandbox ended by itself: say why."""
        code = await self.order.exited()
        said = os.pread(self.stderr, 4096, 0).decode(errors="replace").strip()
        why = f": {said}" if said else ""
        if self.order.oom_kills:
            why = " (its memory limit killed the init process)"
        return SandboxError(f"the sandbox ended with status {code}{why}")

    def init_pid(self) -> int | None:
        """Host pid of init."""
        pid = self.order.pid
        children = read_proc(f"/proc/{pid}/task/{pid}/children").split()
        return int(children[0]) if children else None

    async def close(self) -> None:
        """Kill everything inside and wait for it; idempotent.

        Raises:
            SandboxError: it does not end, or the spawner is gone.
        """
        if self._closed:
            return
        self._closed = True
        self.order.kill()
        if self._frozen:  # bwrap too, which is to see the end of its init
            cgroup.freeze(self.order.cgroup, False)
        try:
            with anyio.CancelScope(shield=True):
                try:
                    await self.order.ended()
                finally:
                    with anyio.move_on_after(END_SECONDS):
                        if self._users:
                            self._unused = anyio.Event()
                            await self._unused.wait()
        finally:
            self.order.close()
            close_all((self.control, self.stderr, self.ctl))
            self.control = self.stderr = self.ctl = -1


def entrance(env: Mapping[str, str]) -> str:
    """The bash that, before a program's own words, replaces a shell by it with these variables.

    Init itself has none of them: it may be older than the task.
    """
    plain = {n: v for n, v in env.items() if _NAME.fullmatch(n) and n not in _READ_ONLY}
    words = shlex.join(f"{name}={value}" for name, value in plain.items())
    others = shlex.join(f"{name}={value}" for name, value in env.items() if name not in plain)
    return (f"export {words} && " if words else "") + "exec " + (f"env {others} " if others else "")


def encode(text: str) -> bytes:
    """Text of the agent's as bytes.

    Raises:
        WorkspaceError: it holds half a surrogate pair, which no encoding knows.
    """
    try:
        return os.fsencode(text)
    except UnicodeEncodeError as error:
        raise WorkspaceError(f"not valid text: {error.reason}", code="bad_text") from error


async def write_all(fd: int, data: bytes) -> None:
    """Write everything to a non-blocking descriptor.

    Raises:
        SandboxError: nobody reads there any more.
    """
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            await anyio.wait_writable(fd)
        except BrokenPipeError as error:
            raise SandboxError("the sandbox ended while it was being written to") from error
