"""The spawner: a small process that makes namespaces, mounts and bwrap children for one host.

Run as a script (``python -I -S spawner.py FD``), standard library only, so that it starts in
milliseconds, stays small, and forks cheaply however large the trainer is. It lives outside every
sandbox. One thread, because bwrap's ``--die-with-parent`` is tied to the *thread* that made it.

It talks over one SEQPACKET socket. An *order* is a JSON object with descriptors attached; the first
descriptor is always that order's own reply socket. Orders are carried out by *blanks*: children
forked ahead of time that already sit in their own cgroup (the first attach to a cold cgroup costs
about 10 ms) and mount namespace. A blank makes or joins a filesystem, answers, and becomes bwrap.

When the host process dies, the socket reports end of file, the spawner exits, every bwrap dies with
it, and with the last process of a namespace the kernel drops its mounts: only empty cgroup
directories and one empty temp directory can be left, which the reaper removes.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import glob
import importlib.util
import json
import os
import resource
import select
import shutil
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS, CLONE_NEWIPC = 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV = 1, 2, 4
MS_REMOUNT, MS_BIND, MS_REC = 32, 4096, 16384
MS_SLAVE, MS_SHARED = 1 << 19, 1 << 20
PR_SET_PDEATHSIG = 1
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
MAX_FDS = 16
QUIET_MS = 20
MAX_UNTIDY = 200
MAX_MESSAGE = 1 << 18
MAX_NOFILE = 1 << 16
PARTS = ("workspace", "env", "home")
CTL_OPTIONS = "mode=0755,size=256m,nr_inodes=16384"

REFUSED = (
    "(the kernel takes no overlay over {}, which may itself lie on overlays: set REPODROME_CACHE "
    "to a directory on a disk, a volume or a tmpfs)"
)

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Raise OSError where a libc call answered -1."""
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """mount(2)."""
    check(
        libc.mount(
            source.encode(),
            target.encode(),
            kind.encode() if kind else None,
            ctypes.c_ulong(flags),
            options.encode() or None,
        ),
        f"mount {kind or 'bind'} on {target}",
    )


def unshare(flags: int) -> None:
    """unshare(2)."""
    check(libc.unshare(flags), "unshare")


