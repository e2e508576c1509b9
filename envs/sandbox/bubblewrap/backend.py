"""The embedded backend: bwrap over overlayfs, no daemon, root or not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import anyio

from repodrome.envs.sandbox.base import SandboxSpec
from repodrome.envs.sandbox.bubblewrap.place import BwrapPlace
from repodrome.envs.sandbox.direct.client import sandbox_owner, spawner
from repodrome.envs.sandbox.direct.sandbox import DirectSandbox
from repodrome.envs.sandbox.prefetch import Prefetched
from repodrome.envs.sandbox.reaper import reap
from repodrome.errors import SandboxError, SandboxUnavailableError, UsageError

FIX = "install it with `apt-get install bubblewrap` (or your system's package manager)"


class BubblewrapBackend:
    """Implements :class:`~repodrome.envs.sandbox.base.SandboxBackend`."""

    name = "bubblewrap"
    search_path = f"/usr/local/bin:/usr/bin:/bin:{os.defpath}"
    """Where bwrap is looked for: system directories, never the current user's PATH first."""

    def __init__(self) -> None:
        self.prefetched: Prefetched[DirectSandbox] = Prefetched(self._start)
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
        if live and persist is None and (ready := await self.prefetched.take(spec)):
            return ready
        return await self._start(spec, live=live, persist=persist)

    async def _start(
        self, spec: SandboxSpec, *, live: bool = True, persist: Path | None = None
    ) -> DirectSandbox:
        if spec.network == "allowlist":
            raise UsageError(
                "the bubblewrap sandbox has no way out to certain hosts only, which "
                'network_mode = "allowlist" asks for. Fix: choose the sandbox "docker"'
            )
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
        """See :class:`~repodrome.envs.sandbox.base.SandboxBackend`."""
        await self.prefetched.fetch(spec, count)

    async def close(self) -> None:
        """See :class:`~repodrome.envs.sandbox.base.SandboxBackend`."""
        await self.prefetched.close()
