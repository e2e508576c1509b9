"""The agent's init, shells and programs, as the keeper drives them. Standard library only.

Init is a bash that the engine has started in the agent's container, and that evaluates what comes
out of a FIFO; whatever it starts talks to the keeper over FIFOs of a directory that both containers
see and the agent can't write to. Everything here runs in threads and blocks.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from repodrome.envs.sandbox.direct.capture import Capture, claimed, drain
from repodrome.envs.sandbox.direct.dialogue import (
    BIG_COMMAND,
    GRACE,
    OPEN_SECONDS,
    STATE,
    program_line,
    shell_line,
    take_records,
)
from repodrome.envs.sandbox.docker.api.inside.processes import (
    boot_clock,
    children,
    end_of,
    kill_command,
    kill_pid,
    look,
)


class LostError(Exception):
    """Init has ended; there must be a new one."""


class CancelledError(Exception):
    """Whoever asked wants no answer any more."""


@dataclass(frozen=True)
class World:
    """What is the same for all: the directory of FIFOs here and there, and whose processes run."""

    here: str
    there: str
    uid: int
    gid: int

    def fifo(self, name: str, flags: int) -> int:
        """Make a FIFO that the agent's processes may open, and open it."""
        path = f"{self.here}/{name}"
        os.mkfifo(path, 0o600)
        os.chown(path, self.uid, self.gid)
        return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)

    def file(self, name: str, data: bytes) -> str:
        """Leave a file for programs to read; its path as they see it."""
        path = f"{self.here}/{name}"
        with open(path, "wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(data)
        return f"{self.there}/{name}"

    def remove(self, *names: str) -> None:
        """Remove FIFOs and files, if they are there."""
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(f"{self.here}/{name}")


class Wait:
    """What a request waits for: data, its deadline, or that it is cancelled.

    Args:
        stop: descriptor that can be read once it is.
    """

    def __init__(self, timeout: float, stop: int) -> None:
        self._deadline, self._stop = time.monotonic() + timeout, stop

    def ready(self, *fds: int) -> set[int]:
        """Descriptors that can be read or have ended.

        Raises:
            TimeoutError, CancelledError.
        """
        poll = select.poll()
        for fd in (*fds, self._stop):
            poll.register(fd, select.POLLIN)
        left = self._deadline - time.monotonic()
        found = {fd for fd, _ in poll.poll(max(0.0, left * 1000))} if left > 0 else set()
        if self._stop in found:
            raise CancelledError
        if not found:
            raise TimeoutError
        return found


class Live:
    """A running init.

    Attributes:
        pid: of it.
    """

    def __init__(self, world: World, number: int) -> None:
        self.world, self.pid, self._count, self._pidfd = world, 0, 0, -1
        self._users, self._closing, self._lock = 0, False, threading.Lock()
        self._prefix = f"{number}"
        self.control = world.fifo(f"{number}.init", os.O_RDWR)
        self._status = world.fifo(f"{number}.up", os.O_RDONLY)

    def ready(self, wait: Wait) -> None:
        """Wait until it answers.

        Raises:
            TimeoutError: it doesn't.
        """
        said = bytearray()
        while not said.endswith(b"\0"):
            wait.ready(self._status)
            if not drain(self._status, said) and not said.endswith(b"\0"):
                raise TimeoutError
        process = look(claimed(bytes(said[:-1])))
        if process is None or process.parent != 0:  # what the engine starts has no parent here
            raise TimeoutError
        self.pid, self._pidfd = process.pid, end_of(process.pid)

    @property
    def ended_fd(self) -> int:
        """Can be read once init has ended."""
        return self._pidfd

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._pidfd >= 0 and not select.select([self._pidfd], [], [], 0)[0]

    def tell(self, snippet: str) -> None:
        """Have init evaluate a piece of bash."""
        _write(self.control, os.fsencode(snippet) + b"\0", self._pidfd)

    def channel(self) -> str:
        """A new name for FIFOs."""
        self._count += 1
        return f"{self._prefix}-{self._count}"

    @contextmanager
    def used(self) -> Iterator[None]:
        """While something waits on it: its descriptors stay open so long.

        Raises:
            LostError: it was let go of.
        """
        with self._lock:
            if self._closing:
                raise LostError
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._closing and not self._users:
                    self._release()

    def close(self) -> None:
        """Let go of it; idempotent."""
        with self._lock:
            self._closing = True
            if not self._users:
                self._release()

    def _release(self) -> None:
        for fd in (self.control, self._status, self._pidfd):
            if fd >= 0:
                os.close(fd)
        self.control = self._status = self._pidfd = -1
        self.world.remove(f"{self._prefix}.init", f"{self._prefix}.up")


@dataclass
class Result:
    """What a command did, in the words of ``CommandResult``."""

    exit_code: int | None
    out: Capture
    err: Capture | None = None
    timed_out: bool = False
    shell_lost: bool = False


@dataclass
class Shell:
    """One persistent shell; see :mod:`repodrome.envs.sandbox.direct.shell`, whose twin it is."""

    live: Live
    name: str
    cwd: bytes
    pid: int = 0
    lost: bool = False
    number: int = 0
    _fds: dict[str, int] = field(default_factory=dict)
    _said: bytearray = field(default_factory=bytearray)

    def open(self, state: bytes) -> None:
        """Start it and wait until it answers.

        Raises:
            TimeoutError: it doesn't come up, which the agent's processes can bring about.
            LostError: init has ended.
        """
        world, base = self.live.world, self.live.channel()
        names = [f"{base}.{kind}" for kind in ("in", "out", "st")]
        try:
            for kind, name in zip(("in", "out", "st"), names, strict=True):
                flags = os.O_RDWR if kind == "in" else os.O_RDONLY
                self._fds[kind] = world.fifo(name, flags)
            path = ""
            if state:
                path = world.file(f"{base}.state", state)
            there, cwd = f"{world.there}/{base}", os.fsdecode(self.cwd)
            self.live.tell(shell_line(there, "exec ", cwd, path))
            self._ready()
        except BaseException:
            self.close()
            raise
        finally:
            world.remove(*names, f"{base}.state")

    def _ready(self) -> None:
        wait = Wait(OPEN_SECONDS, self.live.ended_fd)
        while True:
            try:
                wait.ready(self._fds["st"])
            except CancelledError:
                raise LostError from None
            open_still = drain(self._fds["st"], self._said)
            for fields in take_records(self._said, b"0"):
                process = look(claimed(fields[1]))
                if process is not None and process.parent == self.live.pid:
                    self.pid = process.pid
                    return
            if not open_still:
                raise TimeoutError

    def run(self, command: bytes, timeout: float, max_output: int, stop: int) -> Result:
        """Run one command; afterwards ``lost`` says whether the shell is still there."""
        self.number += 1
        result = Result(None, Capture(max_output))
        began, before, file = boot_clock(), children(self.pid), ""
        command = command.replace(b"\0", b"")
        finished = False
        try:
            if len(command) > BIG_COMMAND:
                file = f"{self.live.channel()}.cmd"
                command = f". {self.live.world.file(file, command)}".encode()
            _write(self._fds["in"], b"%d\0%s\0" % (self.number, command), self.live.ended_fd)
            try:
                result.exit_code = self._finish(result.out, Wait(timeout, stop))
            except TimeoutError:
                result.timed_out = True
                self._stop(result.out, before, began, stop)
            finished = True
        finally:
            if not finished:  # cancelled half-way: what runs must not go on, nor answer the next
                self._abandon(before, began)
            if file:
                self.live.world.remove(file)
        drain(self._fds["out"], result.out)
        result.shell_lost = self.lost
        return result

    def _finish(self, capture: Capture, wait: Wait) -> int | None:
        """Read until the command's status comes; None when the shell ended instead."""
        fds = [self._fds["st"], self._fds["out"]]
        while True:
            ready = wait.ready(*fds, self.live.ended_fd)
            if self._fds["out"] in ready and not drain(self._fds["out"], capture):
                fds = fds[:1]
            if self._fds["st"] in ready:
                open_still = drain(self._fds["st"], self._said)
                for fields in take_records(self._said, b"%d" % self.number):
                    if len(fields) == 3:
                        self.cwd = fields[2]
                        return claimed(fields[1])
                if not open_still:
                    self.lost = True
                    return None
            if self.live.ended_fd in ready:
                self.lost = True
                return None

    def _stop(self, capture: Capture, before: set[int], began: float, stop: int) -> None:
        """Kill the command's process tree, and the shell too where it doesn't come back."""
        for _ in range(3):
            kill_command(self.pid, before, began, self.live.world.uid)
            with suppress(TimeoutError):
                self._finish(capture, Wait(GRACE / 3, stop))
                return
        self._abandon(before, began)

    def _abandon(self, before: set[int], began: float) -> None:
        self.lost = True
        kill_command(self.pid, before, began, self.live.world.uid)
        kill_pid(self.pid, self.live.world.uid)

    def save(self, stop: int) -> bytes:
        """A script that brings this shell's state (cwd, exports, functions, options) to another."""
        result = self.run(STATE.encode(), 5.0, 8 << 20, stop)
        return result.out.value() if result.exit_code == 0 and not result.out.dropped else b""

    def close(self) -> None:
        """Let go of the shell: its input ends, so it does."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()


def run_beside(
    live: Live,
    argv: Sequence[bytes],
    stdin: bytes,
    cwd: bytes,
    env: Mapping[str, str],
    timeout: float,
    max_output: int,
    stop: int,
) -> Result:
    """Run a program as a child of init, among the agent's processes.

    Raises:
        LostError: init has ended.
        CancelledError: as asked.
    """
    world, base = live.world, live.channel()
    out, err, said = Capture(max_output), Capture(max_output), bytearray()
    fds: dict[str, int] = {}
    timed_out, began = False, boot_clock()
    try:
        for kind in ("st", "out", "err"):
            fds[kind] = world.fifo(f"{base}.{kind}", os.O_RDONLY)
        source = world.file(f"{base}.stdin", stdin) if stdin else "/dev/null"
        words = [os.fsdecode(word) for word in argv]
        there = f"{world.there}/{base}"
        live.tell(program_line(there, "exec ", words, source, os.fsdecode(cwd), env))
        wait, watched = Wait(timeout, stop), list(fds.values())
        try:
            while said.count(0) < 2:
                del said[1 << 12 :]  # a forger's
                ready = wait.ready(*watched, live.ended_fd)
                for kind, capture in (("out", out), ("err", err)):
                    if fds[kind] in ready and not drain(fds[kind], capture):
                        watched.remove(fds[kind])
                if fds["st"] in ready and not drain(fds["st"], said):
                    break
                if live.ended_fd in ready:
                    raise LostError
        except TimeoutError:
            timed_out = True
    finally:
        fields = bytes(said).split(b"\0")
        done = len(fields) > 2
        wrapper = look(claimed(fields[0])) if not done and len(fields) > 1 else None
        if wrapper is not None and wrapper.parent == live.pid:
            kill_command(wrapper.pid, set(), began, world.uid)
            kill_pid(wrapper.pid, world.uid)
        for kind, capture in (("out", out), ("err", err)):
            if kind in fds:
                drain(fds[kind], capture)
        for fd in fds.values():
            os.close(fd)
        world.remove(*(f"{base}.{kind}" for kind in ("st", "out", "err", "stdin")))
    code = claimed(fields[1]) if done and not timed_out else -1
    return Result(code if code >= 0 else None, out, err, timed_out)


def _write(fd: int, data: bytes, ended: int) -> None:
    """Write everything to a FIFO that somebody should be reading.

    Raises:
        LostError: nobody will, since init has ended.
        TimeoutError: nobody does.
    """
    view, deadline = memoryview(data), time.monotonic() + OPEN_SECONDS
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            if select.select([ended], [fd], [], max(0.0, deadline - time.monotonic()))[0]:
                raise LostError from None
            if time.monotonic() >= deadline:
                raise TimeoutError from None
