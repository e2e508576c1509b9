"""The spawner: a small process that makes namespaces, mounts and bwrap children for one host.

A process of its own (``client.BOOTSTRAP``) that with the modules it imports needs nothing but the
standard library, so that it starts in milliseconds, stays small, and forks cheaply however large
the trainer is. It lives outside every sandbox. One thread, because bwrap's ``--die-with-parent`` is
tied to the *thread* that made it.

It talks over one SEQPACKET socket. An *order* is a JSON object with descriptors attached; the first
descriptor is always that order's own reply socket. Orders are carried out by *blanks*: children
forked ahead of time that already sit in their own cgroup (the first attach to a cold cgroup costs
about 10 ms) and mount namespace. A blank makes or joins a filesystem, answers, and becomes bwrap.

When the host process dies, the socket reports end of file, the spawner exits, every bwrap dies with
it, and with the last process of a namespace the kernel drops its mounts: only empty cgroup
directories and one empty temp directory can be left, which the reaper removes.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from repodrome.envs.sandbox.direct.blank import Blank, end_program
from repodrome.envs.sandbox.direct.cgroup import oom_kills
from repodrome.envs.sandbox.direct.container import Resident
from repodrome.envs.sandbox.direct.homes import Homes
from repodrome.envs.sandbox.direct.messages import receive, send
from repodrome.envs.sandbox.direct.mounts import make_skeleton
from repodrome.envs.sandbox.direct.syscalls import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    MS_NODEV,
    MS_NOSUID,
    MS_REC,
    MS_SLAVE,
    children,
    die_with_parent,
    kill,
    mount,
    unmount,
    unshare,
    write_file,
)
from repodrome.envs.sandbox.direct.warm import Warm, WarmSandboxes

QUIET_MS = 20
MAX_UNTIDY = 200
LET_GO = 0.02
"""Seconds between two containers that are let go of at the end: Docker 20.10 can lock up for good
where dozens end in one moment (handleContainerExit against libnetwork's mutex)."""
MAX_NOFILE = 1 << 16


class Spawner:
    """The loop: take orders, hand them to blanks, reap, tidy cgroups."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.config: dict[str, Any] = {}  # filled later, and the same object for all
        self.blanks: list[Blank] = []
        self.running: dict[int, tuple[Blank | Warm, socket.socket, int]] = {}
        self.pids: dict[int, int] = {}
        self.keeper = 0
        self._keeping = -1  # held open: what pid 1 reads ends when this process does
        self.tidy: list[str] = []
        self.count = 0
        self.warm = WarmSandboxes(self.config)
        self.homes = Homes(self.config, self._number)
        self.wake, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)

    def prepare(self) -> None:
        """Private namespaces, and the stage on which sandboxes put their mounts."""
        data, _ = receive(self.sock)
        self.config |= json.loads(data)
        try:
            if self.config["rootless"]:
                uid, gid = os.getuid(), os.getgid()
                unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID)
                write_file("/proc/self/setgroups", "deny")
                write_file("/proc/self/uid_map", f"0 {uid} 1")
                write_file("/proc/self/gid_map", f"0 {gid} 1")
                self.config["uid"] = self.config["gid"] = 0
            else:
                unshare(CLONE_NEWNS | CLONE_NEWPID)
            self._keep()
            _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, MAX_NOFILE), hard))
            mount("none", "/", None, MS_REC | MS_SLAVE)
            stage = self.config["stage"]
            mount("repodrome", stage, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=64m")
            os.mkdir(f"{stage}/m")
            make_skeleton(self.config)
        except OSError as error:
            send(self.sock, {"error": str(error)})
            sys.exit(1)
        send(self.sock, {"ready": os.getpid()})

    def _keep(self) -> None:
        """Start pid 1 of the namespace in which all sandboxes live: the kernel ends them with it.

        It is beyond the agents' reach, while a sandbox's own init runs as the agent's user, who may
        take it over and undo its parent-death signal.
        """
        read, self._keeping = os.pipe2(os.O_CLOEXEC)
        self.keeper = os.fork()
        if self.keeper == 0:
            die_with_parent()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            os.dup2(read, 0)
            os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
            os.read(0, 1)  # ends with the spawner
            os._exit(0)
        os.close(read)
        self.homes.back = os.open("/proc/self/ns/pid_for_children", os.O_RDONLY | os.O_CLOEXEC)

    def loop(self) -> None:
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        poll.register(self.wake, select.POLLIN)
        while True:
            # Attaching to a cgroup, making and removing one hold kernel locks for milliseconds that
            # starts and ends elsewhere wait for. So that waits for a quiet moment, while it can.
            # Never-ending load has no quiet moment, so that there is a bound.
            if len(self.tidy) >= MAX_UNTIDY:
                self._tidy()
            cold = self.warm.lacking
            lacking = self.homes.lacking()
            wanted = cold or lacking or len(self.blanks) < self.config["warm"]
            pause = 0 if not self.blanks else QUIET_MS if wanted or self.tidy else None
            ready = poll.poll(pause)
            if not ready:
                if lacking:
                    self.homes.settle(lacking)
                elif cold and self.blanks:
                    self._heat()
                elif wanted:
                    self._blank()
                elif self.tidy:
                    self._tidy()
                continue
            for fd, _event in ready:
                if fd == self.wake:
                    try:
                        os.read(self.wake, 4096)
                    except BlockingIOError:
                        pass
                    self._reap()
                else:
                    data, fds = receive(self.sock)
                    if not data:
                        return
                    self._order(data, fds)

    def _number(self) -> int:
        self.count += 1
        return self.count

    def _blank(self) -> None:
        try:
            self.blanks.append(Blank(self.config, self._number()))
        except OSError:  # out of processes: the next order tries again, and reports it
            time.sleep(0.05)

    def _blank_for(self, order: dict[str, Any]) -> Blank:
        """A child to carry out an order."""
        if name := order.get("container"):
            return self.homes.take(name)
        if order.get("network") or not self.blanks:
            return Blank(self.config, self._number(), bool(order.get("network")))
        return self.blanks.pop(0)

    def _heat(self) -> None:
        """Start a sandbox like the last one, for the next order to fill."""
        blank = self.blanks.pop(0)
        if not self.warm.add(blank):
            kill(blank.pid)
            self.tidy.append(blank.name)

    def _fill(self, order: dict[str, Any], reply: socket.socket) -> bool:
        """Carry out an order with a sandbox that runs already; False where none will do."""
        taken = self.warm.take(order)
        if taken is None:
            return False
        warm, namespace = taken
        if not self.warm.fill(warm, namespace, order, reply):
            self.tidy.append(warm.name)
            return False
        self.running[warm.pid] = (warm, reply, order["id"])
        self.pids[order["id"]] = warm.pid
        return True

    def _order(self, data: bytes, fds: list[int]) -> None:
        order = json.loads(data)
        if "kill" in order:
            self._kill(order["kill"])
            return
        if "forget" in order:
            self.tidy += self.homes.forget(order["forget"])
            return
        if not fds:  # no descriptor was left to receive them with; the host sees its socket end
            return
        reply = socket.socket(fileno=fds.pop(0))
        blank = None
        try:
            if len(fds) != len(order["fds"]) - 1:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            if order.get("fillable"):
                self.warm.remember(order, fds)
                if self._fill(order, reply):
                    return
            if "adopt" in order:
                names = order["fds"][1:]
                owned = dict(zip(names, map(os.dup, fds), strict=True))
                home = self.homes.adopt(order["adopt"], owned)
                send(reply, {"pid": 0, "cgroup": home.cgroups})
                reply.close()
                return
            blank = self._blank_for(order)
            order["pid"] = blank.pid
            if isinstance(blank, Resident):
                blank.oom_before = oom_kills(blank.paths)
                trees = blank.trees(order)
                fds += trees.values()
                order["fds"] += trees
            send(blank.sock, order, (reply.fileno(), *fds))
            blank.sock.close()
            self.running[blank.pid] = (blank, reply, order["id"])
            self.pids[order["id"]] = blank.pid
        except OSError as error:
            if blank is not None:
                blank.sock.close()
                self.tidy.append(blank.name)
            send(reply, {"error": f"could not start a process: {error}"})
            reply.close()
        finally:
            for fd in fds:
                os.close(fd)

    def _kill(self, number: int) -> None:
        """End an order's processes."""
        pid = self.pids.get(number)
        if pid is not None:
            end_program(pid)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.keeper:
                raise SystemExit("repodrome spawner: pid 1 of the sandboxes' namespace ended")
            if pid in self.running:
                child, reply, number = self.running.pop(pid)
                del self.pids[number]
                oom = oom_kills(child.paths) - child.oom_before
                self.tidy.append(child.name)  # done when there is nothing else to do
                code = os.waitstatus_to_exitcode(status)
                send(reply, {"exit": code if code >= 0 else 128 - code, "oom": oom})
                reply.close()
            elif name := self.warm.reaped(pid) or self.homes.reaped(pid):
                self.tidy.append(name)
            else:
                for blank in [b for b in self.blanks if b.pid == pid]:
                    blank.sock.close()
                    self.blanks.remove(blank)
                    self.tidy.append(blank.name)
                    time.sleep(0.01)  # a blank that can't start must not become a fork storm

    def _tidy(self) -> None:
        """Remove the cgroups of what ended; the last processes may take a moment to go."""
        for orphan in children(self.keeper):  # of a bwrap that was killed while it forked
            kill(orphan)
        left = []
        for name in self.tidy:
            busy = False
            for directory in self.config["cgroups"].values():
                try:
                    os.rmdir(f"{directory}/{name}")
                except FileNotFoundError:
                    pass
                except OSError:
                    busy = True
            if busy:
                left.append(name)
        self.tidy = left

    def finish(self) -> None:
        """Kill what is left and wait for it, so that nothing outlives the host process."""
        for pid in self.homes.waiting:
            kill(pid)
        for pid in self.running:  # those in containers are not the keeper's
            end_program(pid)
        kill(self.keeper)
        for name in self.homes.names:
            self.tidy += self.homes.forget(name)
            time.sleep(LET_GO)
        self.tidy += [blank.name for blank in self.blanks] + self.warm.names
        while True:
            try:
                pid, _ = os.waitpid(-1, 0)
            except ChildProcessError:
                break
            if pid in self.running:
                self.tidy.append(self.running.pop(pid)[0].name)
        deadline = time.monotonic() + 5
        self._tidy()
        while self.tidy and time.monotonic() < deadline:
            time.sleep(0.005)
            self._tidy()
        unmount(self.config["stage"])
        try:
            os.rmdir(self.config["stage"])
        except OSError:
            pass


def main() -> None:
    """Serve one host process until its socket closes."""
    number = int(sys.argv[-1])
    os.setsid()
    os.umask(0o022)  # what is made here must be traversable by the sandbox's uid
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    sock = socket.socket(fileno=number)
    os.set_inheritable(number, False)
    devnull = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1):
        os.dup2(devnull, fd)
    Path("/proc/self/oom_score_adj").write_text("0")
    spawner = Spawner(sock)
    spawner.prepare()
    try:
        spawner.loop()
    finally:
        spawner.finish()
