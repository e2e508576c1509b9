"""The embedded backend: bwrap over overlayfs, no daemon, root or not."""

from __future__ import annotations

import os
import shutil
from collections import deque
from pathlib import Path

import anyio

from repodrome.envs.sandbox.base import SandboxSpec
from repodrome.envs.sandbox.bubblewrap.client import sandbox_owner, spawner
from repodrome.envs.sandbox.bubblewrap.sandbox import BubblewrapSandbox
from repodrome.envs.sandbox.reaper import reap
from repodrome.errors import SandboxError, SandboxUnavailableError

FIX = "install it with `apt-get install bubblewrap` (or your system's package manager)"


class BubblewrapBackend:
    """Implements :class:`~repodrome.envs.sandbox.base.SandboxBackend`."""

    name = "bubblewrap"
    search_path = f"/usr/local/bin:/usr/bin:/bin:{os.defpath}"
    """Where bwrap is looked for: system directories, never the current user's PATH first."""

    def __init__(self) -> None:
        self._ready: dict[SandboxSpec, deque[BubblewrapSandbox]] = {}
        self._reaped = False

    def __deepcopy__(self, memo: object) -> BubblewrapBackend:
        """Itself: Gymnasium copies the arguments of an environment, and a backend is a service."""
        return self

    @property
    def owner(self) -> tuple[int, int]:
        """Host uid and gid that layers must belong to."""
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
    ) -> BubblewrapSandbox:
        """See :class:`~repodrome.envs.sandbox.base.SandboxBackend`."""
        if live and persist is None:
            while (sandbox := self._take(spec)) is not None:
                if sandbox.usable():
                    return sandbox
                await sandbox.close()
        return await self._start(spec, live=live, persist=persist)

    def _take(self, spec: SandboxSpec) -> BubblewrapSandbox | None:
        """A prefetched sandbox; loops in other threads may take from the same queue."""
        try:
            return self._ready[spec].popleft()
        except (KeyError, IndexError):
            return None

    async def _start(
        self, spec: SandboxSpec, *, live: bool, persist: Path | None
    ) -> BubblewrapSandbox:
        for layer in spec.layers:
            if not layer.is_dir():
                raise SandboxError(f"layer {layer} is missing; `repodrome clean` and start again")
        if not self._reaped:
            self._reaped = True
            await anyio.to_thread.run_sync(reap)
        sandbox = BubblewrapSandbox(spec, spawner(), self._bwrap(), persist)
        await sandbox.start(live=live)
        return sandbox

    async def prefetch(self, spec: SandboxSpec, count: int) -> None:
        """See :class:`~repodrome.envs.sandbox.base.SandboxBackend`."""
        missing = count - len(self._ready.setdefault(spec, deque()))
        if missing <= 0:
            return
        async with anyio.create_task_group() as group:
            for _ in range(missing):
                group.start_soon(self._fetch, spec)

    async def _fetch(self, spec: SandboxSpec) -> None:
        sandbox = await self._start(spec, live=True, persist=None)
        self._ready.setdefault(spec, deque()).append(sandbox)

    async def close(self) -> None:
        """See :class:`~repodrome.envs.sandbox.base.SandboxBackend`."""
        with anyio.CancelScope(shield=True):  # half of it would leave the other half running
            for spec in list(self._ready):
                while (sandbox := self._take(spec)) is not None:
                    await sandbox.close()
            self._ready.clear()
