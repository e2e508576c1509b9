"""Removing what dead owners left at a Docker daemon, and what we still hold as we end.

Most of it goes by itself: a container ends with its lease and is removed by the daemon. This is for
the rest: containers whose end the daemon missed, networks, volumes, images without a name.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from repodrome.envs.sandbox.docker.engine import (
    Address,
    DockerError,
    Engine,
    connect,
    remove_container,
)
from repodrome.envs.sandbox.docker.hosts import specs_from_environment
from repodrome.envs.sandbox.docker.labels import KIND, OWNER, is_left_behind
from repodrome.envs.sandbox.owner import Owner
from repodrome.errors import SandboxError

TOGETHER = 8
"""Removals asked of a daemon at once."""
LAST_SECONDS = 10
"""How long a daemon gets for each answer while this process ends."""

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Thing:
    what: str
    id: str
    labels: Labels

    def __str__(self) -> str:
        kind = self.labels.get(KIND, "")
        return f"Docker {self.what} {self.id[:19]}{f' ({kind})' if kind else ''}"


def reap(engine: Engine, *, all_owners: bool = False) -> list[str]:
    """Remove what dead owners left; blocks. Returns what was removed.

    Args:
        engine: the daemon.
        all_owners: also what belongs to owners that can't be seen from here: on other machines, or
            in other containers. Whatever of theirs lives is cut off.

    Raises:
        SandboxUnavailableError: the daemon can't be reached.
    """

    def wanted(labels: Labels) -> bool:
        return is_left_behind(labels) or (all_owners and not _is_visible(labels))

    return _remove(engine, wanted, TOGETHER)


def release(engine: Engine) -> list[str]:
    """Remove everything that this process still has there; blocks.

    Raises:
        SandboxUnavailableError: the daemon can't be reached.
    """
    owner = str(Owner.current())
    return _remove(engine, lambda labels: labels.get(OWNER) == owner, 1)


def release_at_exit(engine: Engine) -> Callable[[], None]:
    """Have :func:`release` done as this process ends (not a forked child); returns what undoes it.

    A daemon that doesn't answer is left alone: whoever comes next reaps.
    """
    pid = os.getpid()

    def at_exit() -> None:
        if os.getpid() != pid:
            return
        try:
            engine.call_now(lambda client: setattr(client, "timeout", LAST_SECONDS))
            release(engine)
        except SandboxError:
            return

    atexit.register(at_exit)
    return lambda: atexit.unregister(at_exit)


def reap_hosts(*, all_owners: bool = False) -> list[str]:
    """:func:`reap` at every daemon that would be used (``repodrome clean``).

    A daemon that was not named, and isn't there, is none to speak of.

    Returns:
        What was removed, and which daemons could not be asked, a line each.

    Raises:
        UsageError: REPODROME_DOCKER_HOSTS doesn't read.
    """
    lines = []
    for spec in specs_from_environment():
        engine = Engine(spec.address, partial(connect, timeout=LAST_SECONDS))
        try:
            lines += [f"removed {thing}" for thing in reap(engine, all_owners=all_owners)]
        except SandboxError as error:
            if spec.address != Address() or "DOCKER_HOST" in os.environ:
                lines.append(f"not looked at: {error}")
        engine.close()
    return lines


def _is_visible(labels: Labels) -> bool:
    """An owner that lives, as far as we see, and that we would see end."""
    owner = Owner.parse(labels.get(OWNER, ""))
    here = Owner.current()
    return owner is not None and (owner.boot, owner.namespace) == (here.boot, here.namespace)


# -- what there is, and how it goes ---------------------------------------------------------------


def _remove(engine: Engine, wanted: Callable[[Labels], bool], together: int) -> list[str]:
    removed = []
    # In this order: a container holds its networks, volumes and image.
    for what, listed, remove in _SORTS:
        found = [
            _Thing(what, id_, labels or {})
            for id_, labels in engine.call_now(listed)
            if wanted(labels or {})
        ]

        def gone(thing: _Thing, remove: Callable[[Engine, str], object] = remove) -> bool:
            try:
                remove(engine, thing.id)
            except DockerError:  # somebody was faster, or still uses it
                return False
            return True

        if together > 1 and len(found) > 1:
            with ThreadPoolExecutor(together) as threads:
                results = list(threads.map(gone, found))
        else:  # an interpreter that ends starts no threads
            results = [gone(thing) for thing in found]
        removed += [str(thing) for thing, well in zip(found, results, strict=True) if well]
    return removed


_Listed = list[tuple[str, Labels | None]]
_LABELLED = {"label": OWNER}


def _containers(client: Any) -> _Listed:
    found = client.containers(all=True, filters=_LABELLED)
    return [(container["Id"], container["Labels"]) for container in found]


def _networks(client: Any) -> _Listed:
    return [(found["Id"], found["Labels"]) for found in client.networks(filters=_LABELLED)]


def _volumes(client: Any) -> _Listed:
    found = client.volumes(filters=_LABELLED)["Volumes"] or ()
    return [(volume["Name"], volume["Labels"]) for volume in found]


def _images(client: Any) -> _Listed:
    """Those without a name: a named one is everybody's (see docker/images.py)."""
    found = client.images(filters={**_LABELLED, "dangling": True})
    return [(image["Id"], image["Labels"]) for image in found]


def _asked(request: Callable[[Any, str], object]) -> Callable[[Engine, str], object]:
    return lambda engine, id_: engine.call_now(lambda client: request(client, id_))


_SORTS: tuple[tuple[str, Callable[[Any], _Listed], Callable[[Engine, str], object]], ...] = (
    ("container", _containers, remove_container),
    ("network", _networks, _asked(lambda client, id_: client.remove_network(id_))),
    ("volume", _volumes, _asked(lambda client, id_: client.remove_volume(id_, force=True))),
    ("image", _images, _asked(lambda client, id_: client.remove_image(id_))),
)
