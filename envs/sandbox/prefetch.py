"""Sandboxes started ahead of time, for whichever backend."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

import anyio

from repodrome.envs.sandbox.base import SandboxSpec


class Startable(Protocol):
    """What a prefetched sandbox must be able to say of itself."""

    async def usable(self) -> bool:
        """Whether it is open and what it depends on still runs."""

    async def close(self) -> None:
        """Give everything back."""


Made = TypeVar("Made", bound=Startable)


class Prefetched(Generic[Made]):
    """Fresh sandboxes by spec; loops in other threads may take from them too.

    Args:
        start: starts one.
    """

    max_ready = 64
    """Most of them, over all specs."""

    def __init__(self, start: Callable[[SandboxSpec], Awaitable[Made]]) -> None:
        self._start = start
        self._ready: dict[SandboxSpec, deque[Made]] = {}
        self._coming: Counter[SandboxSpec] = Counter()
        self._pid = os.getpid()

    async def take(self, spec: SandboxSpec) -> Made | None:
        """One of this spec that can be used, if there is one."""
        while (sandbox := self._pop(spec)) is not None:
            if await sandbox.usable():
                return sandbox
            await sandbox.close()
        return None

    def _pop(self, spec: SandboxSpec) -> Made | None:
        try:
            return self._queues()[spec].popleft()
        except (KeyError, IndexError):
            return None

    def _queues(self) -> dict[SandboxSpec, deque[Made]]:
        if self._pid != os.getpid():  # forked: those are the parent's, not ours even to close
            self._ready, self._coming, self._pid = {}, Counter(), os.getpid()
        return self._ready

    async def fetch(self, spec: SandboxSpec, count: int) -> None:
        """Have ``count`` of this spec ready.

        At most :attr:`max_ready` are kept in all; those of the spec asked for longest ago go first.
        """
        queue = self._queues().pop(spec, None) or deque()
        self._ready[spec] = queue  # now the last one: asked for most recently
        missing = min(count, self.max_ready) - len(queue) - self._coming[spec]
        if missing <= 0:
            return
        self._coming[spec] += missing
        try:
            await self._make_room(missing)
            async with anyio.create_task_group() as group:
                for _ in range(missing):
                    group.start_soon(self._fetch, spec)
        finally:
            self._coming[spec] -= missing
            self._coming += Counter()  # drops what is 0

    async def _make_room(self, wanted: int) -> None:
        for spec in list(self._ready):
            while sum(map(len, self._ready.values())) > self.max_ready - wanted:
                if (old := self._pop(spec)) is None:
                    break
                await old.close()
            if not self._ready.get(spec) and not self._coming[spec]:
                self._ready.pop(spec, None)

    async def _fetch(self, spec: SandboxSpec) -> None:
        sandbox = await self._start(spec)
        self._ready.setdefault(spec, deque()).append(sandbox)

    async def close(self) -> None:
        """Close all of them."""
        with anyio.CancelScope(shield=True):  # half of it would leave the other half running
            for spec in list(self._queues()):
                while (sandbox := self._pop(spec)) is not None:
                    await sandbox.close()
            self._ready.clear()
