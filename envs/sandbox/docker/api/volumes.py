"""The volumes of one sandbox: what its containers have mounted, and who mounts it.

All that the agent writes lies in one tmpfs volume with the sandbox's quota. Its container sees it
as the upper layer of overlays, over the layers' volumes; the daemon itself mounts those, as volumes
of the ``local`` driver.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import anyio

from repodrome.envs.sandbox.base import ENV_PREFIX, HOME, WORKSPACE
from repodrome.envs.sandbox.direct.layout import CONTROL
from repodrome.envs.sandbox.docker.api.inside.keeper import CTL, FILES, LAYERS, PARTS
from repodrome.envs.sandbox.docker.api.layers import Volume, ensure_layer
from repodrome.envs.sandbox.docker.api.mounts import bind, in_user_namespace, mount_list
from repodrome.envs.sandbox.docker.api.setting import Setting
from repodrome.envs.sandbox.docker.engine import DockerError, NotFoundError
from repodrome.errors import SandboxError

PLACES = dict(zip(PARTS, (WORKSPACE, ENV_PREFIX, HOME), strict=True))
OWN_INODES = 64
"""Inodes of a sandbox's tmpfs that are ours."""
CTL_OPTIONS = "size=256m,nr_inodes=16384,mode=1777,nosuid,nodev"
REMOVALS = 50
"""How often something is tried to be removed that its users are still letting go of."""


class Volumes:
    """One sandbox's volumes.

    Args:
        name: with which theirs begin.

    Attributes:
        closed: the sandbox was closed, and no more may be made.
    """

    def __init__(self, setting: Setting, name: str) -> None:
        self.closed = False
        self._setting, self._name = setting, name
        self._made: list[str] = []
        self._layers: tuple[Volume, ...] = ()
        self._mounts: list[Any] | None = None
        self._mounting = anyio.Lock(fast_acquire=True)

    async def make(self) -> list[Any]:
        """Make those that the keeper has; returns its mounts.

        Raises:
            SandboxError: the daemon can't.
        """
        spec = self._setting.spec
        options = None
        if not self._setting.persist:
            quota = f"size={spec.limits.disk_mb}m,nr_inodes={spec.limits.inodes + OWN_INODES}"
            options = _tmpfs(f"{quota},mode=1777,nosuid,nodev")
        files = await self._volume("files", options)
        ctl = await self._volume("ctl", _tmpfs(CTL_OPTIONS))
        self._layers = tuple([await self._layer(layer) for layer in spec.layers])
        mounts = {FILES: files.name, CTL: ctl.name}
        mounts |= {f"{LAYERS}/{i}": volume.name for i, volume in enumerate(self._layers)}
        return mount_list(mounts, [place for place in mounts if place not in (FILES, CTL)])

    async def mounts(self) -> list[Any]:
        """Those of the agent's container, made when they are first asked for.

        Raises:
            SandboxError: the daemon can't, or the sandbox was closed.
        """
        async with self._mounting:
            if self._mounts is None:
                self._mounts = await self._make_mounts()
            return self._mounts

    async def _make_mounts(self) -> list[Any]:
        setting = self._setting
        base = await self._path_of(f"{self._name}-files")
        own = "userxattr" if await in_user_namespace(setting.engine) else "redirect_dir=on"
        mounts = {CONTROL: f"{self._name}-ctl"}
        for part, place in PLACES.items():
            lower = [
                f"{volume.path}/content/{part}"
                for volume, layer in zip(self._layers, setting.spec.layers, strict=True)
                if (layer / part).is_dir()
            ]
            upper, work = f"{base}/upper/{part}", f"{base}/work/{part}"
            options = bind(upper)
            if lower:
                parts = f"lowerdir={':'.join(reversed(lower))},upperdir={upper},workdir={work}"
                options = {"type": "overlay", "device": "overlay"}
                options["o"] = f"{parts},{own},nosuid,nodev"
            mounts[place] = (await self._volume(part, options)).name
        for part, place in (("tmp", "/tmp"), ("tests", "/tests"), ("logs", "/logs")):
            mounts[place] = (await self._volume(part, bind(f"{base}/{part}"))).name
        if setting.spec.workspace_at:
            mounts[setting.spec.workspace_at] = mounts[WORKSPACE]
        read_only = [CONTROL]
        for number, path in enumerate(filter(os.path.isdir, setting.spec.toolchains)):
            tree = await self._layer(Path(path))
            volume = await self._volume(f"tree{number}", bind(f"{tree.path}/content"))
            mounts[path] = volume.name
            read_only.append(path)
        return mount_list(mounts, read_only)

    async def _path_of(self, volume: str) -> str:
        found = await self._setting.engine.call(lambda c: c.inspect_volume(volume))
        return str(found["Mountpoint"])

    async def _layer(self, path: Path) -> Volume:
        setting = self._setting
        return await ensure_layer(setting.engine, setting.helper, path, labels=setting.labels)

    async def _volume(self, kind: str, options: dict[str, str] | None) -> Volume:
        name = f"{self._name}-{kind}"
        self._made.append(name)
        labels = dict(self._setting.labels)
        made = await self._setting.engine.change(
            lambda c: c.create_volume(name, "local", options, labels)
        )
        if self.closed:
            with anyio.CancelScope(shield=True):
                await self._remove(name)
            raise SandboxError("the sandbox was closed")
        return Volume(name, made["Mountpoint"])

    async def remove(self) -> None:
        """Remove them all, once no container has them; a daemon that is gone keeps them."""
        async with anyio.create_task_group() as group:
            for name in self._made:
                group.start_soon(self._remove, name)

    async def _remove(self, name: str) -> None:
        for _ in range(REMOVALS):
            try:
                await self._setting.engine.call(lambda c: c.remove_volume(name))
                return
            except NotFoundError:
                return
            except DockerError:  # its container is on its way out, or another reads from it
                await anyio.sleep(0.05)
            except SandboxError:
                return


def _tmpfs(options: str) -> dict[str, str]:
    return {"type": "tmpfs", "device": "tmpfs", "o": options}
