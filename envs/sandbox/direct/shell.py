"""Persistent shells: state survives between commands, each command's status comes out of band."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import anyio

from repodrome.envs.sandbox.base import WORKSPACE
from repodrome.envs.sandbox.direct.capture import Capture, claimed, drain
from repodrome.envs.sandbox.direct.dialogue import (
    BIG_COMMAND,
    GRACE,
    OPEN_SECONDS,
    STATE,
    shell_line,
    take_records,
)
from repodrome.envs.sandbox.direct.layout import CONTROL
from repodrome.envs.sandbox.direct.live import Channel, Live, encode, write_all
from repodrome.envs.sandbox.direct.processes import (
    children,
    host_pid,
    kill_command,
    kill_pid,
)
from repodrome.envs.sandbox.direct.streams import Poller
from repodrome.errors import SandboxError
from repodrome.tools.workspace import CommandResult


@dataclass
class Shell:
    """One session.

    Attributes:
        cwd: where the shell was after its last command.
        pid: host pid of the shell.
        lost: it has ended, or must not be used any more.
    """

    live: Live
    channel: Channel
    poller: Poller
    name: str
    cwd: str = WORKSPACE
    pid: int = 0
    number: int = 0
    lost: bool = False
    _status: bytearray = field(default_factory=bytearray)

    @classmethod
    async def open(cls, live: Live, name: str, *, cwd: str = WORKSPACE, state: str = "") -> Shell:
        """Start a shell and wait until it answers.

        Args:
            state: path inside of a script that brings back a former shell's state.

        Raises:
            SandboxError: the sandbox ended.
            TimeoutError: it doesn't come up, which the agent's processes can bring about.
        """
        poller = Poller()
        try:
            channel = live.channel(input=True)
        except SandboxError:
            poller.close()
            raise
        shell = cls(live, channel, poller, name, cwd=cwd)
        base = f"{CONTROL}/{channel.number}"
        try:
            poller.add(channel.status, live.reply_fd)
            with live.used(), anyio.fail_after(OPEN_SECONDS):
                await live.tell(shell_line(base, live.enter, cwd, state))
                await shell._ready()
            poller.add(channel.output)
        except BaseException:
            shell.close()
            raise
        for file in channel.names:
            live.remove(file)
        channel.names.clear()
        return shell

    async def _ready(self) -> None:
        while True:
            if self.live.reply_fd in await self.poller.wait():
                raise await self.live.died()
            open_still = drain(self.channel.status, self._status)
            for fields in take_records(self._status, b"0"):
                inside = claimed(fields[1])
                self.live.protected.add(inside)
                self.pid = host_pid(self.live, inside) or 0
                if self.pid:
                    return
            if not open_still:
                raise TimeoutError("the shell ended as it began")

    async def run(self, command: str, *, timeout: float, max_output: int) -> CommandResult:
        """Run one command; afterwards ``lost`` says whether the shell is still there.

        Raises:
            SandboxError: the sandbox ended.
        """
        self.number += 1
        capture = Capture(max_output)
        began = time.monotonic()
        before = children(self.pid)
        file = ""
        data = encode(command).replace(b"\0", b"")
        if len(data) > BIG_COMMAND:
            file = f"{self.channel.number}.cmd"
            data = f". {self.live.file(file, data)}".encode()
        status: int | None = None
        timed_out = False
        finished = False
        try:
            with anyio.move_on_after(timeout) as scope:
                await write_all(self.channel.input, b"%d\0%s\0" % (self.number, data))
                status = await self._finish(capture)
            if scope.cancelled_caught:
                timed_out = True
                status = await self._stop(capture, before, began)
            finished = True
        finally:
            if not finished:  # cancelled half-way: what runs must not go on, nor answer the next
                self._abandon(before, began)
            if file:
                self.live.remove(file)
        drain(self.channel.output, capture)
        return CommandResult(
            exit_code=None if timed_out else status,
            stdout=capture.value(),
            dropped=capture.dropped,
            seconds=time.monotonic() - began,
            timed_out=timed_out,
            shell_lost=self.lost,
        )

    async def _finish(self, capture: Capture) -> int | None:
        """Read until the command's status comes; None when the shell ended instead."""
        while True:
            ready = await self.poller.wait()
            if self.channel.output in ready and not drain(self.channel.output, capture):
                self.poller.remove(self.channel.output)
            if self.channel.status in ready:
                open_still = drain(self.channel.status, self._status)
                status = self._answer()
                if status is not None:
                    return status
                if not open_still:
                    self.lost = True
                    return None
            if self.live.reply_fd in ready:
                raise await self.live.died()

    def _answer(self) -> int | None:
        """The status of the present command; answers to earlier ones are forgeries or late."""
        for fields in take_records(self._status, b"%d" % self.number):
            if len(fields) == 3:
                self.cwd = fields[2].decode(errors="surrogateescape")
                return claimed(fields[1])
        return None

    async def _stop(self, capture: Capture, before: set[int], began: float) -> int | None:
        """Kill the command's process tree, and the shell too where it doesn't come back."""
        for _ in range(3):
            kill_command(self.live, self.pid, before, began)
            with anyio.move_on_after(GRACE / 3):
                return await self._finish(capture)
        self._abandon(before, began)
        return None

    def _abandon(self, before: set[int], began: float) -> None:
        self.lost = True
        kill_command(self.live, self.pid, before, began)
        if self.pid:
            kill_pid(self.pid)

    async def save(self) -> bytes:
        """A script that brings this shell's state (cwd, exports, functions, options) to another."""
        result = await self.run(STATE, timeout=5, max_output=8 << 20)
        return result.stdout if result.exit_code == 0 and not result.dropped else b""

    def close(self) -> None:
        """Let go of the shell: its input ends, so it does."""
        self.poller.close()
        self.live.drop(self.channel)