def send(sock: socket.socket, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
    """Send one message; a peer that went away is not our concern."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    try:
        sock.sendmsg([json.dumps(message).encode()], ancillary, socket.MSG_NOSIGNAL)
    except (BrokenPipeError, ConnectionResetError):
        pass


def receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """One message and its descriptors; empty bytes at end of file."""
    flags = socket.MSG_CMSG_CLOEXEC  # else those numbered high would get into the sandbox
    data, fds, _flags, _addr = socket.recv_fds(sock, MAX_MESSAGE, MAX_FDS, flags)
    return data, list(fds)


def children(pid: int) -> list[int]:
    """Children of a process; empty when it is gone."""
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def kill(pid: int) -> None:
    """Kill a process, if it is still there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def sibling(name: str) -> ModuleType:
    """A module beside this script, which runs without its package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def bind_into(root: str, path: str) -> None:
    """Bind the host's ``path`` at the same place below ``root``, unless something covers it."""
    target = root + path
    if os.path.lexists(target) and os.path.exists(path):
        here, there = os.stat(target), os.stat(path)
        if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
            return
    if os.path.isdir(path):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    mount(path, target, None, MS_BIND | MS_REC)
    # With bwrap's own flags already there, it need not remount each of these for every sandbox.
    mount(path, target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)


def mask(root: str, path: str) -> None:
    """Hide a directory behind an empty one."""
    mount(f"{root}/var/empty", root + path, None, MS_BIND)
    flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV
    mount(f"{root}/var/empty", root + path, None, flags)


def make_skeleton(config: dict[str, Any]) -> None:
    """The read-only root that all sandboxes share: host toolchain, a minimal /etc, mount points."""
    root = f"{config['stage']}/root"
    for name in config["directories"]:
        os.makedirs(root + name, exist_ok=True)
    for name, text in config["files"].items():
        Path(root + name).write_text(text, encoding="latin-1")
    for name, target in config["links"].items():
        os.symlink(target, root + name)
    for path in config["copies"]:
        shutil.copytree(path, root + path, symlinks=True, dirs_exist_ok=True)
    for path in config["binds"]:
        bind_into(root, path)
    for path in config["masks"]:
        mask(root, path)


def loopback_up() -> None:
    """Bring up ``lo`` in a new network namespace (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))


class Filesystem:
    """Makes the writable filesystem of one sandbox in the caller's own mount namespace.

    ``m`` is a tmpfs with the sandbox's byte and inode quota; below it ``upper`` and ``work`` of the
    overlay, ``ws`` where the overlay is mounted, ``tmp``, ``shm``. ``ctl`` (FIFOs and scripts of
    the host, read-only inside) is a tmpfs of its own, so that a full disk can't silence the host.
    Extra toolchains are bound into this namespace's root skeleton. The parts of the overlay are
    bound to ``at/…``, which bwrap binds in turn: so it can start before they are there.

    Args:
        numbered: where the caller's descriptors are to be seen, by number.
    """

    def __init__(
        self,
        config: dict[str, Any],
        order: dict[str, Any],
        fds: dict[str, int],
        numbered: str = "/proc/self/fd",
    ) -> None:
        self.config, self.order, self.fds, self.numbered = config, order, fds, numbered
        self.base = f"{config['stage']}/m"

    def make(self) -> tuple[int, int, int]:
        """Mount everything; descriptors of the base, the overlay's root and the namespace."""
        self._tmpfs()
        if not self.order.get("snapshot"):
            self._toolchains()
            self._overlay()
        return self.handles()

    def make_empty(self) -> int:
        """Mount what does not depend on the task; a descriptor of the namespace.

        What is mounted below the base later (:meth:`fill`) is seen in sandboxes that run already.
        """
        self._tmpfs()
        mount("none", self.base, None, MS_SHARED)
        self._toolchains()
        return os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    def fill(self) -> tuple[int, int]:
        """Put the task's part into what :meth:`make_empty` has made, from its namespace."""
        quota = f"size={self.order['size']},nr_inodes={self.order['inodes']}"
        mount("none", self.base, None, MS_REMOUNT | MS_NOSUID | MS_NODEV, quota)
        self._overlay()
        return self._places()

    def handles(self) -> tuple[int, int, int]:
        return *self._places(), os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    def _places(self) -> tuple[int, int]:
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        return os.open(self.base, flags), os.open(f"{self.base}/ws", flags)

    def _tmpfs(self) -> None:
        quota = f"mode=0755,size={self.order['size']},nr_inodes={self.order['inodes']}"
        mount("repodrome", self.base, "tmpfs", MS_NOSUID | MS_NODEV, quota)
        uid, gid = self.config["uid"], self.config["gid"]
        for name, mode, owned in (
            ("ws", 0o755, False),
            ("ctl", 0o755, False),
            ("work", 0o755, False),
            ("upper", 0o755, False),
            ("tmp", 0o1777, True),
            ("shm", 0o1777, True),
            ("tests", 0o755, True),
            ("logs", 0o755, True),
            ("at", 0o755, False),
            *((f"at/{part}", 0o755, True) for part in PARTS),
        ):
            path = f"{self.base}/{name}"
            os.mkdir(path)
            os.chmod(path, mode)
            if owned:
                os.chown(path, uid, gid)
        if not self.order.get("snapshot"):
            mount("repodrome", f"{self.base}/ctl", "tmpfs", MS_NOSUID | MS_NODEV, CTL_OPTIONS)
        if "copy" in self.fds:
            self._copy(self.fds["copy"])

    def _copy(self, source: int) -> None:
        """Bring over what another sandbox or snapshot has written: its upper layer and /tmp."""
        target = os.open(self.base, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        copy = sibling("treecopy").TreeCopy(target)
        for name in ("upper", "tmp"):
            copy.copy(source, name)
        os.close(target)

    def _toolchains(self) -> None:
        for path in self.order["toolchains"]:
            bind_into(f"{self.config['stage']}/root", path)
            for packages in glob.glob(f"{path}/lib/python3*/*-packages"):
                mask(f"{self.config['stage']}/root", packages)

    def _overlay(self) -> None:
        layers = [os.open(p, os.O_PATH | os.O_DIRECTORY) for p in reversed(self.order["layers"])]
        places = [self.order["persist"]] if self.order.get("persist") else []
        for place in (*places, self.base):
            try:
                self._mount_overlay(layers, place)
                break
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                if place == self.base:
                    hint = REFUSED.format(self.order["layers"][0])
                    raise OSError(error.errno, f"{error.strerror} {hint}") from None
                # Some filesystems can't hold an upper layer, above all another overlay, as which
                # containers have their root: it is built in memory, and Sandbox.commit copies it.
                for name in ("upper", "work"):
                    shutil.rmtree(f"{place}/{name}")
        for fd in layers:
            os.close(fd)
        for name in PARTS:
            mount(f"{self.base}/ws/{name}", f"{self.base}/at/{name}", None, MS_BIND)

    def _mount_overlay(self, layers: list[int], place: str) -> None:
        upper, work = f"{place}/upper", f"{place}/work"
        for path in (upper, work):
            os.makedirs(path, exist_ok=True)
        for name in PARTS:
            if not any(os.path.isdir(f"{self.numbered}/{fd}/{name}") for fd in layers):
                os.makedirs(f"{upper}/{name}", exist_ok=True)
                os.chown(f"{upper}/{name}", self.config["uid"], self.config["gid"])
        # Descriptors instead of paths: no escaping of ':' and ',', and short option strings.
        lower = ":".join(f"{self.numbered}/{fd}" for fd in layers)
        own = "userxattr" if self.config["rootless"] else "redirect_dir=on"
        up, wk = (os.open(p, os.O_PATH | os.O_DIRECTORY) for p in (upper, work))
        places = f"upperdir={self.numbered}/{up},workdir={self.numbered}/{wk}"
        try:
            options = f"lowerdir={lower},{places},{own}"
            mount("repodrome", f"{self.base}/ws", "overlay", MS_NOSUID | MS_NODEV, options)
        finally:
            os.close(up)
            os.close(wk)


class Blank:
    """A child waiting for its order, already in its own cgroup and namespaces.

    What bwrap would else unshare itself (network, IPC, host name) is made here, ahead of time.

    Args:
        network: stay in the host's network.
    """

    def __init__(self, config: dict[str, Any], number: int, network: bool = False) -> None:
        self.config, self.network = config, network
        self.name = f"{config['prefix']}-{number}"
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            mine.close()
            self._child(theirs)
        theirs.close()
        self.sock = mine

    def _child(self, sock: socket.socket) -> NoReturn:
        code = 1
        try:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != 0:  # the spawner is outside of this pid namespace, or has ended
                os._exit(1)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for directory in self.config["cgroups"].values():
                os.makedirs(f"{directory}/{self.name}", exist_ok=True)
                write_file(f"{directory}/{self.name}/cgroup.procs", "0")
            unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS)
            mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV)  # bwrap looks itself up there
            socket.sethostname("sandbox")
            if not self.network:
                unshare(CLONE_NEWNET)
                loopback_up()
            data, fds = receive(sock)
            if data:
                self._obey(json.loads(data), fds)
                code = 0
        except OSError as error:
            os.write(2, f"repodrome spawner: a child could not start: {error}\n".encode())
        finally:
            os._exit(code)

    def _obey(self, order: dict[str, Any], numbers: list[int]) -> None:
        fds = dict(zip(order["fds"], numbers, strict=True))
        reply = socket.socket(fileno=fds["reply"])
        try:
            for controller, name, value in order.get("limits", ()):
                directory = self.config["cgroups"].get(controller)
                if directory:
                    write_file(f"{directory}/{self.name}/{name}", value)
            handles: tuple[int, ...] = ()
            if order.get("empty"):
                handles = (Filesystem(self.config, order, fds).make_empty(),)
            elif "ns" in fds:
                check(libc.setns(fds["ns"], CLONE_NEWNS), "setns")
            else:
                handles = Filesystem(self.config, order, fds).make()
            answer = {"pid": order["pid"], "cgroup": self.name}
            send(reply, answer, handles)
            for handle in handles:
                os.close(handle)
            if order.get("argv"):
                self._become(order, fds)
        except (OSError, ValueError) as error:
            send(reply, {"error": str(error)})
            os._exit(125)

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


