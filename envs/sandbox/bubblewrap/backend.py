"""The embedded backend: bwrap over overlayfs, no daemon, root or not."""

from __future__ import annotations

import os
import shutil
from collections import Counter, deque
from pathlib import Path

import anyio

from repodrome.envs.sandbox.base import SandboxSpec
from repodrome.envs.sandbox.bubblewrap.place import BwrapPlace
from repodrome.envs.sandbox.direct.client import sandbox_owner, spawner
from repodrome.envs.sandbox.direct.sandbox import DirectSandbox
from repodrome.envs.sandbox.reaper import reap
from repodrome.errors import SandboxError, SandboxUnavailableError

FIX = "install it with `apt-get install bubblewrap` (or your system's package manager)"


class BubblewrapBackend:
    """Implements :class:`~repodrome.envs.sandbox.base.SandboxBackend`."""

    name = "bubblewrap"
    search_path = f"/usr/local/bin:/usr/bin:/bin:{os.defpath}"
    """Where bwrap is looked for: system directories, never the current user's PATH first."""

    max_ready = 64
    """Most prefetched sandboxes, over all specs."""

    def __init__(self) -> None:
        self._ready: dict[SandboxSpec, deque[DirectSandbox]] = {}
        self._coming: Counter[SandboxSpec] = Counter()
        self._pid = os.getpid()
        self._reaped = False

    def __deepcopy__(self, memo: object) -> BubblewrapBackend:
        """Itself: Gymnasium copies the arguments of an environment, and a backend is a service."""
        return self

    @property
    def owner(self) -> tuple[int, int]:
        """See :class:`~repodrome.envs.sandbox.base.SandboxBackend`."""
        return sandbox_owner()

    def check(self) -> None:
        """See :class:`~repodrome.envs.sandbox.base.SandboxBackend`."""
        self._bwrap()
        spawner()

    def _bwrap(self) -> str:
        path = shutil.which("bwrap", path=self.search_path)
        if path is None:
            raise SandboxUnavailableError(
                f"the bubblewrap sandbox needs bwrap, which is not installed. Fix: {FIX}"
            )
        return path

    async def start(
        self, spec: SandboxSpec, *, live: bool = True, persist: Path | None = None
    ) -> DirectSandbox:
        """See :class:`~repodrome.envs.sandbox.base.SandboxBackend`."""
        if live and persist is None:
            while (sandbox := self._take(spec)) is not None:
                if sandbox.usable():
                    return sandbox
                await sandbox.close()
        return await self._start(spec, live=live, persist=persist)

    def _take(self, spec: SandboxSpec) -> DirectSandbox | None:
        """A prefetched sandbox; loops in other threads may take from the same queue."""
        try:
            return self._queues()[spec].popleft()
        except (KeyError, IndexError):
            return None

    def _queues(self) -> dict[SandboxSpec, deque[DirectSandbox]]:
        if self._pid != os.getpid():  # forked: those are the parent's, not ours even to close
            self._ready, self._coming, self._pid = {}, Counter(), os.getpid()
        return self._ready

    async def _start(self, spec: SandboxSpec, *, live: bool, persist: Path | None) -> DirectSandbox:
        for layer in spec.layers:
            if not layer.is_dir():
                raise SandboxError(
                    f"layer {layer} is missing; run `repodrome clean --cache`, start again"
                )
        if not self._reaped:
            self._reaped = True
            await anyio.to_thread.run_sync(reap)
        sandbox = DirectSandbox(BwrapPlace(spawner(), spec, self._bwrap()), persist)
        await sandbox.start(live=live)
        return sandbox

    async def prefetch(self, spec: SandboxSpec, count: int) -> None:
        """See :class:`~repodrome.envs.sandbox.base.SandboxBackend`.

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
                if (old := self._take(spec)) is None:
                    break
                await old.close()
            if not self._ready.get(spec) and not self._coming[spec]:
                self._ready.pop(spec, None)

    async def _fetch(self, spec: SandboxSpec) -> None:
        sandbox = await self._start(spec, live=True, persist=None)
        self._ready.setdefault(spec, deque()).append(sandbox)

    async def close(self) -> None:
        """See :class:`~repodrome.envs.sandbox.base.SandboxBackend`."""
        with anyio.CancelScope(shield=True):  # half of it would leave the other half running
            for spec in list(self._queues()):
                while (sandbox := self._take(spec)) is not None:
                    await sandbox.close()
            self._ready.clear()
