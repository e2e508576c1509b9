"""Which images a daemon keeps for us, and removing those that nobody needs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from repodrome.envs.sandbox.docker.engine import DockerError, Engine, NotFoundError
from repodrome.envs.sandbox.docker.images import CARRIED, KIND_LABEL, TASK_LABEL, base_reference

PREFIX = "repodrome/"


@dataclass(frozen=True, slots=True)
class Kept:
    """An image of ours.

    Attributes:
        id: of its content.
        names: every name it goes by, others' too; none: it is dangling.
        kind: ``base``, ``task``, or ``carried`` from another daemon.
        task: whose it was first made for, or ``""``.
        size: bytes, layers that it shares with others included.
        created: seconds since 1970.
        used: containers, running or not, are made of it.
    """

    id: str
    names: tuple[str, ...]
    kind: str
    task: str
    size: int
    created: int
    used: bool

    @property
    def age(self) -> float:
        """Seconds."""
        return max(0.0, time.time() - self.created)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a daemon has.

    Attributes:
        tops: images with a name, or on which no other is built.
        parents: image → what it was built on, as far as this daemon built it.
    """

    tops: tuple[Kept, ...]
    parents: dict[str, str]


async def images(engine: Engine) -> list[Kept]:
    """Every image of ours, newest first: labelled by us, or the base image.

    Raises:
        SandboxError: the daemon can't be reached.
    """
    return _ours(await _everything(engine))


async def prune(engine: Engine, *, everything: bool = False) -> list[Kept]:
    """Remove images of ours that nobody needs; returns what is gone.

    Without ``everything`` only what is superseded: images without a name, and those of a task of
    which there is a newer one of the same kind. What containers are made of stays, what an image
    that stays is built on, and what others gave a name of theirs.

    Raises:
        SandboxError: the daemon can't be reached.
    """
    found = await _everything(engine)
    ours = _ours(found)
    doomed = [one for one in (ours if everything else _superseded(ours)) if not one.used]
    needed = _ancestors(found, {one.id for one in doomed})
    return [one for one in doomed if one.id not in needed and await _removed(engine, one)]


async def _everything(engine: Engine) -> _Found:
    def ask(client: Any) -> _Found:
        used = {str(one["ImageID"]) for one in client.containers(all=True)}
        entries = client.images(all=True)
        parents = {str(e["Id"]): str(e.get("ParentId") or "") for e in entries}
        inner = set(parents.values())
        tops = [e for e in entries if _names(e) or str(e["Id"]) not in inner]
        return _Found(tuple(_kept(e, str(e["Id"]) in used) for e in tops), parents)

    return await engine.call(ask)


def _ours(found: _Found) -> list[Kept]:
    ours = (one for one in found.tops if one.kind)
    return sorted(ours, key=lambda one: (-one.created, one.names))


def _ancestors(found: _Found, doomed: set[str]) -> set[str]:
    """What images that stay are built on."""
    needed = set()
    for top in found.tops:
        identity = "" if top.id in doomed else found.parents.get(top.id, "")
        while identity:
            needed.add(identity)
            identity = found.parents.get(identity, "")
    return needed


def _superseded(newest_first: Iterable[Kept]) -> Iterator[Kept]:
    seen = set()
    for one in newest_first:
        if not one.names:
            yield one
        elif one.task:
            if (one.kind, one.task) in seen:
                yield one
            seen.add((one.kind, one.task))


async def _removed(engine: Engine, one: Kept) -> bool:
    """Remove it, unless it has a name that others gave it; never by force."""
    names = [name for name in one.names if name.startswith(PREFIX)]
    if len(names) < len(one.names):
        return False
    for name in names or [one.id]:
        try:
            await engine.call(partial(_remove, name))
        except NotFoundError:
            pass
        except DockerError:
            return False  # a container was made of it meanwhile
    return True


def _remove(name: str, client: Any) -> None:
    client.remove_image(name)


def _names(entry: dict[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in entry.get("RepoTags") or () if name != "<none>:<none>")


def _kept(entry: dict[str, Any], used: bool) -> Kept:
    labels = entry.get("Labels") or {}
    names = _names(entry)
    kind = labels.get(KIND_LABEL, "")
    if not kind and base_reference() in names:
        kind = "base"
    elif not kind and any(name.startswith(CARRIED) for name in names):
        kind = "carried"
    return Kept(
        id=str(entry["Id"]),
        names=names,
        kind=kind,
        task=labels.get(TASK_LABEL, ""),
        size=int(entry["Size"]),
        created=int(entry["Created"]),
        used=used,
    )
