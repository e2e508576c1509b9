"""Reads the best results again with a stronger embedder, and puts them in order.

Only what was found is embedded, at the query, so no tree has to be embedded as a whole.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

import numpy as np

from repodrome.errors import WorkspaceError
from repodrome.tools.index.chunks import MAX_BYTES
from repodrome.tools.index.embedder import Embedder
from repodrome.tools.index.embedders import get_embedder
from repodrome.tools.index.query import Hit
from repodrome.tools.index.segment import Batch
from repodrome.tools.workspace import Workspace

WEIGHT: Final = 1.0
"""Of the cosine, beside a score that is 1 for the best result."""
_MAX_CHARS: Final = 2000


async def reranked(workspace: Workspace, query: str, hits: list[Hit], name: str) -> list[Hit]:
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
    if not hits:
        return hits
    embedder = await asyncio.to_thread(get_embedder, name)
    texts = await _texts(workspace, hits)
    return await asyncio.to_thread(_ordered, embedder, query, hits, texts)


async def _texts(workspace: Workspace, hits: list[Hit]) -> list[str]:
    """What each hit says, from the workspace as it is now."""
    files: dict[str, list[str]] = {}
    for path in {hit.path for hit in hits}:
        try:
            data = await workspace.read(path, limit=MAX_BYTES)
        except WorkspaceError:  # gone since it was found
            data = b""
        files[path] = data.decode("utf-8", "replace").split("\n")
    texts = []
    for hit in hits:
        body = "\n".join(files[hit.path][hit.start - 1 : hit.end])
        texts.append(f"{hit.path}\n{hit.name}\n{body}"[:_MAX_CHARS])
    return texts


def _ordered(embedder: Embedder, query: str, hits: list[Hit], texts: list[str]) -> list[Hit]:
    nothing = np.zeros(0, np.uint64)
    batch = Batch(texts, nothing, nothing.astype(np.float32), np.zeros(len(texts) + 1, np.int64))
    close = embedder.documents(batch) @ embedder.query(query)
    best = max(hit.score for hit in hits)
    scored = [
        replace(hit, score=hit.score / best + WEIGHT * float(cosine))
        for hit, cosine in zip(hits, close, strict=True)
    ]
    return sorted(scored, key=lambda hit: (-hit.score, hit.path, hit.start))
