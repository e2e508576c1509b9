"""Several Docker daemons as one: who has room, who has gone, who is back."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from repodrome.envs.sandbox.docker.engine import Address, Engine, connect
from repodrome.errors import SandboxError, SandboxUnavailableError, UsageError

VARIABLE = "REPODROME_DOCKER_HOSTS"
PER_CPU = 64
"""Sandboxes a processor by default: agents wait for their model most of the time."""
MEMORY_MB = 64
"""MiB a sandbox by default: limits are ceilings, and an idle sandbox holds a few MiB."""
PATIENCE = 30.0
"""Seconds that callers wait for a daemon that has answered before and may just be restarting."""
LONGEST_PAUSE = 15.0
"""Seconds between two looks at a daemon that doesn't answer, at most."""


@dataclass(frozen=True, slots=True)
class HostSpec:
    """One daemon to use.

    Attributes:
        address: where it is.
        capacity: sandboxes on it at once; None: by its memory and processors.
    """

    address: Address = field(default_factory=Address)
    capacity: int | None = None


@dataclass(eq=False)
class Host:
    """A daemon and what is placed on it.

    Attributes:
        engine: how to talk to it.
        capacity: sandboxes that may be on it at once; 0 until it has answered.
        used: sandboxes on it now.
        answers: whether it did when last asked.
        trouble: why not, otherwise.
    """

    engine: Engine
    capacity: int = 0
    used: int = 0
    answers: bool = False
    trouble: str = ""
    _wanted: int | None = None
    _looking: bool = False

    @property
    def name(self) -> str:
        """For messages."""
        return self.engine.name


@dataclass(eq=False)
class _Waiter:
    host: Host | None
    beyond: bool
    since: float
    place: Future[Host] = field(default_factory=Future)


class Hosts:
    """Gives out places on daemons, first come first served; for any thread and event loop.

    Args:
        specs: the daemons.
        make: makes the low-level client for an address.
    """

    def __init__(
        self,
        specs: Sequence[HostSpec] = (HostSpec(),),
        *,
        make: Callable[[Address], Any] = connect,
    ) -> None:
        if not specs:
            raise UsageError("no Docker host is named; leave 'hosts' out for the default one")
        self.hosts = tuple(
            Host(Engine(spec.address, make), _wanted=spec.capacity) for spec in specs
        )
        for host in self.hosts:
            host.engine.on_unreachable = partial(self.lost, host)
        self._lock = threading.Lock()
        self._waiting: deque[_Waiter] = deque()
        self._closed = threading.Event()
        self._ever = False
        os.register_at_fork(after_in_child=self._forked)

    async def acquire(self, host: Host | None = None, *, beyond: bool = False) -> Host:
        """A place for one sandbox; waits until there is one. Give it back with :meth:`release`.

        Args:
            host: only there (a fork lies where its origin does); default: where most is free.
            beyond: don't wait for room. For what a sandbox that has a place needs to go on, such as
                its grading or a fork: if it waited, all could wait for each other.

        Raises:
            SandboxUnavailableError: the host (or every host) doesn't answer.
        """
        waiter = _Waiter(host, beyond, time.monotonic())
        with self._lock:
            self._waiting.append(waiter)
            for unknown in self.hosts:
                if not unknown.answers:
                    self._look(unknown)
            self._serve()
        try:
            return await asyncio.wrap_future(waiter.place)
        except asyncio.CancelledError:
            with self._lock:
                given = not waiter.place.cancel() and waiter.place.exception() is None
            if given:  # at the same moment
                self.release(waiter.place.result())
            raise

    def release(self, host: Host) -> None:
        """Give a place back."""
        with self._lock:
            host.used -= 1
            self._serve()

    def lost(self, host: Host, trouble: str) -> None:
        """Take a host out that doesn't answer; it comes back by itself when it does.

        The engine of each host says so itself.
        """
        with self._lock:
            host.answers, host.trouble = False, trouble
            self._look(host)

    def close(self) -> None:
        """Stop looking for lost hosts, refuse who waits, let go of the connections.

        It may be used again: then it begins as if new.
        """
        with self._lock:
            self._closed.set()  # for the threads that look now
            self._closed = threading.Event()
            waiting, self._waiting = self._waiting, deque()
            for host in self.hosts:
                host.answers, host.trouble, host._looking = False, "", False
        for waiter in waiting:
            _answer(waiter, SandboxError("the Docker backend was closed meanwhile"))
        for host in self.hosts:
            host.engine.close()

    # -- giving out places (all with the lock held) ----------------------------------------------

    def _serve(self) -> None:
        """Give places to as many as there is room for, in the order they came.

        One who waits for a certain host holds up only others who do.
        """
        left: deque[_Waiter] = deque()
        full: set[Host | None] = set()
        for waiter in self._waiting:
            if waiter.place.cancelled():
                continue
            if waiter.host in full and not waiter.beyond:
                left.append(waiter)
                continue
            place = self._place_for(waiter)
            if place is None:
                error = self._refusal(waiter)
                if error is None:
                    full.add(waiter.host)
                    left.append(waiter)
                else:
                    _answer(waiter, error)
            elif _answer(waiter, place):
                place.used += 1
        self._waiting = left

    def _place_for(self, waiter: _Waiter) -> Host | None:
        candidates = [
            host
            for host in ((waiter.host,) if waiter.host else self.hosts)
            if host.answers and (waiter.beyond or host.used < host.capacity)
        ]
        return min(candidates, key=lambda host: host.used / host.capacity, default=None)

    def _refusal(self, waiter: _Waiter) -> SandboxUnavailableError | None:
        """Why it can't go on waiting: nobody whom it could wait for answers, and time is up."""
        wanted = (waiter.host,) if waiter.host else self.hosts
        if any(host.answers or not host.trouble for host in wanted):
            return None
        if self._ever and time.monotonic() < waiter.since + PATIENCE:
            return None
        return SandboxUnavailableError("; ".join(host.trouble for host in wanted))

    # -- looking whether a host answers ----------------------------------------------------------

    def _look(self, host: Host) -> None:
        """With the lock held."""
        if not host._looking:
            host._looking = True
            name = f"looking for {host.name}"
            threading.Thread(
                target=self._look_until_it_answers,
                args=(host, self._closed),
                name=name,
                daemon=True,
            ).start()

    def _look_until_it_answers(self, host: Host, closed: threading.Event) -> None:
        pause = 0.25
        while not closed.is_set():
            try:
                found = host.engine.call_now(lambda client: client.info())
            except SandboxError as error:
                with self._lock:
                    if closed.is_set():
                        return
                    host.trouble = str(error)
                    self._serve()
            else:
                with self._lock:
                    if closed.is_set():
                        return
                    host.capacity = host._wanted or default_capacity(found)
                    host.answers, host.trouble, host._looking = True, "", False
                    self._ever = True
                    self._serve()
                return
            closed.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _forked(self) -> None:
        """The places, those who wait and the threads that look are the parent's."""
        self._lock = threading.Lock()
        self._waiting = deque()
        self._closed = threading.Event()
        for host in self.hosts:
            host.used, host.answers, host.trouble, host._looking = 0, False, "", False


