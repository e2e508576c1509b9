"""Fits the default embedder from code that is on this machine anyway: docstrings and functions.

Every documented function of Python's standard library and of the packages that repodrome needs is
a pair: the first paragraph of its docstring is what one would ask, the rest of it is what should be
found. Other installed packages are not read, so that installing one doesn't change what is found.

1. The truncated singular value decomposition (randomised: Halko, Martinsson & Tropp, 2011,
   arXiv 0909.4061) of the terms' cross-correlation gives each term two vectors.
2. Gradient descent (Adam) on the contrastive loss with the other pairs of a batch as negatives
   (van den Oord et al., 2018, arXiv 1807.03748) refines them.

No weights are shipped: the result depends only on the files that it read, and is cached.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from repodrome.tools.index import segment, words
from repodrome.tools.index.chunks import Chunk
from repodrome.tools.index.embedder import StaticEmbedder, unit, weighted_sums

FORMAT: Final = 1
"""Part of the embedder's key: raise it when it is fitted differently."""
DIMENSIONS: Final = 64
PACKAGES: Final = (
    "anyio", "click", "docker", "git", "gymnasium", "numpy", "pathspec", "pip", "pydantic",
    "pygments", "requests", "rich", "typer", "urllib3",
)  # fmt: skip
"""Import names of the packages that are read, as far as they are there."""
MAX_TERMS: Final = 12_000
MAX_PAIRS: Final = 40_000
EPOCHS: Final = 6
BATCH: Final = 512
RATE: Final = 0.02
TEMPERATURE: Final = 0.07

_LEAST_COUNT = 3
_SKIPPED = re.compile(
    r"(?:^|/)(?:tests?|testing|idlelib|lib2to3|turtledemo|encodings|site-packages|__pycache__)/"
    r"|(?:^|/)test_"
)
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Bags:
    """Weighted sets of terms, a row each: ``terms`` are positions in the vocabulary."""

    terms: Array
    weights: Array
    rows: Array
    count: int

    def sums(self, vectors: Array) -> Array:
        """The weighted sum of each row's vectors."""
        return weighted_sums(vectors, self.terms, self.weights, self.rows, self.count)

    def flipped(self, size: int) -> _Bags:
        """The same with a row for each of the ``size`` terms."""
        order = np.argsort(self.terms, kind="stable")
        return _Bags(self.rows[order], self.weights[order], self.terms[order], size)

    def of(self, chosen: Array) -> _Bags:
        """Some of the rows, in that order."""
        bounds = np.searchsorted(self.rows, np.arange(self.count + 1))
        sizes = bounds[chosen + 1] - bounds[chosen]
        ends = np.cumsum(sizes)
        at = np.repeat(bounds[chosen] - (ends - sizes), sizes) + np.arange(ends[-1])
        rows = np.repeat(np.arange(len(chosen)), sizes)
        return _Bags(self.terms[at], self.weights[at], rows, len(chosen))


def sources() -> list[Path]:
    """The directories that are read: the standard library and what repodrome needs."""
    found = [Path(sysconfig.get_paths()["stdlib"])]
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is not None:
            found += [Path(place) for place in spec.submodule_search_locations or ()]
    return found


