"""A segment: the immutable index of a set of files, as plain arrays that can be memory-mapped.

Ranking is BM25F (Robertson & Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond",
2009, §3.6) over three fields: a chunk's own lines, its name, its path. Everything but the inverse
document frequency is worked out when the segment is made, so a query only adds up postings.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from repodrome.tools.index.chunks import Chunk
from repodrome.tools.index.priors import file_prior, is_test, prior
from repodrome.tools.index.words import hashed, term_counts

FORMAT = 2
"""Part of every index key: raise it when the arrays are made differently."""

K1: Final = 2.5
FIELDS: Final = ((1.0, 0.9), (6.0, 0.9), (0.6, 0.5))
"""Weight and length normalisation (b) of body, name and path.

Chosen by coordinate search on aiohttp, pyramid, jinja, sqlparse and httpx, none of which
``benchmarks/search_quality.py`` measures."""

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a file was like when it was indexed.

    Attributes:
        path: relative to the tree, POSIX; surrogate-escaped.
        size: bytes.
        mtime_ns: modification time, nanoseconds since the epoch.
        digest: of its content.
    """

    path: str
    size: int
    mtime_ns: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Chunks to be embedded.

    Attributes:
        texts: each one's path, name and lines.
        terms: the terms of all of them, one after the other.
        weights: how much each term counts in its chunk, 0 to 1: saturated frequency (BM25F).
        bounds: where each chunk's terms begin in ``terms``, and the end.
    """

    texts: Sequence[str]
    terms: Array
    weights: Array
    bounds: Array


@dataclass(frozen=True, slots=True)
class Segment:
    """Postings, chunks and files; n chunks, t terms, p postings, f files.

    Attributes:
        terms: sorted (t, uint64).
        starts: where the postings of each term begin, and the end (t + 1).
        docs: the chunk of each posting (p).
        impacts: what a posting adds to its chunk's score, before its term's rarity (p, float32).
        lines: first and last line of each chunk (n, 2).
        files: the file of each chunk, ascending (n).
        priors: what each chunk's score is multiplied with (n, float32).
        tests: whether each chunk is of a test (n, bool).
        symbols: hash of each chunk's own name in lower case; 0 without one (n).
        vectors: of each chunk, of length 1 (n, dimensions).
        labels: name and signature of the chunks, UTF-8, a newline behind each.
        label_ends: where each chunk's label ends (n).
        paths: of the files, a NUL behind each.
        path_ends: where each path ends (f).
        stats: size and modification time (ns) of the files (f, 2).
        digests: content hashes of the files (f, 16).
        file_priors: what each file's score is multiplied with (f, float32).
        averages: mean length of the three fields (3).
    """

    terms: Array
    starts: Array
    docs: Array
    impacts: Array
    lines: Array
    files: Array
    priors: Array
    tests: Array
    symbols: Array
    vectors: Array
    labels: Array
    label_ends: Array
    paths: Array
    path_ends: Array
    stats: Array
    digests: Array
    file_priors: Array
    averages: Array

    @property
    def size(self) -> int:
        """How many chunks it has."""
        return len(self.files)

    def path(self, file: int) -> str:
        """A file's path."""
        start = int(self.path_ends[file - 1]) if file else 0
        raw = self.paths[start : int(self.path_ends[file]) - 1].tobytes()
        return raw.decode("utf-8", "surrogateescape")

    def label(self, chunk: int) -> tuple[str, str]:
        """A chunk's name and signature."""
        start = int(self.label_ends[chunk - 1]) if chunk else 0
        raw = self.labels[start : int(self.label_ends[chunk])].tobytes()
        name, signature, _ = raw.decode("utf-8", "replace").split("\n")
        return name, signature

    def file_paths(self) -> list[str]:
        """The path of every file."""
        return self.paths.tobytes().decode("utf-8", "surrogateescape").split("\0")[:-1]

    def all_files(self) -> list[FileFacts]:
        """Every file that was looked at, with chunks or without."""
        return [
            FileFacts(path, size, mtime, digest.tobytes())
            for path, (size, mtime), digest in zip(
                self.file_paths(), self.stats.tolist(), self.digests, strict=True
            )
        ]

    def postings(self, term: int) -> tuple[Array, Array]:
        """Chunks that have a term, and its impact on each."""
        at = int(np.searchsorted(self.terms, np.uint64(term)))
        if at == len(self.terms) or int(self.terms[at]) != term:
            return self.docs[:0], self.impacts[:0]
        start, end = int(self.starts[at]), int(self.starts[at + 1])
        return self.docs[start:end], self.impacts[start:end]

    def save(self, target: Path) -> None:
        """Write it into an empty directory."""
        for one in fields(self):
            np.save(target / f"{one.name}.npy", getattr(self, one.name), allow_pickle=False)

    @classmethod
    def open(cls, source: Path) -> Segment:
        """Map what :meth:`save` wrote; nothing is read before it is used.

        Raises:
            OSError: it is not there, or incomplete.
        """
        return cls(**{one.name: _mapped(source / f"{one.name}.npy") for one in fields(cls)})


def _mapped(file: Path) -> Array:
    try:
        found: Array = np.load(file, mmap_mode="r", allow_pickle=False)
    except ValueError:  # an empty array can't be mapped
        found = np.load(file, allow_pickle=False)
    return found.view(np.ndarray)


