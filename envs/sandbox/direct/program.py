"""Running one program: beside the agent, or in fresh namespaces with a status that counts."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

import anyio

from repodrome.envs.sandbox.direct.capture import Capture, claimed, drain
from repodrome.envs.sandbox.direct.client import Order
from repodrome.envs.sandbox.direct.dialogue import program_line
from repodrome.envs.sandbox.direct.layout import CONTROL
from repodrome.envs.sandbox.direct.live import Live
from repodrome.envs.sandbox.direct.place import Place
from repodrome.envs.sandbox.direct.processes import host_pid, kill_command, kill_pid
from repodrome.envs.sandbox.direct.streams import Poller, close_all
from repodrome.errors import SandboxError
from repodrome.tools.workspace import CommandResult

MAX_STATUS = 1 << 12
"""Bytes of status: a pid and an exit status; anything longer is forged."""


@dataclass(frozen=True)
class Program:
    """What to run.

    Attributes:
        cwd: absolute path inside.
        env: variables beside the sandbox's own.
        max_output: bytes kept of each stream.
    """

    argv: tuple[str, ...]
    stdin: bytes
    cwd: str
    env: Mapping[str, str]
    max_output: int

    async def run_beside(self, live: Live, timeout: float) -> CommandResult:
        """Run it as a child of the sandbox's init, among the agent's processes."""
        out, err, status = Capture(self.max_output), Capture(self.max_output), bytearray()
        began = time.monotonic()
        poller = Poller()
        try:
            channel = live.channel(error=True)
        except SandboxError:
            poller.close()
            raise
        timed_out = False
        try:
            poller.add(channel.status, channel.output, channel.error, live.reply_fd)
            with anyio.move_on_after(timeout) as scope:
                await live.tell(self._line(live, channel.number))
                while status.count(0) < 2:
                    del status[MAX_STATUS:]  # a forger's
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
            if not done:
                wrapper = host_pid(live, claimed(fields[0]))
                if wrapper:
                    kill_command(live, wrapper, set(), began)
                    kill_pid(wrapper)
            drain(channel.output, out)
            drain(channel.error, err)
            poller.close()
            live.drop(channel)
            if self.stdin:
                live.remove(f"{channel.number}.stdin")
        code = claimed(fields[1]) if done and not timed_out else -1
        return result_of(code if code >= 0 else None, out, err, began, timed_out)

    def _line(self, live: Live, number: int) -> str:
        source = live.file(f"{number}.stdin", self.stdin) if self.stdin else "/dev/null"
        base = f"{CONTROL}/{number}"
        return program_line(base, live.enter, self.argv, source, self.cwd, self.env)

    async def run_fresh(
        self, place: Place, namespace: int, timeout: float, running: set[Order]
    ) -> CommandResult:
        """Run it in namespaces of its own over the files of mount namespace ``namespace``.

        Meanwhile it is in ``running``, for whoever closes the sandbox.
        Its status is the one that the spawner's waitpid reported for bwrap.

        Raises:
            SandboxError: it could not be started, or the spawner is gone.
        """
        began = time.monotonic()
        entry = place.enter(self.argv, init=False, cwd=self.cwd, env=self.env)
        poller = Poller()
        order: Order | None = None
        out, err = Capture(self.max_output), Capture(self.max_output)
        timed_out = False
        ours: list[int] = []
        theirs: list[int] = []
        try:
            try:
                self._streams(ours, theirs, place.owner)
                names = ("ns", "stdin", "stdout", "stderr")
                fds = dict(zip(names, (namespace, *theirs), strict=True))
                order = place.order(entry, fds)
            except OSError as error:
                raise SandboxError(f"a program could not be started: {error}") from error
            finally:
                close_all(theirs)
            running.add(order)
            out_fd, err_fd = ours
            await order.started()
            poller.add(out_fd, err_fd, order.reply.fileno())
            with anyio.move_on_after(timeout) as scope:
                await _collect(order, poller, {out_fd: out, err_fd: err})
            if scope.cancelled_caught:
                timed_out = True
                order.kill()
            code = await order.ended()
            drain(out_fd, out)
            drain(err_fd, err)
        finally:
            if order is not None:
                running.discard(order)
                order.close()
            poller.close()
            close_all(ours)
        oom_killed = order.oom_kills > 0
        return result_of(None if timed_out else code, out, err, began, timed_out, oom_killed)

    def _streams(self, ours: list[int], theirs: list[int], owner: tuple[int, int] | None) -> None:
        """Add the host's ends of output and error, and the program's three, as they are made."""
        theirs.append(os.memfd_create("stdin", os.MFD_CLOEXEC))
        with os.fdopen(os.dup(theirs[0]), "wb") as file:
            file.write(self.stdin)
        os.lseek(theirs[0], 0, os.SEEK_SET)
        for _ in range(2):
            read, write = os.pipe2(os.O_CLOEXEC)
            ours.append(read)
            theirs.append(write)
            os.set_blocking(read, False)
            if owner is not None:  # else programs inside could not open /dev/stdout again
                os.fchown(write, *owner)


async def _collect(order: Order, poller: Poller, captures: dict[int, Capture]) -> None:
    reply = order.reply.fileno()
    while True:
        ready = await poller.wait()
        for fd, capture in captures.items():
            if fd in ready and not drain(fd, capture):
                poller.remove(fd)
        if reply in ready:
            return


def result_of(
    code: int | None,
    out: Capture,
    err: Capture,
    began: float,
    timed_out: bool,
    oom_killed: bool = False,
) -> CommandResult:
    """What a program has done that began at ``began`` on the monotonic clock, and ends now."""
    return CommandResult(
        code,
        out.value(),
        err.value(),
        dropped=out.dropped + err.dropped,
        seconds=time.monotonic() - began,
        timed_out=timed_out,
        oom_killed=oom_killed,
    )
