"""Vectors from any server that speaks OpenAI's embeddings API.

https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repodrome.errors import SetupError, UsageError
from repodrome.tools.index.embedder import unit
from repodrome.tools.index.segment import Batch

Array = NDArray[Any]

_AT_ONCE = 64
_MAX_CHARS = 6000
_TRIES = 3


@dataclass(frozen=True, slots=True)
class EndpointEmbedder:
    """Asks ``POST {url}/embeddings`` for vectors.

    Attributes:
        url: the API's base, e.g. ``https://api.openai.com/v1``.
        model: the model's name.
        api_key: sent as a bearer token where there is one.
        timeout: seconds of one request.
    """

    url: str
    model: str
    api_key: str = ""
    timeout: float = 60.0

    @classmethod
    def from_environment(cls) -> EndpointEmbedder:
        """As ``REPODROME_EMBEDDINGS_URL``, ``…_MODEL`` and ``…_KEY`` say.

        Raises:
            UsageError: the first two are not set.
        """
        url, model, key = (
            os.environ.get(f"REPODROME_EMBEDDINGS_{name}", "") for name in ("URL", "MODEL", "KEY")
        )
        if not url or not model:
            raise UsageError(
                "the embedder 'openai' needs to know its server: set REPODROME_EMBEDDINGS_URL "
                "(e.g. http://localhost:8000/v1) and REPODROME_EMBEDDINGS_MODEL"
            )
        return cls(url.rstrip("/"), model, key)

    @property
    def key(self) -> str:
        """Names server and model."""
        return f"openai-{hashlib.sha256(f'{self.url} {self.model}'.encode()).hexdigest()[:24]}"

    def documents(self, batch: Batch) -> Array:
        """As :meth:`repodrome.tools.index.embedder.Embedder.documents`.

        Raises:
            SetupError: the server can't be reached, or answers with an error.
        """
        texts = [text[:_MAX_CHARS] for text in batch.texts]
        found = [self._asked(texts[at : at + _AT_ONCE]) for at in range(0, len(texts), _AT_ONCE)]
        return unit(np.concatenate(found)) if found else np.zeros((0, 0), np.float32)

    def query(self, text: str) -> Array:
        """As :meth:`repodrome.tools.index.embedder.Embedder.query`.

        Raises:
            SetupError: the server can't be reached, or answers with an error.
        """
        row: Array = unit(self._asked([text[:_MAX_CHARS]]))[0]
        return row

    def _asked(self, texts: list[str]) -> Array:
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3.util import Retry

        again = Retry(
            _TRIES, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503), allowed_methods=None
        )
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=again))
            try:
                answer = session.post(
                    f"{self.url}/embeddings",
                    json={"model": self.model, "input": texts, "encoding_format": "float"},
                    headers=headers,
                    timeout=self.timeout,
                )
                answer.raise_for_status()
                rows = sorted(answer.json()["data"], key=lambda row: row["index"])
                found = np.array([row["embedding"] for row in rows], np.float32)
            except (requests.RequestException, ValueError, KeyError, TypeError) as error:
                raise SetupError(f"no embeddings from {self.url}: {error}") from error
        if found.ndim != 2 or len(found) != len(texts):
            raise SetupError(f"{self.url} answered {len(found)} embeddings for {len(texts)} texts")
        return found
