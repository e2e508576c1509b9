"""What one workspace has changed of an indexed tree: gone chunks, and a small segment of new ones.

Commands change files behind the tools' backs, so every query first looks at what may have changed
(name, size, time; content only where those differ).
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from repodrome.errors import WorkspaceError
from repodrome.tools.index.chunks import MAX_BYTES, chunk_file
from repodrome.tools.index.embedder import Embedder
from repodrome.tools.index.index import Index, digest
from repodrome.tools.index.query import Hit, rank, rank_files
from repodrome.tools.index.segment import Collector, FileFacts, Part
from repodrome.tools.workspace import FileInfo

MAX_FILES: Final = 2000
MAX_NEW_BYTES: Final = 16 << 20
"""Most bytes of changed files that are read before one query."""
MAX_WALKED: Final = 100_000
"""Most entries that are looked at where the sandbox can't say what has changed."""

Array = NDArray[Any]


class Files(Protocol):
    """What an overlay needs of a :class:`~repodrome.tools.workspace.Workspace`."""

    async def stat(self, path: str) -> FileInfo: ...

    async def read(self, path: str, *, offset: int = 0, limit: int | None = None) -> bytes: ...

    async def list_dir(self, path: str = ".") -> list[FileInfo]: ...


@dataclass(frozen=True, slots=True)
class _Changed:
    """A changed file: what it was like when it was looked at, and its chunks, if it has any."""

    size: int
    mtime_ns: int
    collector: Collector | None
    vectors: Array | None


