"""How well whole files fit a question: what a change, told in a sentence or two, will touch.

score = (W / the best W + 0.5 · the greatest cosine of the file's chunks) · prior, where

W = Σ weight · idf · (S / (S + K · (1 − B + B · n / mean n)) + SPREAD · m / n)

over the question's terms: BM25 of files, its frequency S being the sum of what the term adds to
their chunks (the impacts of BM25F), n the number of a file's chunks, m of those that hold the term.

The constants were chosen with those of :mod:`repodrome.tools.index.segment`, on commits of the same
projects and of flask, paramiko, pytest and sphinx.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from repodrome.tools.index.segment import Part
from repodrome.tools.index.words import query_terms, terms_of

K: Final = 0.5
B: Final = 0.3
SPREAD: Final = 0.4
TEST: Final = 0.5
"""Of a test, unless the question asks for tests; a change often touches its tests, too."""
VECTOR_WEIGHT: Final = 0.5
LATER_LINES: Final = 0.5
"""Weight of a term that only comes after the question's first line."""
_SAYS_LITTLE: Final = (
    "fix bug issue commit pr backport branch trunk add change make use remove handle update "
    "improve implement when only no not all some now also more any still just instead should can "
    "we i you but than after before while up out back"
)
"""Words that say that something changes, not what."""

Array = NDArray[Any]


def file_scores(
    parts: Sequence[Part], text: str, cosines: Sequence[Array | None], wants_tests: bool
) -> list[Array]:
    """How well each file of each part fits, 1 for the best.

    Args:
        parts: what to look in.
        text: the question.
        cosines: those of each part's chunks with the question; None: there are no vectors.
        wants_tests: whether tests are what is looked for.
    """
    sizes = [_sizes(part) for part in parts]
    scores = _lexical(sizes, parts, _weights(text))
    best = max((float(one.max()) for one in scores if len(one)), default=0.0)
    for part, size, score, near in zip(parts, sizes, scores, cosines, strict=True):
        segment = part.segment
        if best > 0:
            score /= best
        if near is not None:
            score += VECTOR_WEIGHT * _greatest(segment.files, near, len(score))
        score *= segment.file_priors
        if not wants_tests:
            tests = np.zeros(len(score), bool)
            tests[segment.files[segment.tests]] = True
            score[tests] *= TEST
        score[size == 0] = 0
    top = max((float(one.max()) for one in scores if len(one)), default=0.0)
    return [one / top if top > 0 else one for one in scores]


def _greatest(files: Array, of_chunks: Array, count: int) -> Array:
    """The greatest value that any chunk of each file has; 0 without one."""
    found = np.zeros(count)
    if len(files):
        starts = np.flatnonzero(np.concatenate(([True], files[1:] != files[:-1])))
        found[files[starts]] = np.maximum.reduceat(of_chunks, starts)
    return found


def _sizes(part: Part) -> Array:
    """How many chunks each file has that still exist."""
    segment = part.segment
    files = segment.files if part.alive is None else segment.files[part.alive]
    return np.bincount(files, minlength=len(segment.file_priors))


def _weights(text: str) -> dict[int, float]:
    """What each term of a question counts."""
    first = query_terms(text.strip().partition("\n")[0])
    return {
        term: math.sqrt(count) * (1.0 if term in first else LATER_LINES)
        for term, count in query_terms(text).items()
        if term not in _little()
    }


def _lexical(
    sizes: Sequence[Array], parts: Sequence[Part], weights: dict[int, float]
) -> list[Array]:
    """W of every file."""
    files = sum(int(np.count_nonzero(size)) for size in sizes)
    mean = sum(int(size.sum()) for size in sizes) / max(1, files)
    softness = [K * (1 - B + B * size / max(1.0, mean)) for size in sizes]
    scores = [np.zeros(len(size)) for size in sizes]
    for term, weight in weights.items():
        found = [_found(part, size, term) for part, size in zip(parts, sizes, strict=True)]
        with_term = sum(int(np.count_nonzero(share)) for _, share in found)
        rarity = math.log(1 + (files - with_term + 0.5) / (with_term + 0.5))
        for score, (frequency, share), soft in zip(scores, found, softness, strict=True):
            score += weight * rarity * (frequency / (frequency + soft) + SPREAD * share)
    return scores


def _found(part: Part, size: Array, term: int) -> tuple[Array, Array]:
    """Of each file: what a term adds to its chunks together, and the share that it is in."""
    docs, impacts = part.segment.postings(term)
    files = part.segment.files[docs]
    frequency = np.bincount(files, impacts, len(size))
    share = np.bincount(files, minlength=len(size)) / np.maximum(size, 1)
    frequency[size == 0] = 0
    share[size == 0] = 0
    return frequency, share


@lru_cache(maxsize=1)
def _little() -> frozenset[int]:
    return frozenset(term for word in _SAYS_LITTLE.split() for term in terms_of(word))
