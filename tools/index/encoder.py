"""The encoder of BERT in numpy, as a process of its own: sentence vectors without torch.

The model is that of Devlin et al., 2019 (arXiv 1810.04805, §3) and Vaswani et al., 2017
(arXiv 1706.03762, §3.2); a text's vector is the mean of its tokens', as in Reimers & Gurevych, 2019
(arXiv 1908.10084, §3), in which later tokens may count less. Texts are read one by one, so that
none is padded to the length of another, and several at a time, a thread each: a matrix library's
own threads wait for each other many times as long as one alone takes, where the machine is busy.
"""

from __future__ import annotations

import json
import math
import os
import sys
from base64 import b64encode
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, takewhile
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

HEADS: Final = 12
"""Of the attention. Of a model, only this can't be told from its weights' shapes."""
ONE_THREAD: Final = {
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
"""Environment variables that keep a matrix library from starting threads."""
_MAX_THREADS: Final = 8
_EPSILON: Final = 1e-12

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Linear:
    weights: Array
    bias: Array

    def __call__(self, x: Array) -> Array:
        y: Array = x @ self.weights.T
        y += self.bias
        return y


@dataclass(frozen=True, slots=True)
class _Norm:
    """Layer normalisation (Ba et al., 2016, arXiv 1607.06450)."""

    weights: Array
    bias: Array

    def __call__(self, x: Array) -> Array:
        y: Array = x - x.mean(axis=1, keepdims=True)
        variance = np.einsum("ij,ij->i", y, y)[:, None] / y.shape[1]
        y *= self.weights / np.sqrt(variance + _EPSILON)
        y += self.bias
        return y


@dataclass(frozen=True, slots=True)
class _Layer:
    projections: _Linear  # to queries, keys and values, side by side
    joined: _Linear
    joined_norm: _Norm
    wide: _Linear
    narrow: _Linear
    narrow_norm: _Norm

    def __call__(self, x: Array) -> Array:
        x = self.joined_norm(x + self.joined(_attended(self.projections(x))))
        return self.narrow_norm(x + self.narrow(_gelu(self.wide(x))))


class Encoder:
    """A model.

    Args:
        weights: name → array, as the package transformers names those of a ``BertModel``.
        fade: tokens after which one counts 1/e of the first; infinite: all count the same.
    """

    def __init__(self, weights: Mapping[str, Array], fade: float = math.inf) -> None:
        def linear(name: str) -> _Linear:
            return _Linear(weights[f"{name}.weight"], weights[f"{name}.bias"])

        def norm(name: str) -> _Norm:
            return _Norm(weights[f"{name}.weight"], weights[f"{name}.bias"])

        def projections(name: str) -> _Linear:
            parts = [linear(f"{name}.{part}") for part in ("query", "key", "value")]
            return _Linear(
                np.concatenate([part.weights for part in parts]),
                np.concatenate([part.bias for part in parts]),
            )

        names = (f"encoder.layer.{number}" for number in count())
        self._fade = np.float32(fade)
        self._words = weights["embeddings.word_embeddings.weight"]
        self._places = (
            weights["embeddings.position_embeddings.weight"]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        self._norm = norm("embeddings.LayerNorm")
        self._layers = [
            _Layer(
                projections(f"{name}.attention.self"),
                linear(f"{name}.attention.output.dense"),
                norm(f"{name}.attention.output.LayerNorm"),
                linear(f"{name}.intermediate.dense"),
                linear(f"{name}.output.dense"),
                norm(f"{name}.output.LayerNorm"),
            )
            for name in takewhile(lambda name: f"{name}.output.dense.bias" in weights, names)
        ]

    def vector(self, tokens: Sequence[int]) -> Array:
        """A text's vector, of length 1 (dimensions, float32).

        Args:
            tokens: the text's, the special ones at both ends included.
        """
        x = self._norm(self._words[np.asarray(tokens)] + self._places[: len(tokens)])
        for layer in self._layers:
            x = layer(x)
        total: Array = np.exp(-np.arange(len(x), dtype=np.float32) / self._fade) @ x
        total /= np.linalg.norm(total)
        return total


def _attended(projected: Array) -> Array:
    """Each head's values, weighted by how queries and keys agree; the heads side by side."""
    length, width = len(projected), projected.shape[1] // 3
    parts = projected.reshape(length, 3, HEADS, width // HEADS).transpose(1, 2, 0, 3)
    queries, keys, values = parts
    scores = queries @ keys.transpose(0, 2, 1)
    scores /= np.float32(np.sqrt(width // HEADS))
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    together: Array = (scores @ values).transpose(1, 0, 2).reshape(length, width)
    return together


def _gelu(x: Array) -> Array:
    """GELU (Hendrycks & Gimpel, 2016, arXiv 1606.08415, §2) by tanh, which numpy has; not so erf.

    It turns a text's vector by some 0.002 radians.
    """
    y: Array = x * x
    y *= np.float32(0.044715)
    y += 1
    y *= x
    y *= np.float32(np.sqrt(2 / np.pi))
    np.tanh(y, out=y)
    y += 1
    y *= x
    y *= np.float32(0.5)
    return y


def main() -> None:
    """Answer lists of texts with their vectors (float32, base64) until there are no more.

    Arguments: a file of weights (safetensors), one of a tokenizer (as the package tokenizers writes
    it), the most tokens of a text, beyond which it is not read, and what :class:`Encoder` fades by.
    """
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    weights, tokenizer_file, most, fade = sys.argv[4:]
    tokenizer = Tokenizer.from_file(tokenizer_file)
    tokenizer.no_padding()
    tokenizer.enable_truncation(int(most))
    encoder = Encoder(load_file(weights), float(fade))
    threads = min(_MAX_THREADS, len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(threads) as pool:
        for line in sys.stdin.buffer:
            read = tokenizer.encode_batch(json.loads(line))
            vectors = np.stack(list(pool.map(encoder.vector, [one.ids for one in read])))
            answer = json.dumps(b64encode(vectors.astype("<f4").tobytes()).decode())
            sys.stdout.buffer.write(answer.encode() + b"\n")
            sys.stdout.buffer.flush()
