"""Containers between two sandboxes: as good as new, so that the next start need not make one."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping

import anyio
import anyio.to_thread

from repodrome.envs.sandbox.direct.client import Spawner
from repodrome.envs.sandbox.docker.container import Container, Kind
from repodrome.envs.sandbox.docker.engine import Engine

MAX_IDLE = 32
"""Containers kept while nobody uses them; each is one small process."""
STARTING = 8
"""Containers being made at once: the daemon makes them one after the other anyhow."""


class Pool:
    """Takes containers back and hands them out again; for any thread and event loop.

    Args:
        spawner: gives this process's spawner.
        labels: says what a new container is labelled with.
    """

    def __init__(
        self, spawner: Callable[[], Spawner], labels: Callable[[], Mapping[str, str]]
    ) -> None:
        self._spawner, self._labels = spawner, labels
        self._lock = threading.Lock()
        self._idle: OrderedDict[Container, None] = OrderedDict()
        self._all: set[Container] = set()
        self._making = threading.BoundedSemaphore(STARTING)
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        """Those are the parent's; ours must not hold them, nor end them."""
        for container in self._all:
            container.abandon()
        self._lock = threading.Lock()
        self._making = threading.BoundedSemaphore(STARTING)
        self._idle.clear()
        self._all.clear()

    async def take(self, engine: Engine, kind: Kind) -> Container:
        """A container that nobody uses, made anew where there is none.

        Raises:
            SandboxError: the daemon can't.
        """
        container, dead = self._find(engine, kind)
        if dead:
            await self._remove(dead)
        if container is not None:
            return container
        made: list[Container] = []
        with anyio.CancelScope(shield=True):  # a cancelled caller must not lose one half made
            made.append(await anyio.to_thread.run_sync(self._make, engine, kind))
        return made[0]

    def _find(self, engine: Engine, kind: Kind) -> tuple[Container | None, list[Container]]:
        spawner = self._spawner()
        found, dead = None, []
        with self._lock:
            for container in reversed(self._idle):
                if not container.alive() or container.spawner is not spawner:
                    dead.append(container)
                elif container.engine is engine and container.kind == kind:
                    found = container
                    break
            for container in (*dead, *([found] if found else [])):
                del self._idle[container]
        return found, dead

    def _make(self, engine: Engine, kind: Kind) -> Container:
        with self._making:
            container = Container.create(engine, kind, self._spawner(), self._labels())
        with self._lock:
            self._all.add(container)
        return container

    async def give_back(self, container: Container, *, reusable: bool) -> None:
        """Take a container back; it is removed where it can't be used again."""
        excess: list[Container] = []
        with self._lock:
            if container not in self._all:
                return
            if reusable and container.alive():
                self._idle[container] = None
                while len(self._idle) > MAX_IDLE:
                    excess.append(self._idle.popitem(last=False)[0])
            else:
                excess.append(container)
        if excess:
            await self._remove(excess)

    async def _remove(self, containers: list[Container]) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._remove_now, containers)

    def _remove_now(self, containers: list[Container]) -> None:
        for container in containers:
            with self._lock:
                self._all.discard(container)
            container.remove()

    def close(self) -> None:
        """Remove what is idle; blocks. Containers in use go when they are given back."""
        with self._lock:
            idle = list(self._idle)
            self._idle.clear()
        self._remove_now(idle)
