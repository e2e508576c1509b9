"""The search index of a task's pristine tree: made at the first query, shared by all episodes."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import anyio

from repodrome.envs.build_once import built, turnstile
from repodrome.errors import SetupError
from repodrome.tasks.store import Store

if TYPE_CHECKING:
    from repodrome.envs.environment import Prepared
    from repodrome.envs.sandbox.base import Sandbox
    from repodrome.tools.index.embedder import Embedder, StaticEmbedder
    from repodrome.tools.index.index import Index
    from repodrome.tools.index.overlay import Overlay

Progress = Callable[[str], None]

INDEX = "search"
"""Kind of the store: indexes."""
EMBEDDER = "embedder"
"""Kind of the store: fitted embedders."""


@runtime_checkable
class SaysWhatChanged(Protocol):
    """A sandbox that knows which files differ from its layers without looking at each."""

    async def changed_paths(self) -> Sequence[str] | None:
        """As :meth:`repodrome.tools.index.source.IndexSource.changed`, of the workspace's own
        writable layer."""


class EpisodeIndex:
    """The index of one episode's workspace: its ``IndexSource``.

    Nothing is made before it is asked for.

    Args:
        prepared: has the tree.
        sandbox: holds the workspace.
        untimed: what is awaited in it is not the agent's time.
    """

    def __init__(
        self,
        prepared: Prepared,
        sandbox: Sandbox,
        untimed: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._prepared = prepared
        self._sandbox = sandbox
        self._untimed = untimed
        self._overlays: dict[str, Overlay] = {}

    async def overlay(self, embedder: str) -> Overlay:
        """As the Protocol says."""
        from repodrome.tools.index.overlay import Overlay

        found = self._overlays.get(embedder)
        if found is None:
            pristine = self._prepared.materialised
            with self._untimed():
                index, made = await pristine_index(pristine.workspace, pristine.key, embedder)
            found = self._overlays.setdefault(embedder, Overlay(index, made))
        return found

    async def changed(self) -> Sequence[str] | None:
        """As the Protocol says."""
        if not isinstance(self._sandbox, SaysWhatChanged):
            return None
        own = await self._sandbox.changed_paths()
        if own is None:
            return None
        return [*own, *await asyncio.to_thread(_set_up, self._prepared.spec.layers[1:])]


async def pristine_index(
    tree: Path, key: str, embedder: str, *, store: Store | None = None
) -> tuple[Index, Embedder | None]:
    """The index of a tree that never changes, and the embedder it is for; opened once a process.

    Args and errors are those of :func:`opened_index`.
    """
    store = store or Store()
    where = f"{store.root} {key} {embedder}"
    found = _opened.get(where)
    if found is not None:
        return found, await _embedder(embedder, store, _silent)
    _, index, made = await opened_index(tree, key, embedder, store=store)
    return _opened.setdefault(where, index), made


async def opened_index(
    tree: Path,
    key: str,
    embedder: str,
    *,
    store: Store | None = None,
    progress: Progress | None = None,
) -> tuple[Path, Index, Embedder | None]:
    """The index of a tree from the cache, made if it isn't there, and the embedder it is for.

    Args:
        tree: the directory.
        key: stands for its content.
        embedder: the embedder's name.
        store: the cache; default: the user's.
        progress: told, in a line each, what takes time.

    Returns:
        The entry of the cache (kind :data:`INDEX`), what is in it, and the embedder.

    Raises:
        UsageError: there is no such embedder, or the cache can't be used.
        SetupError: it could not be made.
    """
    from repodrome.tools.index.index import formats

    store = store or Store()
    tell = progress or _silent
    made = await _embedder(embedder, store, tell)
    text = f"{key} {formats()} {made.key if made else ''}"
    name = hashlib.sha256(text.encode()).hexdigest()[:40]
    place = await built(store, INDEX, name, functools.partial(_build, tree, made, tell))
    return place, await asyncio.to_thread(_open, place), made


_opened: weakref.WeakValueDictionary[str, Index] = weakref.WeakValueDictionary()
"""Kept while an episode uses it, so that a long run doesn't keep every task's index mapped."""
_fitted: dict[str, StaticEmbedder] = {}


def _silent(_: str) -> None:
    pass


async def _build(tree: Path, embedder: Embedder | None, tell: Progress, staged: Path) -> None:
    from repodrome.tools.index import maker
    from repodrome.tools.index.embedder import StaticEmbedder

    tell(f"indexing {tree}")
    target = staged / "layer"
    try:
        target.mkdir()
        if isinstance(embedder, StaticEmbedder | None) and await asyncio.to_thread(
            maker.is_large, tree
        ):
            kept, key = staged / "embedder", ""
            if embedder is not None:
                kept.mkdir()
                embedder.save(kept)
                key = embedder.key
            await _made(maker.indexing(tree, target, key, kept), f"the search index of {tree}")
        else:
            await asyncio.to_thread(_build_now, tree, embedder, target)
    except OSError as error:
        raise SetupError(f"the search index of {tree} could not be made: {error}") from error


def _build_now(tree: Path, embedder: Embedder | None, target: Path) -> None:
    from repodrome.tools.index.index import build

    build(tree, target, embedder)


async def _made(command: list[str], what: str) -> None:
    """Run a maker's process; it ends with us, if we are cancelled."""
    from repodrome.tools.index.maker import FAILED

    done = await anyio.run_process(command, check=False)
    words = done.stderr.decode("utf-8", "replace").strip()
    if done.returncode == FAILED or done.returncode < 0:
        why = words or f"its process was ended by signal {-done.returncode}"
        raise SetupError(f"{what} could not be made: {why}")
    if done.returncode:
        raise RuntimeError(f"{what} could not be made:\n{words}")


