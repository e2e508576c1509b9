"""From text to search terms: identifiers split at case and underscores, stemmed, hashed.

A term is the first 64 bits of the BLAKE2b hash of its text, so that indexes made apart agree on it
without sharing a vocabulary.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from hashlib import blake2b
from itertools import chain
from threading import Lock

import Stemmer

FORMAT = 1
"""Part of every index key: raise it when the same text gives other terms."""

_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+")
_MAX_IDENTIFIER = 100
_STOP = (
    "a an and are as at be been by do does for from has have if in into is it its of on or so such "
    "that the their then there these they this to was were which will with"
)
_stemmer = Stemmer.Stemmer("english")
_stemming = Lock()  # a stemmer keeps state between calls


def identifiers(text: str) -> list[str]:
    """Every word that could be a name in code, in order."""
    return _IDENTIFIER.findall(text)


def term_counts(text: str) -> Counter[int]:
    """How often each term occurs in a text."""
    return Counter(chain.from_iterable(map(terms_of, _IDENTIFIER.findall(text))))


def query_terms(text: str) -> Counter[int]:
    """The terms of a question: as :func:`term_counts`, without words that ask for nothing."""
    counts = term_counts(text)
    for term in _stop_terms():
        counts.pop(term, None)
    return counts


@lru_cache(maxsize=1 << 18)
def terms_of(identifier: str) -> tuple[int, ...]:
    """The terms of one identifier: its parts, and itself where it has several."""
    identifier = identifier[:_MAX_IDENTIFIER]
    parts = [part.lower() for part in _PART.findall(identifier)]
    found = [_stemmed(part) for part in parts if len(part) > 1]
    if len(parts) > 1:
        found.append(hashed("".join(parts)))
    return tuple(found)


@lru_cache(maxsize=1 << 16)
def _stemmed(word: str) -> int:
    with _stemming:
        return hashed(_stemmer.stemWord(word))


def hashed(text: str) -> int:
    """The 64-bit number that stands for a text."""
    return int.from_bytes(
        blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little"
    )


@lru_cache(maxsize=1)
def _stop_terms() -> frozenset[int]:
    return frozenset(term for word in _STOP.split() for term in terms_of(word))
