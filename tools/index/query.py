"""Ranks the chunks, or the files, of one or several segments for a question.

score = (BM25F / the best BM25F + 0.8 · cosine) · prior + 0.2 · the score of the chunk's file
(:mod:`repodrome.tools.index.files`), plus 1 where the question names the chunk's file, and up to 1
where it names a symbol that the chunk defines.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from repodrome.tools.index.files import file_scores
from repodrome.tools.index.priors import TEST
from repodrome.tools.index.segment import Part, Segment, symbol
from repodrome.tools.index.words import identifiers, query_terms, terms_of

VECTOR_WEIGHT: Final = 0.8
SYMBOL_BONUS: Final = 1.0
FILE_BONUS: Final = 1.0
FILE_WEIGHT: Final = 0.2
TESTS_FROM: Final = 0.25
"""Share of a question's terms from which those that mean tests say what is looked for."""
_SYMBOL_LIKE: Final = re.compile(r"\w*[a-z]\w*_\w|\w*[a-z][A-Z]|_\w")
_QUOTED: Final = re.compile(r"`([^`\s]+)`|([\w.:]+)\(\)")
_FILE_LIKE: Final = re.compile(r"(?<!\w)[\w-][\w.-]*\.\w{1,8}(?!\w)")
_TEST_TERMS: Final = frozenset(
    term for word in ("test", "fixture", "spec", "unittest", "pytest") for term in terms_of(word)
)

Array = NDArray[Any]
_Found = tuple[float, Part, int]
"""Score, part and chunk."""


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
    totals, scores, _ = _scored(parts, text, vector)
    found: list[_Found] = []
    for part, total, of_files in zip(parts, totals, scores, strict=True):
        total += np.where(total > 0, FILE_WEIGHT * of_files[part.segment.files], 0)
        found += [(float(total[chunk]), part, chunk) for chunk in _top(total, limit)]
    return _hits(found, limit)


def rank_files(parts: Sequence[Part], text: str, vector: Array | None, limit: int) -> list[Hit]:
    """The best files for a question, best first, each as that chunk of it which fits best.

    Takes and gives what :func:`rank` does; the scores are those of the files.
    """
    totals, scores, named = _scored(parts, text, vector)
    found: list[_Found] = []
    for part, total, of_files, bonus in zip(parts, totals, scores, named, strict=True):
        fitting = of_files + bonus
        fitting[np.bincount(part.segment.files, total, len(fitting)) <= 0] = 0
        for file in _top(fitting, limit):
            start, end = np.searchsorted(part.segment.files, (file, file + 1))
            chunk = int(start + np.argmax(total[start:end]))
            found.append((float(fitting[file]), part, chunk))
    return _hits(found, limit)


def _scored(
    parts: Sequence[Part], text: str, vector: Array | None
) -> tuple[list[Array], list[Array], list[Array]]:
    """Of each part: the chunks' own scores, the files' scores, the bonus of files named.

    A chunk has 0 where it may not be answered.
    """
    terms = query_terms(text)
    lexical = _lexical(parts, terms)
    best = max((float(scores.max()) for scores in lexical if len(scores)), default=0.0)
    symbols, bonus = _symbols(text)
    about_tests = len(_TEST_TERMS & terms.keys())
    wants_tests = about_tests > 0 and about_tests >= TESTS_FROM * len(terms)
    cosines = [_cosines(part.segment, vector) for part in parts]
    totals, named = [], []
    for part, scores, near in zip(parts, lexical, cosines, strict=True):
        segment = part.segment
        total = scores / best if best > 0 else scores
        if near is not None:
            total = total + VECTOR_WEIGHT * near
        total = total * segment.priors
        if not wants_tests:
            total[segment.tests] *= TEST
        for wanted in symbols:
            total[segment.symbols == np.uint64(wanted)] += bonus
        of_file = np.zeros(len(segment.file_priors), np.float32)
        of_file[_named_files(segment, text)] = FILE_BONUS
        total += of_file[segment.files]
        for counting in (part.alive, part.inside):
            if counting is not None:
                total[~counting] = 0
        totals.append(total)
        named.append(of_file)
    return totals, file_scores(parts, text, cosines, wants_tests), named


def _cosines(segment: Segment, vector: Array | None) -> Array | None:
    """Of each chunk with the question, at least 0; None: there are no such vectors."""
    if vector is None or segment.vectors.shape[1] != len(vector) or not len(vector):
        return None
    # Not by BLAS: where a machine is busy, its threads wait for each other many times as long as
    # one alone takes.
    found: Array = np.maximum(np.einsum("ij,j->i", segment.vectors, vector), 0)
    return found


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


def _top(scores: Array, limit: int) -> list[int]:
    """Where the best are, in any order, and some more, to put equal ones in order by path."""
    count = min(len(scores), limit + 20)
    top = np.argpartition(-scores, count - 1)[:count] if count else scores[:0].astype(int)
    return [int(one) for one in top if scores[one] > 0]


def _hits(found: list[_Found], limit: int) -> list[Hit]:
    """The best of what was found, equal ones by path and line."""
    rows = []
    for score, part, chunk in found:
        segment = part.segment
        path = segment.path(int(segment.files[chunk]))
        start, end = map(int, segment.lines[chunk])
        rows.append((-score, path, start, end, *segment.label(chunk)))
    rows.sort()
    return [
        Hit(path, start, end, name, signature, -negative)
        for negative, path, start, end, name, signature in rows[:limit]
    ]
