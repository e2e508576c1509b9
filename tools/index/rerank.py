"""Reads the best results again with a stronger embedder, and puts them in order.

Only what was found is embedded, at the query, so no tree has to be embedded as a whole.

score = score before / the best before + 1.5 · cosine
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import anyio.to_thread
import numpy as np
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar

from repodrome.errors import WorkspaceError
from repodrome.tools.index.chunks import MAX_BYTES
from repodrome.tools.index.embedder import Embedder
from repodrome.tools.index.embedders import get_embedder
from repodrome.tools.index.overlay import Files
from repodrome.tools.index.query import Hit
from repodrome.tools.index.segment import Batch

TOP: Final = 30
"""Results that are read again, unless more are asked for."""
WEIGHT: Final = 1.5
"""Of the cosine. Chosen for ``minilm``, with what it reads, on the projects that
:mod:`repodrome.tools.index.segment` names."""
_MAX_CHARS: Final = 2000
_THREADS: Final = 8
_threads: Final[RunVar[CapacityLimiter]] = RunVar("repodrome.rerank")


async def reranked(workspace: Files, query: str, hits: list[Hit], name: str) -> list[Hit]:
    """The same hits in a new order, with new scores.

    Args:
        workspace: where their files are.
        query: the question.
        hits: what was found.
        name: of the embedder.

    Raises:
        UsageError: there is no such embedder, or it lacks something.
        InfraError: it failed.
    """
    threads = _own_threads()
    embedder = await anyio.to_thread.run_sync(get_embedder, name, limiter=threads)
    if not hits:
        return hits
    texts = await _texts(workspace, hits)
    return await anyio.to_thread.run_sync(ordered, embedder, query, hits, texts, limiter=threads)


def _own_threads() -> CapacityLimiter:
    """Threads of this event loop for those who wait for a model, so that nobody else waits."""
    try:
        return _threads.get()
    except LookupError:
        _threads.set(limiter := CapacityLimiter(_THREADS))
        return limiter


def ordered(embedder: Embedder, query: str, hits: Sequence[Hit], texts: Sequence[str]) -> list[Hit]:
    """As :func:`reranked`, by what :func:`text_of` says of each hit; at least one. Blocks."""
    nothing = np.zeros(0, np.uint64)
    batch = Batch(texts, nothing, nothing.astype(np.float32), np.zeros(len(texts) + 1, np.int64))
    close = embedder.documents(batch) @ embedder.query(query)
    best = max(hit.score for hit in hits)
    scored = [
        replace(hit, score=hit.score / best + WEIGHT * float(cosine))
        for hit, cosine in zip(hits, close, strict=True)
    ]
    return sorted(scored, key=lambda hit: (-hit.score, hit.path, hit.start))


def text_of(hit: Hit, lines: Sequence[str]) -> str:
    """What a hit says: path, name, the line that opens it, and then all of it.

    The line that opens it comes twice, so that it isn't behind decorators and comments for a model
    that reads only so far.

    Args:
        hit: the hit.
        lines: those of its file.
    """
    body = "\n".join(lines[hit.start - 1 : hit.end])
    return f"{hit.path}\n{hit.name}\n{hit.signature}\n{body}"[:_MAX_CHARS]


async def _texts(workspace: Files, hits: list[Hit]) -> list[str]:
    """What each hit says, from the workspace as it is now."""
    files: dict[str, list[str]] = {}
    for path in {hit.path for hit in hits}:
        try:
            data = await workspace.read(path, limit=MAX_BYTES)
        except WorkspaceError:  # gone since it was found
            data = b""
        files[path] = data.decode("utf-8", "replace").split("\n")
    return [text_of(hit, files[hit.path]) for hit in hits]
