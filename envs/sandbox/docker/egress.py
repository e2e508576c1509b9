"""The way out of sandboxes whose task allows certain hosts only.

Such a sandbox has no network but loopback. Two containers give it a way out:

- a *proxy* (docker/proxy.py) with a network, listening on a Unix socket in a volume: one for all
  sandboxes of this process with the same list;
- an *inlet* of each sandbox's own, whose network namespace, with nothing but loopback, the sandbox
  joins: it passes 127.0.0.1:3128 on to that socket.

So there is nothing to route, resolve or filter around: no bridge on which two sandboxes could meet,
no resolver that would pass names on, none of the thirty-odd networks that a daemon has by default.
Both end when we do: their standard input is our lease.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import uuid
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repodrome.envs.sandbox.base import SandboxLimits
from repodrome.envs.sandbox.docker import proxy
from repodrome.envs.sandbox.docker.engine import (
    DockerError,
    Engine,
    NotFoundError,
    remove_container,
)
from repodrome.envs.sandbox.docker.hardening import USER, host_config
from repodrome.envs.sandbox.docker.images import base_reference
from repodrome.envs.sandbox.docker.labels import labels
from repodrome.errors import SandboxError, UsageError

PORT = 3128
_URL = f"http://127.0.0.1:{PORT}"
_LOCAL = "localhost,127.0.0.1,::1"
ENV: Mapping[str, str] = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), _URL),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), _LOCAL),
}
"""What every command in the sandbox needs."""
_PLACE = "/run/egress"
_LIMITS = SandboxLimits(memory_mb=128, cpus=1.0, pids=64, cpu_seconds=1 << 30)
_START_SECONDS = 30


def check_hosts(hosts: Iterable[str]) -> None:
    """See whether a task's ``allowed_hosts`` can be read.

    Raises:
        UsageError: an entry can't.
    """
    for host in hosts:
        try:
            proxy.Rule.parse(host)
        except ValueError as error:
            raise UsageError(
                f"environment.allowed_hosts: {host!r}: {error}. Fix: write a name (pypi.org), a "
                "wildcard (*.pythonhosted.org), an address or a range (10.0.0.0/8), with :PORT "
                "where it is neither 80 nor 443, and no http://"
            ) from None


@dataclass(eq=False)
class Outlet:
    """A sandbox's way out.

    Attributes:
        network: for the sandbox's container, as :func:`hardening.host_config` takes it.
        env: environment variables for every command in it.
    """

    network: str
    env: Mapping[str, str]
    _inlet: _Leased

    def close(self) -> None:
        """Close it, after the sandbox's container; idempotent; blocks."""
        self._inlet.remove()

    def abandon(self) -> None:
        """Let go of it, as a forked child must that isn't to hold it."""
        self._inlet.abandon()


class Egress:
    """The ways out that this process has at one daemon; for any thread.

    Args:
        engine: the daemon.
        image: of the containers; it needs ``python3``.
        uplink: the network that proxies reach the world by.
    """

    def __init__(self, engine: Engine, image: str, *, uplink: str = "bridge") -> None:
        self._engine, self._image, self._uplink = engine, image, uplink
        self._lock = threading.Lock()
        self._proxies: dict[tuple[str, ...], _Leased] = {}
        os.register_at_fork(after_in_child=self._forked)

    def open(self, hosts: Iterable[str]) -> Outlet:
        """A way out to these hosts alone; blocks for a quarter of a second and more.

        Raises:
            UsageError: the list can't be read.
            SandboxError: the daemon can't.
        """
        allowed = tuple(sorted(set(hosts)))
        check_hosts(allowed)
        with self._lock:  # one proxy for all who ask at once
            served = self._proxies.get(allowed)
            if served is None or not served.runs():
                if served is not None:
                    served.remove()
                served = self._proxies[allowed] = self._start_proxy(allowed)
        words = ["inlet", f"{_PLACE}/socket", str(PORT)]
        inlet = _Leased(self._engine, self._image, words, "none", served.volume)
        return Outlet(f"container:{inlet.id}", ENV, inlet)

    def close(self) -> None:
        """Remove the proxies; close the ways first. Idempotent; blocks."""
        with self._lock:
            proxies, self._proxies = self._proxies, {}
        for served in proxies.values():
            served.remove()

    def _start_proxy(self, allowed: tuple[str, ...]) -> _Leased:
        volume = f"repodrome-egress-{uuid.uuid4().hex[:12]}"
        uid, gid = USER.split(":")
        options = {
            "type": "tmpfs",
            "device": "tmpfs",
            "o": f"size=64k,nr_inodes=16,mode=0700,uid={uid},gid={gid}",
        }
        self._engine.call_now(
            lambda client: client.create_volume(
                volume, driver="local", driver_opts=options, labels=labels("egress")
            )
        )
        words = ["proxy", f"{_PLACE}/socket", *allowed]
        return _Leased(self._engine, self._image, words, self._uplink, volume, owns_volume=True)

    def _forked(self) -> None:
        """They are the parent's."""
        for served in self._proxies.values():
            served.abandon()
        self._proxies = {}
        self._lock = threading.Lock()