@cache
def default_key() -> str:
    """Names what :func:`fit` would make here: Python, the packages that it reads, this code."""
    facts = [f"{name} {_version(name)}" for name in PACKAGES]
    text = f"{sys.version_info[:3]} {facts} {FORMAT} {segment.FORMAT} {words.FORMAT}"
    return f"static-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def _version(package: str) -> str:
    distribution = {"git": "GitPython"}.get(package, package)
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def fit(key: str, roots: Iterable[Path] | None = None, *, without: str = "") -> StaticEmbedder:
    """Read, count, decompose, refine; about ten seconds. Blocks: call it in a thread.

    Args:
        key: of the embedder.
        roots: directories of Python code; default: :func:`sources`.
        without: files whose relative path matches this expression are left out.
    """
    asked: list[tuple[int, ...]] = []
    collector = segment.Collector()
    for root in sources() if roots is None else roots:
        for path, name, body, question in _documented(root, without):
            if len(asked) < MAX_PAIRS:
                asked.append(tuple(words.query_terms(question)))
                facts = segment.FileFacts(path, 0, 0, bytes(16))
                collector.add(facts, [Chunk(1, 1, "function", name, "", body)])
    batch = collector.batch()
    terms, rarity, questions, code = _vocabulary(asked, batch)
    if len(asked) < BATCH or len(terms) < 2 * DIMENSIONS:
        nothing = np.zeros((0, DIMENSIONS), np.float32)
        return StaticEmbedder(key, terms[:0], nothing, nothing)
    left, right = (side * rarity[:, None] for side in _decomposed(rarity, questions, code))
    _refine(left, right, questions, code)
    return StaticEmbedder(key, terms, right.astype(np.float16), left.astype(np.float16))


