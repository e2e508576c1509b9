"""Children that become processes of a running container: the spawner's part of Docker sandboxes.

A container gives its control groups, its pid namespace (so that nothing outlives it), its root
filesystem and, where there is a network, that. What an episode touches is its own: the mount
namespace is a private copy in which everything is read-only but the episode's files, and network,
IPC, host name and pids are namespaces made for it. So a container is as good as new when an
episode has ended.

Standard library only.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
from contextlib import suppress
from typing import Any, NoReturn

from repodrome.envs.sandbox.direct.blank import Blank
from repodrome.envs.sandbox.direct.mounts import Filesystem
from repodrome.envs.sandbox.direct.syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REMOUNT,
    attach_tree,
    copy_tree,
    die_with_parent,
    drop_bounding_set,
    drop_capabilities,
    filter_calls,
    loopback_up,
    mount,
    no_new_privileges,
    seal_mounts,
    setns,
    unshare,
    write_file,
)

STAGE = "/run/repodrome"
"""Where a container has an empty tmpfs for us; in the end the host's FIFOs are there."""
PLACES = {
    "at/workspace": "/workspace",
    "at/env": "/env",
    "at/home": "/home/agent",
    "tmp": "/tmp",
    "shm": "/dev/shm",
    "tests": "/tests",
    "logs": "/logs",
}
"""What of the episode's filesystem is seen where; a container needs these directories."""
PRIVATE_PROC = ("kcore", "keys", "latency_stats", "sched_debug", "timer_list")
AGENT = "agent:x:{uid}:{gid}:agent:/home/agent:/bin/bash\n"
MAX_PASSWD = 1 << 20
MAX_DEATHS = 20
"""Children of a container that may die before their order until it is given up."""


class Home:
    """A container that the host has told of.

    Args:
        message: its ``id`` and ``cgroups``, a directory for each hierarchy.
        fds: its namespaces (``pid``, ``mnt``, and ``net`` unless there is no network), and
            ``lease``: it ends when that is closed.
    """

    def __init__(self, message: dict[str, Any], fds: dict[str, int]) -> None:
        self.id, self.cgroups, self.fds = message["id"], message["cgroups"], fds
        self.blanks: list[Blank] = []
        self.deaths = 0

    @property
    def broken(self) -> bool:
        """Its children die, as they do when it has ended; the agent's OOM kills only a few."""
        return self.deaths >= MAX_DEATHS

    def close(self) -> None:
        """Let go of its namespaces."""
        for fd in self.fds.values():
            os.close(fd)