class Collector:
    """Gathers the chunks of files and makes a segment of them.

    Args:
        averages: mean field lengths to go by; default: those of what is gathered. A small segment
            beside a large one takes the large one's.
    """

    def __init__(self, averages: Array | None = None) -> None:
        self._averages = averages
        self._facts: list[FileFacts] = []
        self._chunks: list[Chunk] = []
        self._files = array("i")
        self._terms = array("Q")
        self._counts = array("f")
        self._field_sizes = array("i")  # distinct terms, of three fields a chunk
        self._lengths = array("f")  # likewise, terms

    def add(self, facts: FileFacts, chunks: Iterable[Chunk]) -> None:
        """Take a file in."""
        of_path = term_counts(facts.path.rpartition(".")[0] or facts.path)
        for chunk in chunks:
            self._chunks.append(chunk)
            self._files.append(len(self._facts))
            for counts in (term_counts(chunk.text), term_counts(chunk.name), of_path):
                self._add_field(counts)
        self._facts.append(facts)

    def extend(self, other: Collector) -> None:
        """Take in all that another one has gathered."""
        self._files.extend(file + len(self._facts) for file in other._files)
        self._facts += other._facts
        self._chunks += other._chunks
        self._terms += other._terms
        self._counts += other._counts
        self._field_sizes += other._field_sizes
        self._lengths += other._lengths

    def drop_texts(self) -> None:
        """Forget the chunks' own lines, which only :meth:`batch` needs."""
        self._chunks = [replace(chunk, text="") for chunk in self._chunks]

    def _add_field(self, counts: Counter[int]) -> None:
        self._terms.extend(counts.keys())
        self._counts.extend(counts.values())
        self._field_sizes.append(len(counts))
        self._lengths.append(counts.total())

    def batch(self) -> Batch:
        """What was gathered, to be embedded."""
        terms, docs, impacts = self._postings_by_chunk()
        bounds = np.searchsorted(docs, np.arange(len(self._chunks) + 1))
        texts = [
            f"{self._facts[file].path}\n{chunk.name}\n{chunk.text}"
            for file, chunk in zip(self._files, self._chunks, strict=True)
        ]
        return Batch(texts, terms, impacts, bounds)

    def averages(self) -> Array:
        """Mean length of the three fields."""
        if self._averages is not None:
            return self._averages
        lengths = np.frombuffer(self._lengths, np.float32).reshape(-1, 3)
        return np.maximum(lengths.mean(axis=0), 1.0) if len(lengths) else np.ones(3, np.float32)

    def _postings_by_chunk(self) -> tuple[Array, Array, Array]:
        """Term, chunk and impact of every posting, sorted by chunk."""
        terms = np.frombuffer(self._terms, np.uint64)
        sizes = np.frombuffer(self._field_sizes, np.int32)
        lengths = np.frombuffer(self._lengths, np.float32).reshape(-1, 3)
        weights = np.array([w for w, _ in FIELDS], np.float32)
        b = np.array([b for _, b in FIELDS], np.float32)
        scale = weights / (1 - b + b * lengths / self.averages())
        frequency = np.frombuffer(self._counts, np.float32) * np.repeat(scale.ravel(), sizes)
        docs = np.repeat(np.arange(len(sizes)) // 3, sizes)
        order = np.lexsort((terms, docs))
        terms, docs, frequency = terms[order], docs[order], frequency[order]
        if len(terms):
            new = np.flatnonzero(
                np.concatenate(([True], (terms[1:] != terms[:-1]) | (docs[1:] != docs[:-1])))
            )
            terms, docs, frequency = terms[new], docs[new], np.add.reduceat(frequency, new)
        return terms, docs, (frequency / (K1 + frequency)).astype(np.float32)

    def finish(self, vectors: Array | None = None) -> Segment:
        """The segment, with the vectors of :meth:`batch`'s chunks."""
        terms, docs, impacts = self._postings_by_chunk()
        order = np.argsort(terms, kind="stable")
        distinct, starts = np.unique(terms[order], return_index=True)
        chunks = self._chunks
        labels = [
            f"{_one_line(chunk.name)}\n{_one_line(chunk.signature)}\n".encode("utf-8", "replace")
            for chunk in chunks
        ]
        paths = [f"{facts.path}\0".encode("utf-8", "surrogateescape") for facts in self._facts]
        of_file = [self._facts[file].path for file in self._files]
        return Segment(
            terms=distinct,
            starts=np.append(starts, len(terms)).astype(np.int64),
            docs=docs[order].astype(np.uint32),
            impacts=impacts[order],
            lines=np.array([(c.start, c.end) for c in chunks], np.int32).reshape(-1, 2),
            files=np.frombuffer(self._files, np.int32),
            priors=np.array(
                [prior(path, c) for path, c in zip(of_file, chunks, strict=True)], np.float32
            ),
            tests=np.array([is_test(path) for path in of_file], bool),
            symbols=np.array([symbol(chunk.name) for chunk in chunks], np.uint64),
            vectors=np.zeros((len(chunks), 0), np.float32) if vectors is None else vectors,
            labels=np.frombuffer(b"".join(labels), np.uint8),
            label_ends=np.cumsum([len(label) for label in labels], dtype=np.int64),
            paths=np.frombuffer(b"".join(paths), np.uint8),
            path_ends=np.cumsum([len(path) for path in paths], dtype=np.int64),
            stats=np.array([(f.size, f.mtime_ns) for f in self._facts], np.int64).reshape(-1, 2),
            digests=np.frombuffer(b"".join(f.digest for f in self._facts), np.uint8).reshape(
                -1, 16
            ),
            file_priors=np.array([file_prior(f.path) for f in self._facts], np.float32),
            averages=self.averages(),
        )


def symbol(name: str) -> int:
    """What a chunk's own name, without those around it, is found by; 0 for none."""
    last = name.replace("::", ".").rpartition(".")[2].lower()
    return hashed(f"symbol {last}") if last else 0


def _one_line(text: str) -> str:
    return " ".join(text.split("\n"))


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