def _documented(root: Path, without: str) -> Iterator[tuple[str, str, str, str]]:
    """Path, name, code without docstring and the docstring's first paragraph of each function."""
    unwanted = re.compile(without) if without else None
    seen = set()
    for file in sorted(root.rglob("*.py")):
        path = file.relative_to(root).as_posix()
        if _SKIPPED.search(path) or (unwanted and unwanted.search(path)):
            continue
        try:
            source = file.read_text("utf-8")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(source)
        except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        lines = source.split("\n")
        for name, node in _functions(tree):
            text = ast.get_docstring(node)
            if text is None or len(node.body) < 2:
                continue
            question = " ".join(text.split("\n\n")[0].split())
            if question.count(" ") < 2 or (name, question) in seen:
                continue
            seen.add((name, question))
            stated = node.body[0]
            body = (
                lines[node.lineno - 1 : stated.lineno - 1]
                + lines[stated.end_lineno : node.end_lineno]
            )
            yield path, name, "\n".join(body), question


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    pending: list[tuple[str, ast.AST]] = [("", tree)]
    while pending:
        around, node = pending.pop()
        for below in ast.iter_child_nodes(node):
            if isinstance(below, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                name = f"{around}.{below.name}".lstrip(".")
                pending.append((name, below))
                if not isinstance(below, ast.ClassDef):
                    yield name, below


def _vocabulary(
    asked: list[tuple[int, ...]], batch: segment.Batch
) -> tuple[Array, Array, _Bags, _Bags]:
    """The commonest terms, how rare each is in code, and both sides of the pairs in them."""
    flat = np.fromiter((term for one in asked for term in one), np.uint64)
    terms, counts = np.unique(np.concatenate([flat, batch.terms]), return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MAX_TERMS]
    terms = np.sort(terms[order[counts[order] >= _LEAST_COUNT]])
    rows = np.repeat(np.arange(len(asked)), [len(one) for one in asked])
    questions = _known(terms, flat, np.ones(len(flat), np.float32), rows, len(asked))
    rows = np.repeat(np.arange(len(asked)), np.diff(batch.bounds))
    code = _known(terms, batch.terms, batch.weights, rows, len(asked))
    frequency = np.bincount(code.terms, minlength=len(terms))
    rarity = np.log(1 + len(asked) / (frequency + 1)).astype(np.float32)
    return terms, rarity, questions, code


def _known(vocabulary: Array, terms: Array, weights: Array, rows: Array, count: int) -> _Bags:
    if not len(vocabulary):
        return _Bags(rows[:0], weights[:0], rows[:0], count)
    at = np.minimum(np.searchsorted(vocabulary, terms), len(vocabulary) - 1)
    kept = vocabulary[at] == terms
    return _Bags(at[kept], weights[kept], rows[kept], count)


def _decomposed(rarity: Array, questions: _Bags, code: _Bags) -> tuple[Array, Array]:
    """Vectors of the terms in questions and in code, by the pairs' cross-correlation."""
    size, chance = len(rarity), np.random.default_rng(0)
    asked, found = _scaled(questions, rarity), _scaled(code, rarity)
    asked_by_term, found_by_term = asked.flipped(size), found.flipped(size)
    space = chance.standard_normal((size, DIMENSIONS + 16)).astype(np.float32)
    space = asked_by_term.sums(found.sums(space))
    for _ in range(3):
        space = np.linalg.qr(space)[0]
        other = np.linalg.qr(found_by_term.sums(asked.sums(space)))[0]
        space = asked_by_term.sums(found.sums(other))
    space = np.linalg.qr(space)[0]
    small, strengths, other = np.linalg.svd(
        found_by_term.sums(asked.sums(space)).T, full_matrices=False
    )
    root = np.sqrt(strengths[:DIMENSIONS])
    left = (space @ small)[:, :DIMENSIONS] * root
    right = other[:DIMENSIONS].T * root
    scale = 0.1 / np.sqrt(left.std() * right.std())
    return (left * scale).astype(np.float32), (right * scale).astype(np.float32)


def _scaled(bags: _Bags, rarity: Array) -> _Bags:
    """The rows weighted by rarity, at length 1."""
    weights = bags.weights * rarity[bags.terms]
    lengths = np.sqrt(np.bincount(bags.rows, weights**2, minlength=bags.count))
    weights = (weights / np.maximum(lengths[bags.rows], 1e-6)).astype(np.float32)
    return _Bags(bags.terms, weights, bags.rows, bags.count)


class _Adam:
    """Adam (Kingma & Ba, 2015) on the rows of a table that a batch touches."""

    def __init__(self, table: Array) -> None:
        self._table = table
        self._mean = np.zeros_like(table)
        self._square = np.zeros_like(table)

    def step(self, bags: _Bags, slope: Array, rate: float) -> None:
        """Go down the slope that each row's sum has."""
        by_term = bags.flipped(len(self._table))
        touched = np.unique(by_term.rows)
        each = np.searchsorted(touched, by_term.rows)
        down = weighted_sums(slope, by_term.terms, by_term.weights, each, len(touched))
        self._mean[touched] = 0.9 * self._mean[touched] + 0.1 * down
        self._square[touched] = 0.99 * self._square[touched] + 0.01 * down * down
        self._table[touched] -= rate * self._mean[touched] / (np.sqrt(self._square[touched]) + 1e-6)


def _refine(left: Array, right: Array, questions: _Bags, code: _Bags) -> None:
    """Change the vectors in place so that each question is nearest to its own code."""
    chance = np.random.default_rng(0)
    asking, finding = _Adam(left), _Adam(right)
    steps = EPOCHS * (questions.count // BATCH)
    step = 0
    for _ in range(EPOCHS):
        order = chance.permutation(questions.count)
        for start in range(0, questions.count - BATCH + 1, BATCH):
            step += 1
            asked = questions.of(order[start : start + BATCH])
            found = code.of(order[start : start + BATCH])
            to_asked, to_found = _slopes(asked.sums(left), found.sums(right))
            rate = RATE * min(1.0, step / 20) * (1 - 0.9 * step / steps)
            asking.step(asked, to_asked, rate)
            finding.step(found, to_found, rate)


def _slopes(asked: Array, found: Array) -> tuple[Array, Array]:
    """How the contrastive loss, taken both ways, changes with the two sides' sums."""
    x, y = unit(asked), unit(found)
    similar = x @ y.T / TEMPERATURE
    slope = (_softmax(similar) + _softmax(similar.T).T) / 2
    slope[np.diag_indices(len(slope))] -= 1
    slope /= TEMPERATURE * len(slope)
    return _through_unit(slope @ y, x, asked), _through_unit(slope.T @ x, y, found)


def _softmax(values: Array) -> Array:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    result: Array = powers / powers.sum(axis=1, keepdims=True)
    return result


def _through_unit(slope: Array, unit_rows: Array, rows: Array) -> Array:
    lengths = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-4)
    inward = (slope * unit_rows).sum(axis=1, keepdims=True)
    result: Array = (slope - unit_rows * inward) / lengths
    return result
