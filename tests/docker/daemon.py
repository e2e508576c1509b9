"""A Docker daemon of a test's own: it may be stopped, killed and restarted, and takes all with it.

It has its own data, exec-root, containerd, cgroup and network namespace, so that neither the
machine's daemon nor its ``docker0`` sees anything of it. Needs root, ``dockerd`` and util-linux.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from repodrome.envs.sandbox.docker.images import base_reference
from repodrome.envs.sandbox.owner import Owner

PREFIX = "rd-daemon-"
BASE = "repodrome/base:latest"
READY = 60.0
"""Seconds that a daemon gets to answer its first ping, or to end."""


class Daemon:
    """One daemon, in a folder of its own.

    Args:
        folder: where everything of it lies; short, since paths of sockets end at 107 bytes.
        tcp: listen on a port of 127.0.0.1 as well.
        tls: directory with the daemon's ``ca.pem``, ``cert.pem`` and ``key.pem``: the port speaks
            TLS, and wants a certificate of the client.
        network: ``"own"``: a network namespace of its own, without a way out (networks of
            containers work, ``host`` is that namespace); ``"host"``: the machine's, for containers
            that need it (``network_mode="host"``), with a bridge of its own and no iptables rules.
        arguments: more for ``dockerd``'s command line.
        config: its ``daemon.json``.

    Attributes:
        url: the unix socket, as in DOCKER_HOST.
        port: on 127.0.0.1, the same after a restart; 0 without ``tcp``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        tcp: bool = False,
        tls: Path | None = None,
        network: str = "own",
        arguments: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.url = f"unix://{folder}/sock"
        self.port = _free_port() if tcp or tls else 0
        self._tls = tls
        self._network = network
        self._arguments = tuple(arguments)
        self._config = dict(config or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._number = zlib.crc32(os.fsencode(folder))
        self._bridge = f"rd-{self._number:08x}"

    @property
    def tcp_url(self) -> str:
        """The TCP address, as in DOCKER_HOST."""
        return f"tcp://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of dockerd."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has printed."""
        return (self.folder / "log").read_text(errors="replace")

    def client(self) -> Any:
        """A low-level client over the unix socket; the caller closes it."""
        import docker

        return docker.APIClient(base_url=self.url, version="auto", timeout=60)

    # -- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it and wait until it answers; what an earlier one left in the folder is mended.

        Not on a worker thread: it ends with the thread that started it, so that none outlives us.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._clear_stale()
        (self.folder / "daemon.json").write_text(
            json.dumps(self._config)
        )  # never the machine's own
        command = [*self._namespace(), "dockerd", *self._options()]
        listener = self._listener()
        # The shell makes pid and LISTEN_PID equal, which is how a daemon knows a handed-over port.
        script = 'exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'
        with closing(listener or open(os.devnull, "rb")) as stdin, self._open_log() as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "sh", "-c", script, "sh", *command],
                stdin=stdin.fileno(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_ready()

    def stop(self) -> None:
        """End it as an administrator would; its containers end too."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a crash would; its containers go on."""
        self._end(signal.SIGKILL)

    def restart(self, *, kill: bool = False) -> None:
        """End it and start it again, at the same addresses, with the same data."""
        self.kill() if kill else self.stop()
        self.start()

    def remove(self) -> None:
        """End it with all its containers, and remove all its files, mounts and cgroups."""
        self.kill()
        _kill_all_of(self.folder)
        _unmount_below(self.folder)
        _remove_cgroups(self._cgroup())
        if Path("/sys/class/net", self._bridge).exists():
            subprocess.run(["ip", "link", "delete", self._bridge], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def load(self, tar: Path) -> None:
        """Load images, as ``docker load`` does."""
        with closing(self.client()) as client, tar.open("rb") as stream:
            for _ in client.load_image(stream):
                pass

    # -- how -------------------------------------------------------------------------------------

    def _options(self) -> list[str]:
        folder = self.folder
        options = [
            f"--data-root={folder}/root",
            f"--exec-root={folder}/exec",
            f"--pidfile={folder}/pid",
            f"--host={self.url}",
            f"--config-file={folder}/daemon.json",
            f"--storage-driver={_storage_driver(folder)}",
            "--exec-opt=native.cgroupdriver=cgroupfs",
            f"--cgroup-parent={self._cgroup()}",
            "--shutdown-timeout=1",
            *(["--host=fd://"] if self.port else []),
            *self._arguments,
        ]
        if self._network == "host":
            options += [f"--bridge={self._bridge}", "--iptables=false", "--ip-forward=false"]
        if self._tls is not None:
            options += [
                "--tlsverify",
                f"--tlscacert={self._tls}/ca.pem",
                f"--tlscert={self._tls}/cert.pem",
                f"--tlskey={self._tls}/key.pem",
            ]
        return options

    def _namespace(self) -> list[str]:
        if self._network == "own":
            return ["unshare", "--net"]
        self._make_bridge()
        return []

    def _make_bridge(self) -> None:
        if Path("/sys/class/net", self._bridge).exists():
            return
        subnet = f"10.{213 + self._number % 40}.{self._number // 40 % 250}"
        for words in (
            ["link", "add", self._bridge, "type", "bridge"],
            ["address", "add", f"{subnet}.1/24", "dev", self._bridge],
            ["link", "set", self._bridge, "up"],
        ):
            subprocess.run(["ip", *words], check=True, capture_output=True)

    def _listener(self) -> socket.socket | None:
        if not self.port:
            return None
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(128)
        return listener

    def _open_log(self) -> BinaryIO:
        return open(self.folder / "log", "ab")

    def _cgroup(self) -> str:
        return f"/{self.folder.name}"

    def _clear_stale(self) -> None:
        """A daemon refuses to start where a pidfile names a process that lives, whosever it is."""
        while _kill(_processes_naming(self.folder, (b"dockerd", b"containerd"))):
            time.sleep(0.02)
        for name in ("pid", "sock", "exec/containerd/containerd.pid"):
            (self.folder / name).unlink(missing_ok=True)

    def _wait_until_ready(self) -> None:
        import docker.errors
        import requests.exceptions

        assert self._process is not None
        deadline = time.monotonic() + READY
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                with closing(self.client()) as client:
                    client.ping()
                return
            except (docker.errors.DockerException, requests.exceptions.RequestException, OSError):
                time.sleep(0.05)
        raise RuntimeError(f"dockerd did not start; its log ends:\n{self.log[-3000:]}")

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(READY)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def running(
    *,
    image: str | None = BASE,
    tcp: bool = False,
    tls: Path | None = None,
    network: str = "own",
    arguments: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
) -> Iterator[Daemon]:
    """A started :class:`Daemon` that holds ``image``; removed at the end, with all it held.

    Args:
        image: copied from the machine's daemon; None: none.
        tcp, tls, network, arguments, config: as :class:`Daemon` takes them.
    """
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/var/tmp"))
    (folder / "owner").write_text(str(Owner.current()))
    daemon = Daemon(folder, tcp=tcp, tls=tls, network=network, arguments=arguments, config=config)
    try:
        daemon.start()
        if image is not None:
            daemon.load(image_tar(image))
        if image == BASE:
            with closing(daemon.client()) as client:
                client.tag(BASE, *base_reference().rsplit(":", 1))
        yield daemon
    finally:
        daemon.remove()


def sweep() -> None:
    """Remove what test runs that were killed left behind."""
    for folder in Path("/var/tmp").glob(f"{PREFIX}*"):
        with suppress(OSError):
            owner = Owner.parse((folder / "owner").read_text())
            if owner is not None and owner.is_dead():
                Daemon(folder).remove()


def image_tar(reference: str = BASE) -> Path:
    """An image of the machine's daemon as ``docker save`` writes it; kept while it is the same."""
    import docker

    with closing(docker.APIClient(version="auto", timeout=600)) as client:
        key = client.inspect_image(reference)["Id"].removeprefix("sha256:")[:16]
        folder = Path("/var/tmp/rd-test-images")
        folder.mkdir(mode=0o700, exist_ok=True)
        tar = folder / f"{reference.replace('/', '-').replace(':', '-')}-{key}.tar"
        with open(folder / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not tar.exists():
                for old in folder.glob(f"{tar.name.removesuffix(f'-{key}.tar')}-*"):
                    old.unlink()
                unfinished = tar.with_suffix(".unfinished")
                with unfinished.open("wb") as stream:
                    for block in client.get_image(reference):
                        stream.write(block)
                unfinished.rename(tar)
        return tar


# -- leftovers -----------------------------------------------------------------------------------


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _storage_driver(folder: Path) -> str:
    """overlay2, but not on an overlay (tests in a container)."""
    kind = subprocess.run(
        ["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True
    ).stdout.strip()
    return "vfs" if kind == "overlayfs" else "overlay2"


def _kill_all_of(folder: Path) -> None:
    """Daemon, containerd and shims (by the folder in their command line) and all containers."""
    programs = (b"dockerd", b"containerd", b"containerd-shim-runc-v2")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _kill(
        {*_processes_naming(folder, programs), *_processes_in_cgroups(f"/{folder.name}")}
    ):
        time.sleep(0.02)


def _kill(pids: Iterable[int]) -> bool:
    """Kill them; whether there were any."""
    any_left = False
    for pid in pids:
        any_left = True
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return any_left


def _processes_naming(folder: Path, programs: tuple[bytes, ...]) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if not entry.name.isdigit():
                continue
            words = (entry / "cmdline").read_bytes().split(b"\0")
            ours = any(f"{folder}/".encode() in word for word in words)
            if ours and os.path.basename(words[0]) in programs:
                yield int(entry.name)


def _cgroups(name: str) -> Iterator[Path]:
    """Every cgroup below that parent, in each hierarchy, deepest first."""
    root = Path("/sys/fs/cgroup")
    for top in (root, *(entry for entry in root.iterdir() if entry.is_dir())):
        parent = top / name.lstrip("/")
        if parent.is_dir():
            for path, _, _ in os.walk(parent, topdown=False):
                yield Path(path)


def _processes_in_cgroups(name: str) -> Iterator[int]:
    for cgroup in _cgroups(name):
        with suppress(OSError):
            yield from map(int, (cgroup / "cgroup.procs").read_text().split())


def _remove_cgroups(name: str) -> None:
    for cgroup in _cgroups(name):
        with suppress(OSError):
            cgroup.rmdir()


def _unmount_below(folder: Path) -> None:
    mounts = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    below = [mount for mount in mounts if mount.startswith(f"{folder}/")]
    for mount in reversed(below):
        subprocess.run(["umount", "--lazy", mount], capture_output=True, check=False)