def _open(place: Path) -> Index:
    from repodrome.tools.index.index import Index

    try:
        return Index.open(place)
    except (OSError, ValueError) as error:
        raise SetupError(
            f"the search index {place} can't be read ({error}): run 'repodrome clean --cache'"
        ) from error


async def _embedder(name: str, store: Store, tell: Progress) -> Embedder | None:
    from repodrome.tools.index import embedders

    if name == embedders.NONE:
        return None
    if name != embedders.DEFAULT:
        return await asyncio.to_thread(embedders.get_embedder, name)
    from repodrome.tools.index.fit import default_key

    key = await asyncio.to_thread(default_key)
    async with turnstile(f"open {store.root} {key}"):
        if key not in _fitted:
            place = await built(store, EMBEDDER, key, functools.partial(_fit, key, tell))
            _fitted[key] = await asyncio.to_thread(_open_static, place, key)
    return _fitted[key]


async def _fit(key: str, tell: Progress, staged: Path) -> None:
    from repodrome.tools.index.maker import fitting

    tell("learning what words mean in code, from Python's own libraries (once)")
    target = staged / "layer"
    try:
        target.mkdir()
    except OSError as error:
        raise SetupError(f"the search embedder could not be kept: {error}") from error
    await _made(fitting(key, target), "the search embedder")


def _open_static(place: Path, key: str) -> StaticEmbedder:
    from repodrome.tools.index.embedder import StaticEmbedder

    try:
        return StaticEmbedder.open(place, key)
    except (OSError, ValueError) as error:
        raise SetupError(
            f"the search embedder {place} can't be read ({error}): run 'repodrome clean --cache'"
        ) from error


@functools.lru_cache(maxsize=64)
def _set_up(layers: tuple[Path, ...]) -> tuple[str, ...]:
    """Paths of the workspace that the set-up layers have changed."""
    from repodrome.envs.sandbox.direct.changed import changed_below

    found: set[str] = set()
    for layer in layers:
        found.update(changed_below(layer / "workspace") or ())
    return tuple(sorted(found))
