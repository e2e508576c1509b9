"""Sandboxes started ahead of time, with nothing in them: the next order of their kind fills one.

Standard library only.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from repodrome.envs.sandbox.direct.blank import Blank, end_program
from repodrome.envs.sandbox.direct.messages import MAX_MESSAGE, send
from repodrome.envs.sandbox.direct.mounts import Filesystem
from repodrome.envs.sandbox.direct.syscalls import CLONE_NEWNS, setns, write_file


class Profile:
    """What live sandboxes of the same kind have in common, whatever their task.

    Args:
        order: command line, limits of processes and toolchains.
        seccomp: descriptor of the filter's program, or -1.
    """

    def __init__(self, order: dict[str, Any], seccomp: int) -> None:
        self.order, self.seccomp = order, seccomp

    def fits(self, order: dict[str, Any]) -> bool:
        """Whether a sandbox of this profile will do for an order."""
        return all(order[key] == value for key, value in self.order.items())


class Warm:
    """A sandbox that runs already, with nothing in it: the next order of its profile fills it."""

    def __init__(self, profile: Profile, blank: Blank) -> None:
        self.profile, self.name, self.pid = profile, blank.name, blank.pid
        self.paths, self.oom_before = blank.paths, 0
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stdin, self.control = os.pipe2(os.O_CLOEXEC)
        self.stderr = os.memfd_create("stderr", os.MFD_CLOEXEC)
        fds = {"reply": theirs.fileno(), "stdin": stdin}
        fds |= {"stdout": self.stderr, "stderr": self.stderr}
        seccomp = -1
        if profile.seccomp >= 0:  # whoever reads it needs an offset of its own
            seccomp = fds["seccomp"] = os.memfd_create("seccomp", os.MFD_CLOEXEC)
            os.write(seccomp, os.pread(profile.seccomp, 1 << 20, 0))
            os.lseek(seccomp, 0, os.SEEK_SET)
        small = {"size": 1 << 20, "inodes": 1000}
        order = {**profile.order, **small, "empty": True, "pid": blank.pid, "fds": list(fds)}
        send(blank.sock, order, tuple(fds.values()))
        blank.sock.close()
        theirs.close()
        os.close(stdin)
        if seccomp >= 0:
            os.close(seccomp)

    def namespace(self) -> int:
        """Its mount namespace; -1 while it is not ready."""
        try:
            _, fds, _, _ = socket.recv_fds(self.sock, MAX_MESSAGE, 1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return -1
        return fds[0] if fds else -1

    def close(self) -> None:
        """Let go of it."""
        self.sock.close()
        os.close(self.control)
        os.close(self.stderr)


class WarmSandboxes:
    """Those that run, all of the profile that was ordered last."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._profile: Profile | None = None
        self._ready: list[Warm] = []
        self._numbered = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    @property
    def names(self) -> list[str]:
        """Of their cgroups."""
        return [warm.name for warm in self._ready]

    @property
    def lacking(self) -> bool:
        """There should be more."""
        return self._profile is not None and len(self._ready) < self._config["ready"]

    def add(self, blank: Blank) -> bool:
        """Start one more like the last one; False: out of descriptors, and there will be none."""
        assert self._profile is not None
        try:
            self._ready.append(Warm(self._profile, blank))
        except OSError:
            self._profile = None
            return False
        return True

    def remember(self, order: dict[str, Any], fds: list[int]) -> None:
        """The next ones will be like what is ordered here."""
        if self._profile is not None:
            if self._profile.fits(order):
                return
            if self._profile.seccomp >= 0:
                os.close(self._profile.seccomp)
            for warm in self._ready:
                end_program(warm.pid)
        names = order["fds"][1:]
        seccomp = os.dup(fds[names.index("seccomp")]) if "seccomp" in names else -1
        common = {key: order[key] for key in ("argv", "rlimits", "toolchains")}
        self._profile = Profile(common, seccomp)

    def take(self, order: dict[str, Any]) -> tuple[Warm, int] | None:
        """One that an order fits, and its mount namespace; None where none will do."""
        found = next((warm for warm in self._ready if warm.profile.fits(order)), None)
        namespace = -1 if found is None else found.namespace()
        if found is None or namespace < 0:
            return None
        self._ready.remove(found)
        return found, namespace

    def fill(self, warm: Warm, namespace: int, order: dict[str, Any], reply: socket.socket) -> bool:
        """Carry out an order with what :meth:`take` gave; False: it couldn't, and is ended."""
        handles: list[int] = []
        home = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            for controller, name, value in order["limits"]:
                directory = warm.paths.get(controller)
                if directory:
                    write_file(f"{directory}/{name}", value)
            setns(namespace, CLONE_NEWNS)
            try:
                os.fchdir(self._numbered)  # /proc there is another pid namespace's
                handles += Filesystem(self._config, order, {}, ".").fill()
            finally:
                setns(home, CLONE_NEWNS)
            answer = {"pid": warm.pid, "cgroup": warm.paths, "warm": True}
            send(reply, answer, (*handles, namespace, warm.control, warm.stderr))
        except OSError:  # a new one will do, or say what is wrong
            end_program(warm.pid)
            return False
        finally:
            for fd in (*handles, namespace, home):
                os.close(fd)
            warm.close()
        return True

    def reaped(self, pid: int) -> str | None:
        """One has ended before its order; returns its cgroup's name, None: it was none of these."""
        for warm in self._ready:
            if warm.pid == pid:
                warm.close()
                self._ready.remove(warm)
                if warm.profile is self._profile:
                    self._profile = None  # one that can't start must not become a fork storm
                return warm.name
        return None
