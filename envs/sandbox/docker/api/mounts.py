"""Pieces of what the daemon mounts into a sandbox's containers."""

from __future__ import annotations

import io
import tarfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from repodrome.envs.sandbox.docker.engine import Engine


def mount_list(mounts: Mapping[str, str], read_only: Sequence[str]) -> list[Any]:
    """Volumes by the places that a container has them at, as the engine takes them."""
    from docker.types import Mount

    return [
        Mount(place, volume, type="volume", read_only=place in read_only, no_copy=True)
        for place, volume in mounts.items()
    ]


def bind(path: str) -> dict[str, str]:
    """Options of a volume that is a directory of the daemon's host."""
    return {"type": "none", "o": "bind", "device": path}


def tar_of(files: Sequence[str]) -> bytes:
    """Files of this machine, at their places, as the engine puts them into a container."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for path in files:
            info = tarfile.TarInfo(path.lstrip("/"))
            content = Path(path).read_bytes()
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content))
    return data.getvalue()


_remapped: weakref.WeakKeyDictionary[Engine, bool] = weakref.WeakKeyDictionary()


async def in_user_namespace(engine: Engine) -> bool:
    """Whether the daemon's containers lack the real root: overlays then have other marks."""
    if engine not in _remapped:
        said = await engine.call(lambda c: c.info())
        options = " ".join(said.get("SecurityOptions") or ())
        _remapped[engine] = "name=rootless" in options or "name=userns" in options
    return _remapped[engine]
