"""Vectors from a model that the package sentence-transformers runs here.

https://sbert.net
"""

from __future__ import annotations

import hashlib
import importlib
import os
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repodrome.errors import UsageError
from repodrome.tools.index.embedder import unit
from repodrome.tools.index.segment import Batch

Array = NDArray[Any]

_MAX_CHARS = 2000


@dataclass(frozen=True, slots=True)
class SentenceTransformersEmbedder:
    """Runs a model.

    Attributes:
        name: of the model, or the path of a directory that holds one.
        model: a ``sentence_transformers.SentenceTransformer``.
    """

    name: str
    model: Any
    _running: Lock

    @classmethod
    def from_environment(cls) -> SentenceTransformersEmbedder:
        """The model that ``REPODROME_EMBEDDINGS_MODEL`` names.

        Raises:
            UsageError: it is not set, or the package is missing.
        """
        name = os.environ.get("REPODROME_EMBEDDINGS_MODEL", "")
        if not name:
            raise UsageError(
                "the embedder 'sentence-transformers' needs a model: set "
                "REPODROME_EMBEDDINGS_MODEL to its name, or to a directory that holds one"
            )
        try:
            package = importlib.import_module("sentence_transformers")
        except ImportError as error:
            raise UsageError(
                "the embedder 'sentence-transformers' needs the package of that name: "
                "pip install 'repodrome[sentence-transformers]'"
            ) from error
        return cls(name, package.SentenceTransformer(name), Lock())

    @property
    def key(self) -> str:
        """Names the model."""
        return f"st-{hashlib.sha256(self.name.encode()).hexdigest()[:24]}"

    def documents(self, batch: Batch) -> Array:
        """As :meth:`repodrome.tools.index.embedder.Embedder.documents`."""
        return self._encoded([text[:_MAX_CHARS] for text in batch.texts])

    def query(self, text: str) -> Array:
        """As :meth:`repodrome.tools.index.embedder.Embedder.query`."""
        row: Array = self._encoded([text[:_MAX_CHARS]])[0]
        return row

    def _encoded(self, texts: list[str]) -> Array:
        with self._running:
            found = self.model.encode(texts, convert_to_numpy=True, show_progress_bar=False)
        return unit(np.asarray(found, np.float32))
