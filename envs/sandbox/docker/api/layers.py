"""Layers on a daemon: one named volume each, filled once, shared by all who use that daemon.

A volume is named by its layer's content. It is filled through a container that never runs; the last
file to arrive says that it is complete, and the container's name is the lock.
"""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import anyio
import anyio.to_thread

from repodrome.envs.sandbox.direct.treecopy import MAX_DEPTH
from repodrome.envs.sandbox.docker.api.inside.keeper import COMPLETE
from repodrome.envs.sandbox.docker.engine import DockerError, Engine, NotFoundError
from repodrome.envs.sandbox.docker.hardening import USER
from repodrome.errors import SandboxError

KIND = {"repodrome.kind": "layer"}
"""Labels of the volumes. They have no owner: like images they outlive who made them."""
FILL_SECONDS = 600.0
"""What filling one may take; a lock older than this was left by somebody who died."""
_PLACE = "/layer"
_MARKS = tuple(f"{s}.overlay.{n}" for s in ("trusted", "user") for n in ("opaque", "redirect"))


@dataclass(frozen=True)
class Volume:
    """A named volume; ``path`` is where the daemon's host has it."""

    name: str
    path: str


async def ensure_layer(
    engine: Engine, image: str, layer: Path, *, labels: Mapping[str, str]
) -> Volume:
    """Have a layer in a volume of the daemon.

    Args:
        image: any image that is there; nothing of it runs.
        labels: of the container that fills it, so that it can be told when its owner is dead.

    Raises:
        SandboxError: the layer is missing, or the daemon can't take it.
    """
    digest = await anyio.to_thread.run_sync(_digest, layer)
    name = f"repodrome-layer-{digest[:32]}"
    made = await engine.call(lambda c: c.create_volume(name, labels=KIND))
    volume = Volume(name, made["Mountpoint"])
    lock = f"{name}-filling"
    deadline = time.monotonic() + FILL_SECONDS
    while not await _filled(engine, image, layer, volume, lock, labels):
        if time.monotonic() > deadline:
            await _remove(engine, lock)
        await anyio.sleep(0.1)
    return volume


async def prune_layers(engine: Engine) -> list[str]:
    """Remove the layer volumes that no container uses; returns their names."""
    wanted = {"label": [f"{key}={value}" for key, value in KIND.items()], "dangling": True}
    found = await engine.call(lambda c: c.volumes(filters=wanted))
    removed = []
    for volume in found.get("Volumes") or ():
        name = str(volume["Name"])
        try:
            await engine.call(functools.partial(_remove_volume, name=name))
        except DockerError:  # taken into use meanwhile, or gone
            continue
        removed.append(name)
    return removed


async def _filled(
    engine: Engine,
    image: str,
    layer: Path,
    volume: Volume,
    lock: str,
    labels: Mapping[str, str],
) -> bool:
    """Fill it if it needs that; False while somebody else is at it."""
    from docker.types import Mount

    def create(client: Any) -> Any:
        mount = Mount(_PLACE, volume.name, type="volume", no_copy=True)
        config = client.create_host_config(mounts=[mount], network_mode="none")
        return client.create_container(
            image, ["true"], name=lock, labels=dict(labels), host_config=config
        )

    try:
        # Not cut short: else nobody would remove it.
        await engine.change(create)
    except DockerError as error:
        if "is already in use" in str(error):
            return False
        raise
    try:
        if not await _is_complete(engine, lock):
            await anyio.to_thread.run_sync(_send, engine, lock, layer)
    finally:
        with anyio.CancelScope(shield=True):
            await _remove(engine, lock)
    return True


async def _is_complete(engine: Engine, container: str) -> bool:
    def look(client: Any) -> None:
        chunks, _ = client.get_archive(container, f"{_PLACE}/{COMPLETE}")
        for _ in chunks:
            pass

    try:
        await engine.call(look)
    except NotFoundError:
        return False
    return True


def _send(engine: Engine, container: str, layer: Path) -> None:
    with tempfile.TemporaryFile() as file:
        write_tar(layer, file)
        file.seek(0)
        engine.call_now(lambda c: c.put_archive(container, _PLACE, file))


def _remove_volume(client: Any, name: str) -> None:
    client.remove_volume(name)


async def _remove(engine: Engine, container: str) -> None:
    try:
        await engine.call(lambda c: c.remove_container(container, force=True))
    except NotFoundError:
        pass


def write_tar(layer: Path, file: IO[bytes]) -> None:
    """A layer as a tar, its files the agent's own, whiteouts and the overlay's marks kept."""
    uid, gid = map(int, USER.split(":"))
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, name, status in _entries(layer):
            info = tarfile.TarInfo(f"content/{name}" if name else "content")
            info.mode, info.uid, info.gid = stat.S_IMODE(status.st_mode), uid, gid
            info.mtime = status.st_mtime_ns / 1e9
            if stat.S_ISREG(status.st_mode):
                info.size = status.st_size
                with open(path, "rb") as content:
                    tar.addfile(info, content)
                continue
            if stat.S_ISDIR(status.st_mode):
                info.type = tarfile.DIRTYPE
                info.pax_headers = {f"SCHILY.xattr.{k}": v for k, v in _marks(path).items()}
            elif stat.S_ISLNK(status.st_mode):
                info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
            else:
                info.type = tarfile.CHRTYPE  # 0:0, a whiteout
            tar.addfile(info)
        tar.addfile(tarfile.TarInfo(COMPLETE))


def _entries(layer: Path) -> Iterator[tuple[str, str, os.stat_result]]:
    """Directories before what is in them, sorted; what is no part of a layer is left out."""

    def below(path: str, name: str, depth: int) -> Iterator[tuple[str, str, os.stat_result]]:
        status = os.lstat(path)
        whiteout = stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
        if whiteout or stat.S_IFMT(status.st_mode) in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            yield path, name, status
        if stat.S_ISDIR(status.st_mode) and depth < MAX_DEPTH:
            for entry in sorted(os.listdir(path)):
                yield from below(f"{path}/{entry}", f"{name}/{entry}".lstrip("/"), depth + 1)

    yield from below(str(layer), "", 0)


def _marks(path: str) -> dict[str, str]:
    marks = {}
    for mark in _MARKS:
        try:
            marks[mark] = os.fsdecode(os.getxattr(path, mark, follow_symlinks=False))
        except OSError:
            continue
    return marks


def _digest(layer: Path) -> str:
    """Hash of a layer's content; layers don't change, so it is taken once."""
    try:
        status = os.stat(layer)
    except OSError as error:
        raise SandboxError(
            f"layer {layer} is missing; run `repodrome clean --cache`, start again"
        ) from error
    return _digest_of(str(layer), status.st_dev, status.st_ino, status.st_ctime_ns)


@functools.lru_cache(maxsize=4096)
def _digest_of(layer: str, device: int, inode: int, changed: int) -> str:
    total = hashlib.sha256(b"1\0")
    for path, name, status in _entries(Path(layer)):
        facts = f"{name}\0{status.st_mode:o}\0".encode(errors="surrogateescape")
        total.update(facts)
        if stat.S_ISREG(status.st_mode):
            with open(path, "rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        elif stat.S_ISLNK(status.st_mode):
            total.update(os.fsencode(os.readlink(path)) + b"\0")
        elif stat.S_ISDIR(status.st_mode):
            total.update(repr(sorted(_marks(path).items())).encode(errors="surrogateescape"))
    return total.hexdigest()
