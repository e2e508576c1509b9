"""Semantic search in a directory of the user's own: a cached index, and what changed since."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from repodrome.envs.search_index import INDEX, opened_index
from repodrome.errors import UsageError, WorkspaceError
from repodrome.tasks.store import Store
from repodrome.tools.index.index import Index
from repodrome.tools.index.overlay import Overlay
from repodrome.tools.index.query import Hit
from repodrome.tools.index.rerank import TOP, reranked
from repodrome.tools.index.walk import walk
from repodrome.tools.workspace import FileInfo

REBUILT_FROM = 0.2
"""Share of changed files from which the index is made anew."""


class DirectoryFiles:
    """A directory as the overlay wants to see it; it is trusted, unlike an agent's workspace."""

    def __init__(self, root: Path) -> None:
        self._root = root

    # What these raise and mean is what Workspace says.

    async def stat(self, path: str) -> FileInfo:
        try:
            status = (self._root / path).lstat()
        except OSError as error:
            raise WorkspaceError(str(error), code="not_found") from error
        # The walk has looked at what it is.
        return FileInfo(path, "file", status.st_size, status.st_mtime_ns)

    async def read(self, path: str, *, offset: int = 0, limit: int | None = None) -> bytes:
        try:
            return (self._root / path).read_bytes()[offset:][:limit]
        except OSError as error:
            raise WorkspaceError(str(error), code="not_found") from error

    async def list_dir(self, path: str = ".") -> list[FileInfo]:
        raise WorkspaceError(f"{path} is not listed", code="not_directory")


async def search_directory(
    root: Path,
    query: str,
    *,
    below: str = ".",
    limit: int = 10,
    embedder: str = "static",
    rerank: str = "",
    files: bool = False,
    store: Store | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[Hit]:
    """The best chunks of the directory as it is now, best first.

    Args:
        root: the directory.
        query: what to look for.
        below: a file or directory in it to stay in, relative to it.
        limit: most to give.
        embedder: name of the embedder.
        rerank: of the one that reads the best chunks again; ``""``: none.
        files: the best files instead, each as its best chunk.
        store: the cache; default: the user's.
        progress: told, in a line each, what takes time.

    Raises:
        UsageError: root is no directory, below is not in it, an embedder's name is wrong, or both
            files and rerank are given.
        SetupError: the index could not be made.
    """
    root = root.resolve()
    if not root.is_dir():
        raise UsageError(f"{root} is not a directory; give the repository to search")
    if files and rerank:
        raise UsageError("files are ranked as wholes, not read again; leave out files or rerank")
    inside = os.path.relpath((root / below).resolve(), root)
    if inside.startswith("..") or not (root / inside).exists():
        raise UsageError(f"{below} is not in {root}; give a file or directory in it")
    store = store or Store()
    key = hashlib.sha256(os.fsencode(root)).hexdigest()
    place, index, made = await opened_index(root, key, embedder, store=store, progress=progress)
    changed = await asyncio.to_thread(_changed, root, index)
    if len(changed) > REBUILT_FROM * max(50, len(index.files)):
        await asyncio.to_thread(store.discard, INDEX, place.name)
        _, index, made = await opened_index(root, key, embedder, store=store, progress=progress)
        changed = await asyncio.to_thread(_changed, root, index)
    wanted = max(limit, TOP) if rerank else limit
    tree = DirectoryFiles(root)
    hits = await Overlay(index, made).search(
        tree, query, wanted, below=inside, changed=changed, files=files
    )
    return (await reranked(tree, query, hits, rerank))[:limit] if rerank else hits


def _changed(root: Path, index: Index) -> list[str]:
    """Files that are new, other than they were, or gone."""
    found, _ = walk(root)
    now = {path: (status.st_size, status.st_mtime_ns) for path, status in found}
    then = {path: (facts.size, facts.mtime_ns) for path, (_, facts) in index.files.items()}
    return sorted(path for path in now.keys() | then.keys() if now.get(path) != then.get(path))
