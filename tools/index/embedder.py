"""What turns chunks and questions into vectors: the interface, and the default that needs no model.

Others add theirs through the entry-point group ``repodrome.embedder``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from repodrome.tools.index.segment import Batch
from repodrome.tools.index.words import query_terms

Array = NDArray[Any]


@runtime_checkable
class Embedder(Protocol):
    """Maps what means the same to vectors that point the same way.

    Attributes:
        key: names it and its version; an index is made anew for another key. At most 60 letters,
            digits, ``.``, ``_`` and ``-``.
    """

    @property
    def key(self) -> str: ...

    def documents(self, batch: Batch) -> Array:
        """The chunks' vectors, a row each, of length 1 (or 0 where it can say nothing)."""

    def query(self, text: str) -> Array:
        """A question's vector, of length 1 (or 0)."""


@dataclass(frozen=True, slots=True)
class StaticEmbedder:
    """A vector for each term, one as it stands in code and one as it stands in questions.

    A chunk's vector is the weighted sum of its terms'. :mod:`repodrome.tools.index.fit` makes it.

    Attributes:
        key: of what it was fitted from.
        terms: sorted hashes of the terms it knows (t, uint64).
        code: their vectors in code (t, dimensions).
        asked: their vectors in questions (t, dimensions).
    """

    key: str
    terms: Array
    code: Array
    asked: Array

    def documents(self, batch: Batch) -> Array:
        """As :meth:`Embedder.documents`."""
        rows = len(batch.bounds) - 1
        if not rows:
            return np.zeros((0, self.code.shape[1]), np.float32)
        at, known = _positions(self.terms, batch.terms)
        owners = np.repeat(np.arange(rows), np.diff(batch.bounds))[known]
        return unit(weighted_sums(self.code, at[known], batch.weights[known], owners, rows))

    def query(self, text: str) -> Array:
        """As :meth:`Embedder.query`."""
        counts = query_terms(text)
        terms = np.fromiter(counts, np.uint64, len(counts))
        at, known = _positions(self.terms, terms)
        row: Array = unit(self.asked[at[known]].sum(axis=0, dtype=np.float32)[None])[0]
        return row

    def save(self, target: Path) -> None:
        """Write it into an empty directory."""
        for name in ("terms", "code", "asked"):
            np.save(target / f"{name}.npy", getattr(self, name), allow_pickle=False)

    @classmethod
    def open(cls, source: Path, key: str) -> StaticEmbedder:
        """Read what :meth:`save` wrote.

        Raises:
            OSError: it is not there.
        """
        terms, code, asked = (
            np.load(source / f"{name}.npy", allow_pickle=False)
            for name in ("terms", "code", "asked")
        )
        return cls(key, terms, code.astype(np.float32), asked.astype(np.float32))


def weighted_sums(vectors: Array, at: Array, weights: Array, owners: Array, rows: int) -> Array:
    """Sum of ``weights · vectors[at]`` for each owner; ``owners`` is sorted.

    In slices, so that memory stays bounded whatever the number of terms.
    """
    found = np.zeros((rows, vectors.shape[1]), np.float32)
    step = 1 << 18
    for start in range(0, len(at), step):
        part = slice(start, start + step)
        of = owners[part]
        begins = np.flatnonzero(np.concatenate(([True], of[1:] != of[:-1])))
        sums = np.add.reduceat(vectors[at[part]] * weights[part, None], begins, axis=0)
        found[of[begins]] += sums
    return found


def unit(vectors: Array) -> Array:
    """The rows at length 1; those of length 0 stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Array = (vectors / np.maximum(lengths, 1e-9)).astype(np.float32)
    return scaled


def _positions(known: Array, terms: Array) -> tuple[Array, Array]:
    """Where each term is in the sorted ``known``, and whether it is there at all."""
    if not len(known):
        return np.zeros(len(terms), np.int64), np.zeros(len(terms), bool)
    at = np.minimum(np.searchsorted(known, terms), len(known) - 1)
    return at, known[at] == terms
