"""The spawner's children: forked ahead of time, they carry out one order and become bwrap."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
from typing import Any, NoReturn

from repodrome.envs.sandbox.direct.messages import receive, send
from repodrome.envs.sandbox.direct.mounts import Filesystem
from repodrome.envs.sandbox.direct.syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUTS,
    MS_NODEV,
    MS_NOSUID,
    children,
    die_with_parent,
    kill,
    loopback_up,
    mount,
    setns,
    unshare,
    write_file,
)


class Blank:
    """A child waiting for its order, already in its own cgroup and namespaces.

    What bwrap would else unshare itself (network, IPC, host name) is made here, ahead of time.

    Args:
        network: stay in the host's network.
    """

    def __init__(self, config: dict[str, Any], number: int, network: bool = False) -> None:
        self.config, self.network = config, network
        self.name = f"{config['prefix']}-{number}"
        self.paths = self._cgroups()
        self.oom_before = 0
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = self._fork()
        if self.pid == 0:
            mine.close()
            self._child(theirs)
        theirs.close()
        self.sock = mine

    def _child(self, sock: socket.socket) -> NoReturn:
        code = 1
        try:
            die_with_parent()
            if os.getppid() != 0:  # the spawner is outside of this pid namespace, or has ended
                os._exit(1)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for directory in self._own_cgroups().values():
                os.makedirs(directory, exist_ok=True)
            for directory in self.paths.values():
                write_file(f"{directory}/cgroup.procs", "0")
            self._enter()
            data, fds = receive(sock)
            if data:
                self._obey(json.loads(data), fds)
                code = 0
        except OSError as error:
            os.write(2, f"repodrome spawner: a child could not start: {error}\n".encode())
        finally:
            os._exit(code)

    def _own_cgroups(self) -> dict[str, str]:
        """Directories to be made for it alone, by controller."""
        return {c: f"{d}/{self.name}" for c, d in self.config["cgroups"].items()}

    def _cgroups(self) -> dict[str, str]:
        """The directories of its cgroup, by controller."""
        return self._own_cgroups()

    def _fork(self) -> int:
        return os.fork()

    def _enter(self) -> None:
        """Make what does not depend on the order."""
        unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS)
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV)  # bwrap looks itself up there
        socket.sethostname("sandbox")
        if not self.network:
            unshare(CLONE_NEWNET)
            loopback_up()

    def _obey(self, order: dict[str, Any], numbers: list[int]) -> None:
        fds = dict(zip(order["fds"], numbers, strict=True))
        reply = socket.socket(fileno=fds["reply"])
        try:
            for controller, name, value in order.get("limits", ()):
                directory = self.paths.get(controller)
                if directory:
                    write_file(f"{directory}/{name}", value)
            handles: tuple[int, ...] = ()
            if order.get("empty"):
                handles = (Filesystem(self.config, order, fds).make_empty(),)
            elif "ns" in fds:
                self._join(fds["ns"])
            else:
                handles = self._filesystem(order, fds)
            answer = {"pid": order["pid"], "cgroup": self.paths}
            send(reply, answer, handles)
            for handle in handles:
                os.close(handle)
            if order.get("argv"):
                self._become(order, fds)
        except (OSError, ValueError) as error:
            send(reply, {"error": str(error)})
            os._exit(125)

    def _join(self, namespace: int) -> None:
        setns(namespace, CLONE_NEWNS)

    def _filesystem(self, order: dict[str, Any], fds: dict[str, int]) -> tuple[int, ...]:
        return Filesystem(self.config, order, fds).make()

    def _become(self, order: dict[str, Any], fds: dict[str, int]) -> None:
        """Turn into bwrap, without privileges."""
        for target, name in ((0, "stdin"), (1, "stdout"), (2, "stderr"), (10, "seccomp")):
            if name in fds:
                os.dup2(fds[name], target, inheritable=True)
        os.closerange(11, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        for fd in range(3, 11):
            if not (fd == 10 and "seccomp" in fds):
                try:
                    os.close(fd)
                except OSError:
                    pass
        for name, value in order.get("rlimits", {}).items():
            kind = getattr(resource, name)
            _soft, hard = resource.getrlimit(kind)
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, value))
        os.chdir("/")
        os.umask(0o022)
        if not self.config["rootless"]:
            os.setgroups([])
            os.setresgid(*(self.config["gid"],) * 3)
            os.setresuid(*(self.config["uid"],) * 3)
        for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.execve(order["argv"][0], order["argv"], {"PATH": "/usr/bin:/bin"})


def end_program(pid: int) -> None:
    """End what a child has become.

    It is bwrap's child that is killed, the init of the sandbox's pid namespace: then bwrap ends by
    itself when all of that namespace is gone, and not before.
    """
    for process in children(pid) or [pid]:
        kill(process)
