"""Peers that rank whole files: by how many of a question's words they hold, and by BM25."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Text:
    """A file in lower case, and how often it holds each word."""

    lower: str
    words: Counter[str]
    length: int

    @classmethod
    def of(cls, data: bytes) -> Text:
        """From a file's content."""
        lower = data.decode("utf-8", "replace").lower()
        words = Counter(re.findall(r"\w+", lower))
        return cls(lower, words, words.total())


def by_words(texts: Mapping[str, Text], question: str) -> list[str]:
    """The ten files with most of the words of three letters and more, then most occurrences.

    Words count wherever the letters stand, as ``rg --ignore-case --count-matches`` finds them.
    """
    words = {word.lower() for word in re.findall(r"[A-Za-z]{3,}", question)}
    scores = {}
    for path, text in texts.items():
        counts = [text.lower.count(word) for word in words if word in text.lower]
        if counts:
            scores[path] = (len(counts), sum(counts))
    return sorted(scores, key=lambda path: scores[path], reverse=True)[:10]


def by_plain_words(texts: Mapping[str, Text], question: str) -> list[str]:
    """The ten best files by BM25 (k1 = 1.2, b = 0.75) over lower-case words as they stand."""
    files = [path for path, text in texts.items() if text.length]
    mean = sum(texts[path].length for path in files) / max(1, len(files))
    scores = dict.fromkeys(files, 0.0)
    for word in re.findall(r"\w+", question.lower()):
        held = [path for path in files if word in texts[path].words]
        rarity = math.log(1 + (len(files) - len(held) + 0.5) / (len(held) + 0.5))
        for path in held:
            count = texts[path].words[word]
            scale = 1.2 * (0.25 + 0.75 * texts[path].length / mean)
            scores[path] += rarity * 2.2 * count / (count + scale)
    best = sorted(files, key=scores.__getitem__, reverse=True)
    return [path for path in best[:10] if scores[path] > 0]