class Overlay:
    """The index of one workspace: that of a tree, and what differs from it.

    Args:
        index: of the tree that the workspace began as.
        embedder: what the index's vectors are from.
        max_files: most changed files that are indexed; the rest is left out, and counted.

    Attributes:
        left_out: changed files that the last search did not look into.
    """

    def __init__(
        self, index: Index, embedder: Embedder | None, *, max_files: int = MAX_FILES
    ) -> None:
        self._max_files = max_files
        self._index = index
        self._embedder = embedder
        self._changed: dict[str, _Changed] = {}
        self._gone: set[str] = set()
        self._lock = asyncio.Lock()
        self._parts: list[Part] = [Part(index.segment)]
        self.left_out = 0

    async def search(
        self,
        workspace: Files,
        text: str,
        limit: int,
        *,
        below: str = ".",
        changed: Sequence[str] | None = None,
        files: bool = False,
    ) -> list[Hit]:
        """The best chunks of the workspace as it is now.

        Args:
            workspace: the files.
            text: the question.
            limit: most to give.
            below: only this file, or what is below this directory.
            changed: every path that may differ from the tree, a directory standing for all below
                it; None: not known, so every file is looked at.
            files: the best files instead, each as its best chunk.

        Raises:
            InfraError: the workspace was lost.
        """
        async with self._lock:
            await self._refresh(workspace, changed, below)
            parts = self._parts
        return await asyncio.to_thread(self._ranked, parts, text, limit, below, files)

    def _ranked(
        self, parts: list[Part], text: str, limit: int, below: str, files: bool
    ) -> list[Hit]:
        if below != ".":
            parts = [_narrowed(part, below) for part in parts]
        vector = self._embedder.query(text) if self._embedder else None
        return (rank_files if files else rank)(parts, text, vector, limit)

    async def _refresh(self, workspace: Files, changed: Sequence[str] | None, below: str) -> None:
        """Bring the parts up to date, what is asked for first: there may not be room for all."""
        present, missing = await self._candidates(workspace, changed)
        if below != ".":
            present.sort(key=lambda info: not _is_below(info.path, below))
        fresh: list[tuple[FileInfo, bytes]] = []
        dirty, room = False, MAX_NEW_BYTES
        self.left_out = 0
        for path in missing:
            dirty |= self._forget(path)
        for number, info in enumerate(present):
            if number % 256 == 0:
                await asyncio.sleep(0)  # other episodes have their turn, though nothing is awaited
            if self._is_known(info):
                continue
            original = self._index.files.get(info.path)
            if original is not None and _same(info, original[1]):
                dirty |= self._back_to_tree(info.path)
                continue
            full = (
                len(self._changed) + len(fresh) >= self._max_files
                and info.path not in self._changed
            )
            if full or room <= 0:
                self.left_out += 1
                continue
            data = await _read(workspace, info)
            room -= len(data)
            if original is not None and digest(data) == original[1].digest:
                dirty |= self._back_to_tree(info.path)
                self._changed[info.path] = _Changed(info.size, info.mtime_ns, None, None)
                continue
            fresh.append((info, data))
        if fresh:
            dirty = True
            self._changed.update(await asyncio.to_thread(self._indexed, fresh))
            self._gone.update(info.path for info, _ in fresh if info.path in self._index.files)
        if dirty:
            self._parts = await asyncio.to_thread(self._made)

    def _is_known(self, info: FileInfo) -> bool:
        known = self._changed.get(info.path)
        return known is not None and (known.size, known.mtime_ns) == (info.size, info.mtime_ns)

    def _forget(self, path: str) -> bool:
        """The file is not there any more; whether that is news."""
        news = self._changed.pop(path, None) is not None
        if path in self._index.files and path not in self._gone:
            self._gone.add(path)
            news = True
        return news

    def _back_to_tree(self, path: str) -> bool:
        """The file is again as it was in the tree; whether that is news."""
        news = self._changed.pop(path, None) is not None
        if path in self._gone:
            self._gone.discard(path)
            news = True
        return news

    def _indexed(self, fresh: list[tuple[FileInfo, bytes]]) -> dict[str, _Changed]:
        found = {}
        for info, data in fresh:
            one = Collector(self._index.segment.averages)
            facts = FileFacts(info.path, info.size, info.mtime_ns, digest(data))
            one.add(facts, chunk_file(info.path, data))
            vectors = self._embedder.documents(one.batch()) if self._embedder else None
            one.drop_texts()
            found[info.path] = _Changed(info.size, info.mtime_ns, one, vectors)
        return found

    def _made(self) -> list[Part]:
        """The tree without what is gone, and the changed files."""
        base = self._index.segment
        whole = np.ones(len(base.path_ends), bool)
        whole[[self._index.files[path][0] for path in self._gone]] = False
        parts = [Part(base, alive=whole[base.files] if self._gone else None)]
        changed = [one for one in self._changed.values() if one.collector is not None]
        if changed:
            together = Collector(base.averages)
            for one in changed:
                assert one.collector is not None
                together.extend(one.collector)
            vectors = [one.vectors for one in changed if one.vectors is not None]
            parts.append(Part(together.finish(np.concatenate(vectors) if vectors else None)))
        return parts

    async def _candidates(
        self, workspace: Files, changed: Sequence[str] | None
    ) -> tuple[list[FileInfo], list[str]]:
        """Files that may differ from what is known, and known paths that are no files any more."""
        files = self._index.files
        if changed is None:
            present = {info.path: info for info in await self._walk(workspace, ["."])}
            return list(present.values()), [
                path for path in [*files, *self._changed] if path not in present
            ]
        present, missing = {}, []
        for path in sorted({*changed, *self._changed, *self._gone}):
            info = await _stat(workspace, path)
            if info is not None and info.kind == "file":
                if self._index.rules.wants(path):
                    present[path] = info
                continue
            if info is not None and info.kind == "dir":
                for one in await self._walk(workspace, [path]):
                    present[one.path] = one
            missing += [path, *self._known_below(path)]
        return list(present.values()), [path for path in missing if path not in present]

    def _known_below(self, path: str) -> list[str]:
        """Files, of the tree and changed, that were below a path when it was a directory."""
        if path in self._index.files or path in self._changed:
            return []
        below = f"{path}/"
        paths = self._index.paths
        start, end = bisect_left(paths, below), bisect_left(paths, f"{path}0")  # "0" follows "/"
        return paths[start:end] + [one for one in self._changed if one.startswith(below)]

    async def _walk(self, workspace: Files, directories: list[str]) -> list[FileInfo]:
        """Every file below some directories that is looked at."""
        found: list[FileInfo] = []
        seen = 0
        while directories and seen < MAX_WALKED:
            try:
                entries = await workspace.list_dir(directories.pop())
            except WorkspaceError:  # gone meanwhile, or closed to us
                continue
            await asyncio.sleep(0)
            seen += len(entries)
            for info in entries:
                if info.kind == "file" and self._index.rules.wants(info.path):
                    found.append(info)
                elif info.kind == "dir" and self._index.rules.enters(info.path):
                    directories.append(info.path)
        return found


def _same(info: FileInfo, original: FileFacts) -> bool:
    return (info.size, info.mtime_ns) == (original.size, original.mtime_ns)


def _narrowed(part: Part, below: str) -> Part:
    """The part with only a file, or what is below a directory, to answer with."""
    segment = part.segment
    within = np.fromiter(
        (_is_below(path, below) for path in segment.file_paths()), bool, len(segment.path_ends)
    )
    return Part(segment, part.alive, within[segment.files])


def _is_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(f"{directory}/")


async def _stat(workspace: Files, path: str) -> FileInfo | None:
    try:
        return await workspace.stat(path)
    except WorkspaceError:
        return None


async def _read(workspace: Files, info: FileInfo) -> bytes:
    """A file's content; empty where it is too large or can't be read."""
    if info.size > MAX_BYTES:
        return b""
    try:
        return await workspace.read(info.path, limit=MAX_BYTES)
    except WorkspaceError:
        return b""
