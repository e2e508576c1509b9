"""Ranks the chunks of one or several segments for a question.

score = (BM25F / the best BM25F + 0.8 · cosine) · prior, plus 1 where the question names the chunk's
file, and up to 1 where it names a symbol that the chunk defines. In the end a chunk gets a share of
what the best chunks of its file have together, so that the right file comes up where no single
function stands out, and gives way a little to those of other files that are as good.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from repodrome.tools.index.priors import TEST
from repodrome.tools.index.segment import Segment, symbol
from repodrome.tools.index.words import identifiers, query_terms, terms_of

VECTOR_WEIGHT: Final = 0.8
SYMBOL_BONUS: Final = 1.0
FILE_BONUS: Final = 1.0
FILE_SHARE: Final = 0.2
FILE_BEST: Final = (1.0, 0.7, 0.5, 0.3, 0.2)
"""Weights of a file's best chunks in what they have together."""
NEXT: Final = 0.95
"""Of the second chunk of a file, beside its first; the third has the square of it, and so on."""
TESTS_FROM: Final = 0.25
"""Share of a question's terms from which those that mean tests say what is looked for."""
_CONSIDERED: Final = 1000
"""Best chunks, which files are judged by."""
_SYMBOL_LIKE: Final = re.compile(r"\w*[a-z]\w*_\w|\w*[a-z][A-Z]|_\w")
_QUOTED: Final = re.compile(r"`([^`\s]+)`|([\w.:]+)\(\)")
_FILE_LIKE: Final = re.compile(r"(?<!\w)[\w-][\w.-]*\.\w{1,8}(?!\w)")
_TEST_TERMS: Final = frozenset(
    term for word in ("test", "fixture", "spec", "unittest", "pytest") for term in terms_of(word)
)

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Part:
    """A segment, and which of its chunks count.

    Attributes:
        segment: the chunks.
        alive: which ones still exist (n, bool); None: all.
        inside: which ones may be answered (n, bool); None: all.
    """

    segment: Segment
    alive: Array | None = None
    inside: Array | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that was found.

    Attributes:
        path: of its file, relative to the tree.
        start: its first line, from 1.
        end: its last line.
        name: of the definition; ``""`` for a block.
        signature: the line that opens it.
        score: greater is better; comparable within one answer only.
    """

    path: str
    start: int
    end: int
    name: str
    signature: str
    score: float


def rank(parts: Sequence[Part], text: str, vector: Array | None, limit: int) -> list[Hit]:
    """The best chunks for a question, best first.

    Args:
        parts: what to look in.
        text: the question.
        vector: the question's vector, if the segments have any.
        limit: most to give.
    """
    terms = query_terms(text)
    lexical = _lexical(parts, terms)
    best = max((float(scores.max()) for scores in lexical if len(scores)), default=0.0)
    symbols, bonus = _symbols(text)
    about_tests = len(_TEST_TERMS & terms.keys())
    wants_tests = about_tests > 0 and about_tests >= TESTS_FROM * len(terms)
    totals = []
    for part, scores in zip(parts, lexical, strict=True):
        segment = part.segment
        total = scores / best if best > 0 else scores
        if vector is not None and segment.vectors.shape[1] == len(vector) > 0:
            # Not by BLAS: where a machine is busy, its threads wait for each other many times as
            # long as one alone takes.
            cosines = np.einsum("ij,j->i", segment.vectors, vector)
            total = total + VECTOR_WEIGHT * np.maximum(cosines, 0)
        total = total * segment.priors
        if not wants_tests:
            total[segment.tests] *= TEST
        for wanted in symbols:
            total[segment.symbols == np.uint64(wanted)] += bonus
        for file in _named_files(segment, text):
            total[segment.files == file] += FILE_BONUS
        if part.alive is not None:
            total[~part.alive] = 0
        _share_by_file(segment.files, total)
        if part.inside is not None:
            total[~part.inside] = 0
        totals.append(total)
    return _best(parts, totals, limit)


def _lexical(parts: Sequence[Part], terms: dict[int, int]) -> list[Array]:
    """BM25F of every chunk, the rarity of terms being that in all parts together."""
    chunks = sum(
        part.segment.size if part.alive is None else int(part.alive.sum()) for part in parts
    )
    scores = [np.zeros(part.segment.size, np.float32) for part in parts]
    for term, count in terms.items():
        found = [part.segment.postings(term) for part in parts]
        with_term = sum(
            len(docs) if part.alive is None else int(np.count_nonzero(part.alive[docs]))
            for part, (docs, _) in zip(parts, found, strict=True)
        )
        rarity = math.log(1 + (chunks - with_term + 0.5) / (with_term + 0.5))
        for into, part, (docs, impacts) in zip(scores, parts, found, strict=True):
            into[docs] += np.float32(math.sqrt(count) * rarity) * impacts
            if part.alive is not None:
                into[~part.alive] = 0
    return scores


def _symbols(text: str) -> tuple[set[int], float]:
    """The names that a question spells out, and what defining one is worth.

    Those are ``snake_case``, ``camelCase``, `` `quoted` ``, ``f()``, and a question's only word.
    A long question names them in passing more often than it asks for them.
    """
    words = identifiers(text)
    named = {word for word in words if _SYMBOL_LIKE.match(word)}
    named.update(first or second for first, second in _QUOTED.findall(text))
    if len(words) == 1:
        named.update(words)
    return {symbol(name) for name in named} - {0}, SYMBOL_BONUS / max(1, len(words) - 2) ** 2


def _named_files(segment: Segment, text: str) -> list[int]:
    """The files whose names the question spells out, such as ``setup.py``."""
    names = b"|".join({re.escape(name.encode()) for name in _FILE_LIKE.findall(text)})
    if not names:
        return []
    ends = re.finditer(rb"(?:^|(?<=[/\0]))(?:%b)\0" % names, segment.paths.tobytes())
    return [int(np.searchsorted(segment.path_ends, end.end())) for end in ends]


def _share_by_file(files: Array, total: Array) -> None:
    """Change scores in place by what the other chunks of the same file have."""
    count = min(len(total), _CONSIDERED)
    if not count:
        return
    best = np.argpartition(-total, count - 1)[:count]
    best = best[np.lexsort((-total[best], files[best]))]
    owners = files[best]
    first = np.flatnonzero(np.concatenate(([True], owners[1:] != owners[:-1])))
    sizes = np.diff(np.append(first, count))
    place = np.arange(count) - np.repeat(first, sizes)
    weights = np.append(FILE_BEST, 0.0)[np.minimum(place, len(FILE_BEST))]
    together = np.repeat(np.add.reduceat(total[best] * weights, first), sizes)
    shared = total[best] * NEXT ** np.minimum(place, 20) + FILE_SHARE * together
    total[best] = np.where(total[best] > 0, shared, 0)


def _best(parts: Sequence[Part], totals: Sequence[Array], limit: int) -> list[Hit]:
    candidates: list[tuple[float, str, int, Part, int]] = []
    for part, total in zip(parts, totals, strict=True):
        # Some more than asked for, so that equal scores are put in order by path, not by chance.
        count = min(len(total), limit + 20)
        top = np.argpartition(-total, count - 1)[:count] if count else ()
        for chunk in top:
            score = float(total[chunk])
            if score > 0:
                path = part.segment.path(int(part.segment.files[chunk]))
                line = int(part.segment.lines[chunk, 0])
                candidates.append((-score, path, line, part, int(chunk)))
    candidates.sort(key=lambda one: one[:3])
    hits = []
    for negative, path, start, part, chunk in candidates[:limit]:
        name, signature = part.segment.label(chunk)
        end = int(part.segment.lines[chunk, 1])
        hits.append(Hit(path, start, end, name, signature, -negative))
    return hits