_of: weakref.WeakKeyDictionary[Engine, Egress] = weakref.WeakKeyDictionary()
_making = threading.Lock()
os.register_at_fork(before=_making.acquire, after_in_parent=_making.release)
os.register_at_fork(after_in_child=_making.release)


def egress_of(engine: Engine) -> Egress:
    """The one that this process has at a daemon."""
    with _making:
        if engine not in _of:
            _of[engine] = Egress(engine, base_reference())
        return _of[engine]


def close_egress(engine: Engine) -> None:
    """Close it, where there is one; blocks."""
    with _making:
        found = _of.pop(engine, None)
    if found is not None:
        found.close()


@dataclass(eq=False)
class _Leased:
    """A container that runs the program as long as we hold its standard input."""

    engine: Engine
    image: str
    words: list[str]
    network: str
    volume: str
    owns_volume: bool = False
    id: str = ""
    _stream: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        try:
            self.id = self.engine.call_now(self._create)
            self.engine.call_now(self._start)
        except NotFoundError as error:
            self.remove()
            raise SandboxError(
                f"a way out needs the image {self.image} and the network {self.network!r}: {error}."
                " Fix: scripts/make-base-image, or `docker pull`; and a daemon with a bridge"
            ) from error
        except BaseException:
            self.remove()
            raise

    def _create(self, client: Any) -> str:
        source = Path(proxy.__file__).read_text()
        made = client.create_container(
            self.image,
            entrypoint=["python3", "-I", "-c", source],
            command=self.words,
            user=USER,
            working_dir="/",
            stdin_open=True,
            labels=labels("egress"),
            host_config=client.create_host_config(
                **host_config(_LIMITS, network=self.network),
                auto_remove=True,
                binds=[f"{self.volume}:{_PLACE}"],
            ),
        )
        return str(made["Id"])

    def _start(self, client: Any) -> None:
        # Attached before it is started, or it would find its input closed.
        self._stream = client.attach_socket(
            self.id, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        )
        client.start(self.id)
        said = b"".join(_first_words(self._stream))
        if b"ready" not in said:
            last = said.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise DockerError(f"{self.engine.name}: a container for egress ended: {last[0]}")

    def runs(self) -> bool:
        try:
            said = self.engine.call_now(lambda client: client.inspect_container(self.id))
        except NotFoundError:
            return False
        return bool(said["State"]["Running"])

    def remove(self) -> None:
        with contextlib.suppress(SandboxError):
            if self.id:
                remove_container(self.engine, self.id)
        self.abandon()
        with contextlib.suppress(SandboxError):
            if self.owns_volume:
                self.engine.call_now(lambda client: client.remove_volume(self.volume, force=True))

    def abandon(self) -> None:
        """Let go of its input: it ends, unless another process holds it too."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with contextlib.suppress(Exception):
                stream._response.close()
                stream.close()


def _first_words(stream: Any) -> Iterator[bytes]:
    """What an attached container prints, up to its first line on standard output, or its end."""
    from docker.utils.socket import STDOUT, frames_iter

    poll = select.poll()
    poll.register(stream, select.POLLIN)
    if not poll.poll(_START_SECONDS * 1000):
        return
    for number, data in frames_iter(stream, tty=False):
        yield data
        if number == STDOUT:
            return