def _answer(waiter: _Waiter, answer: Host | SandboxError) -> bool:
    """Whether it still wanted one."""
    if not waiter.place.set_running_or_notify_cancel():
        return False
    if isinstance(answer, SandboxError):
        waiter.place.set_exception(answer)
    else:
        waiter.place.set_result(answer)
    return True


def default_capacity(info: dict[str, Any]) -> int:
    """Sandboxes for a daemon that says this of itself (``docker info``)."""
    by_cpu = int(info.get("NCPU") or 1) * PER_CPU
    by_memory = (int(info.get("MemTotal") or 0) >> 20) // MEMORY_MB
    return max(1, min(by_cpu, by_memory))


def parse_hosts(text: str) -> tuple[HostSpec, ...]:
    """Read ``REPODROME_DOCKER_HOSTS``: ``unix:///var/run/docker.sock=8 tcp://host:2376=16 gpu2``.

    Each is an address as in DOCKER_HOST or the name of a Docker context, with its capacity behind
    ``=`` where the default won't do.

    Raises:
        UsageError: it doesn't read.
    """
    return specs_of(text.split())


def specs_of(hosts: Iterable[str | HostSpec]) -> tuple[HostSpec, ...]:
    """The same for a list.

    Raises:
        UsageError: one doesn't read, or comes twice.
    """
    specs: list[HostSpec] = []
    for host in hosts:
        spec = _read(host) if isinstance(host, str) else host
        if spec.address in [known.address for known in specs]:
            raise UsageError(f"Docker host {host!r} is named twice; give each once")
        specs.append(spec)
    return tuple(specs)


def _read(text: str) -> HostSpec:
    place, equals, number = text.rpartition("=")
    if not equals:
        place, number = text, ""
    if not place or (equals and not (number.isdigit() and int(number) > 0)):
        raise UsageError(
            f"Docker host {text!r}: write ADDRESS or ADDRESS=CAPACITY, such as "
            f"tcp://10.0.0.2:2376=16 (in {VARIABLE}, blanks between them)"
        )
    scheme, has_scheme, rest = place.partition("://")
    if has_scheme and (scheme not in ("unix", "tcp", "ssh", "http", "https", "npipe") or not rest):
        raise UsageError(
            f"Docker host {text!r}: addresses are unix://PATH, tcp://HOST:PORT or ssh://USER@HOST; "
            "else give the name of a context (`docker context ls`)"
        )
    address = Address(place) if has_scheme else Address(context=place)
    return HostSpec(address, int(number) if number else None)


def specs_from_environment() -> tuple[HostSpec, ...]:
    """The daemons that REPODROME_DOCKER_HOSTS names, or the default one.

    Raises:
        UsageError: it doesn't read.
    """
    return parse_hosts(os.environ.get(VARIABLE, "")) or (HostSpec(),)