def write_file(path: str, value: str) -> None:
    """Write a control file in one call."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


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


class Spawner:
    """The loop: take orders, hand them to blanks, reap, tidy cgroups."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.config: dict[str, Any] = {}
        self.blanks: list[Blank] = []
        self.warm: list[Warm] = []
        self.profile: Profile | None = None
        self._numbered = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.running: dict[int, tuple[str, socket.socket, int]] = {}
        self.pids: dict[int, int] = {}
        self.keeper = 0
        self._keeping = -1
        self.tidy: list[str] = []
        self.count = 0
        self.wake, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)

    def prepare(self) -> None:
        """Private namespaces, and the stage on which sandboxes put their mounts."""
        data, _ = receive(self.sock)
        self.config = json.loads(data)
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
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            os.dup2(read, 0)
            os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
            os.read(0, 1)  # ends with the spawner
            os._exit(0)
        os.close(read)

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
            cold = self.profile is not None and len(self.warm) < self.config["ready"]
            wanted = cold or len(self.blanks) < self.config["warm"]
            pause = 0 if not self.blanks else QUIET_MS if wanted or self.tidy else None
            ready = poll.poll(pause)
            if not ready:
                if cold and self.blanks:
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

    def _blank(self) -> None:
        self.count += 1
        try:
            self.blanks.append(Blank(self.config, self.count))
        except OSError:  # out of processes: the next order tries again, and reports it
            time.sleep(0.05)

    def _heat(self) -> None:
        """Start a sandbox like the last one, for the next order to fill."""
        assert self.profile is not None
        blank = self.blanks.pop(0)
        try:
            self.warm.append(Warm(self.profile, blank))
        except OSError:
            self.profile = None  # out of descriptors: without
            kill(blank.pid)
            self.tidy.append(blank.name)

    def _remember(self, order: dict[str, Any], fds: list[int]) -> None:
        """The next sandboxes will be like this one."""
        if self.profile is not None:
            if self.profile.fits(order):
                return
            if self.profile.seccomp >= 0:
                os.close(self.profile.seccomp)
            for warm in self.warm:
                self._end(warm.pid)
        names = order["fds"][1:]
        seccomp = os.dup(fds[names.index("seccomp")]) if "seccomp" in names else -1
        common = {key: order[key] for key in ("argv", "rlimits", "toolchains")}
        self.profile = Profile(common, seccomp)

    def _fill(self, order: dict[str, Any], reply: socket.socket) -> bool:
        """Carry out an order with a sandbox that runs already; False where none will do."""
        found = next((warm for warm in self.warm if warm.profile.fits(order)), None)
        namespace = -1 if found is None else found.namespace()
        if found is None or namespace < 0:
            return False
        self.warm.remove(found)
        handles: list[int] = []
        home = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            for controller, name, value in order["limits"]:
                directory = self.config["cgroups"].get(controller)
                if directory:
                    write_file(f"{directory}/{found.name}/{name}", value)
            check(libc.setns(namespace, CLONE_NEWNS), "setns")
            try:
                os.fchdir(self._numbered)  # /proc there is another pid namespace's
                handles += Filesystem(self.config, order, {}, ".").fill()
            finally:
                check(libc.setns(home, CLONE_NEWNS), "setns")
            answer = {"pid": found.pid, "cgroup": found.name, "warm": True}
            send(reply, answer, (*handles, namespace, found.control, found.stderr))
        except OSError:  # a new one will do, or say what is wrong
            self._end(found.pid)
            self.tidy.append(found.name)
            return False
        finally:
            for fd in (*handles, namespace, home):
                os.close(fd)
            found.close()
        self.running[found.pid] = (found.name, reply, order["id"])
        self.pids[order["id"]] = found.pid
        return True

    def _order(self, data: bytes, fds: list[int]) -> None:
        order = json.loads(data)
        if "kill" in order:
            self._kill(order["kill"])
            return
        if not fds:  # no descriptor was left to receive them with; the host sees its socket end
            return
        reply = socket.socket(fileno=fds.pop(0))
        blank = None
        try:
            if len(fds) != len(order["fds"]) - 1:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            if order.get("fillable"):
                self._remember(order, fds)
                if self._fill(order, reply):
                    return
            if order.get("network") or not self.blanks:
                self.count += 1
                blank = Blank(self.config, self.count, bool(order.get("network")))
            else:
                blank = self.blanks.pop(0)
            order["pid"] = blank.pid
            send(blank.sock, order, (reply.fileno(), *fds))
            blank.sock.close()
            self.running[blank.pid] = (blank.name, reply, order["id"])
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
        """End an order's processes.

        It is bwrap's child that is killed, the init of the sandbox's pid namespace: then bwrap ends
        by itself when all of that namespace is gone, and not before.
        """
        pid = self.pids.get(number)
        if pid is not None:
            self._end(pid)

    def _end(self, pid: int) -> None:
        for process in children(pid) or [pid]:
            kill(process)

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
                name, reply, number = self.running.pop(pid)
                del self.pids[number]
                oom = self._oom_kills(name)
                self.tidy.append(name)  # done when there is nothing else to do
                code = os.waitstatus_to_exitcode(status)
                send(reply, {"exit": code if code >= 0 else 128 - code, "oom": oom})
                reply.close()
            else:
                for warm in [w for w in self.warm if w.pid == pid]:
                    warm.close()
                    self.warm.remove(warm)
                    self.tidy.append(warm.name)
                    if warm.profile is self.profile:
                        self.profile = None  # one that can't start must not become a fork storm
                for blank in [b for b in self.blanks if b.pid == pid]:
                    blank.sock.close()
                    self.blanks.remove(blank)
                    self.tidy.append(blank.name)
                    time.sleep(0.01)  # a blank that can't start must not become a fork storm

    def _oom_kills(self, name: str) -> int:
        """How often the memory limit killed something in the cgroup; both versions say oom_kill."""
        memory = self.config["cgroups"].get("memory")
        for file in ("memory.events", "memory.oom_control") if memory else ():
            try:
                text = Path(f"{memory}/{name}/{file}").read_text()
            except OSError:
                continue
            for line in text.splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        return 0

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
        kill(self.keeper)
        self.tidy += [blank.name for blank in self.blanks] + [warm.name for warm in self.warm]
        while True:
            try:
                pid, _ = os.waitpid(-1, 0)
            except ChildProcessError:
                break
            if pid in self.running:
                self.tidy.append(self.running.pop(pid)[0])
        deadline = time.monotonic() + 5
        self._tidy()
        while self.tidy and time.monotonic() < deadline:
            time.sleep(0.005)
            self._tidy()
        check(libc.umount2(self.config["stage"].encode(), 2), "umount stage")
        try:
            os.rmdir(self.config["stage"])
        except OSError:
            pass


def main() -> None:
    """Serve one host process until its socket closes."""
    number = int(sys.argv[1])
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


if __name__ == "__main__":
    main()