class Resident(Blank):
    """A child in a container, waiting for its order.

    Args:
        back: the pid namespace in which other children of the spawner live.
    """

    def __init__(self, config: dict[str, Any], number: int, home: Home, back: int) -> None:
        self.home, self.back = home, back
        super().__init__(config, number)

    def _own_cgroups(self) -> dict[str, str]:
        # Version 1 has freezing in a hierarchy of its own, in which Docker puts nothing.
        own = super()._own_cgroups()
        return {k: v for k, v in own.items() if k == "unified" and k not in self.home.cgroups}

    def _cgroups(self) -> dict[str, str]:
        return {**self._own_cgroups(), **self.home.cgroups}

    def _fork(self) -> int:
        setns(self.home.fds["pid"], CLONE_NEWPID)
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid:
                setns(self.back, CLONE_NEWPID)
        return pid

    def _enter(self) -> None:
        with suppress(OSError):  # who waits should outlive who is waited for
            write_file("/proc/self/oom_score_adj", "-500")
        setns(self.home.fds["mnt"], CLONE_NEWNS)
        if "net" in self.home.fds:
            setns(self.home.fds["net"], CLONE_NEWNET)
        else:
            unshare(CLONE_NEWNET)
            loopback_up()
        unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS)
        seal_mounts("/")
        socket.sethostname("sandbox")
        mount("repodrome", STAGE, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=4m")
        os.mkdir(f"{STAGE}/m")

    def _filesystem(self, order: dict[str, Any], fds: dict[str, int]) -> tuple[int, ...]:
        for name in self._directories(order):
            target = f"{STAGE}/{name}"
            os.mkdir(target)
            attach_tree(fds[name], target)
        order = {**order, "layers": [f"{STAGE}/layer{i}" for i, _ in enumerate(order["layers"])]}
        if order.get("persist"):
            order["persist"] = f"{STAGE}/persist"
        made = Filesystem({**self.config, "stage": STAGE}, order, fds)
        handles = made.make()
        for source, target in PLACES.items():
            mount(f"{made.base}/{source}", target, None, MS_BIND)
        if order["workspace_at"]:
            mount(f"{made.base}/at/workspace", order["workspace_at"], None, MS_BIND)
        for name in ("passwd", "group"):
            self._introduce(name)
        flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV
        mount(f"{made.base}/ctl", STAGE, None, MS_BIND)
        mount("none", STAGE, None, flags)
        return handles

    @staticmethod
    def _directories(order: dict[str, Any]) -> dict[str, str]:
        """The host's directories that an order speaks of, by the names they travel under."""
        found = {f"layer{i}": path for i, path in enumerate(order.get("layers", ()))}
        return {**found, "persist": order["persist"]} if order.get("persist") else found

    @classmethod
    def trees(cls, order: dict[str, Any]) -> dict[str, int]:
        """Descriptors of those, to be sent along: a container can't see the host's paths."""
        trees: dict[str, int] = {}
        try:
            for name, path in cls._directories(order).items():
                trees[name] = copy_tree(path)
        except OSError:
            for fd in trees.values():
                os.close(fd)
            raise
        return trees

    def _introduce(self, name: str) -> None:
        """Add the agent's user to a file of /etc that the image may have."""
        path = f"/etc/{name}"
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(path, flags)
        except OSError:
            return
        with os.fdopen(fd, "rb") as file:
            text = file.read(MAX_PASSWD).decode(errors="replace")
        uid, gid = self.config["uid"], self.config["gid"]
        if f":{uid}:" in text:
            return
        line = AGENT.format(uid=uid, gid=gid) if name == "passwd" else f"agent:x:{gid}:\n"
        own = f"{STAGE}/{name}"
        with open(own, "w", encoding="utf-8") as file:
            file.write(text.rstrip("\n") + "\n" + line)
        mount(own, path, None, MS_BIND)
        mount("none", path, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)

    def _join(self, namespace: int) -> None:
        setns(namespace, CLONE_NEWNS)
        unshare(CLONE_NEWNS)  # it gets a /proc of its own

    def _become(self, order: dict[str, Any], fds: dict[str, int]) -> NoReturn:
        """Start the program as another user in a pid namespace of its own, and wait for it."""
        for target, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
            if name in fds:
                os.dup2(fds[name], target, inheritable=True)
        code = os.pread(fds["seccomp"], 1 << 20, 0)
        os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        unshare(CLONE_NEWPID)
        child = os.fork()
        if child:
            os.closerange(0, 3)
            os._exit(_status(os.waitpid(child, 0)[1]))
        _guarded(lambda: self._first(order, code))

    def _first(self, order: dict[str, Any], code: bytes) -> None:
        """Pid 1 of the new namespace: the sandbox's init itself, or what reaps for one program."""
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        with suppress(OSError):
            write_file("/proc/self/oom_score_adj", "0")
        for name in PRIVATE_PROC:
            if os.path.exists(f"/proc/{name}"):
                mount("/dev/null", f"/proc/{name}", None, MS_BIND)
        os.setsid()
        if order["init"]:
            self._run(order, code)
        program = os.fork()
        if program == 0:
            _guarded(lambda: self._run(order, code))
        os.closerange(0, 3)
        no_new_privileges()
        drop_bounding_set()
        drop_capabilities()
        while True:
            pid, status = os.wait()
            if pid == program:
                os._exit(_status(status))

    def _run(self, order: dict[str, Any], code: bytes) -> NoReturn:
        for name, value in order["rlimits"].items():
            resource.setrlimit(getattr(resource, name), (value, value))
        for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.umask(0o022)
        drop_bounding_set()
        os.setgroups([])
        os.setresgid(*(self.config["gid"],) * 3)
        os.setresuid(*(self.config["uid"],) * 3)
        die_with_parent()  # changing the user has cleared it
        no_new_privileges()
        os.chdir(order["cwd"])
        filter_calls(code)
        os.execvpe(order["argv"][0], order["argv"], order["environ"])


def _guarded(action: Any) -> NoReturn:
    """Do what ends in another program; what goes wrong before that is said on its stderr."""
    try:
        action()
    except OSError as error:
        os.write(2, f"repodrome: {error}\n".encode())
    finally:
        os._exit(127)


def _status(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
