"""The index of one tree on disk: built once, mapped read-only by everybody."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from repodrome.tools.index import chunks, segment, walk, words
from repodrome.tools.index.embedder import Embedder
from repodrome.tools.index.segment import Collector, FileFacts, Segment

_RULES = "ignored.json"


@dataclass(frozen=True)
class Index:
    """A tree's segment and the rules of what belongs into it.

    Attributes:
        segment: its chunks.
        rules: what is left out by name.
    """

    segment: Segment
    rules: walk.Rules

    @classmethod
    def open(cls, source: Path) -> Index:
        """Map what :func:`build` wrote.

        Raises:
            OSError: it is not there, or incomplete.
        """
        ignored = json.loads((source / _RULES).read_bytes())
        return cls(Segment.open(source), walk.Rules(ignored))

    @classmethod
    def empty(cls, embedder: Embedder | None = None) -> Index:
        """The index of an empty tree."""
        return cls(finished(Collector(), embedder), walk.Rules())

    @cached_property
    def files(self) -> dict[str, tuple[int, FileFacts]]:
        """Each file that was looked at: its number and what it was like."""
        return {facts.path: (n, facts) for n, facts in enumerate(self.segment.all_files())}

    @cached_property
    def paths(self) -> list[str]:
        """The paths of those files, sorted."""
        return sorted(self.files)


def formats() -> str:
    """Changes whenever this code would make something else of the same tree."""
    return f"{chunks.FORMAT}.{segment.FORMAT}.{walk.FORMAT}.{words.FORMAT}"


def build(tree: Path, target: Path, embedder: Embedder | None = None) -> None:
    """Write the index of a tree into an empty directory. Blocks: call it in a thread."""
    found, rules = walk.walk(tree)
    collector = Collector()
    for path, status in found:
        data = read(tree / path, status.st_size)
        if data is not None:
            facts = FileFacts(path, status.st_size, status.st_mtime_ns, digest(data))
            collector.add(facts, chunks.chunk_file(path, data))
    finished(collector, embedder).save(target)
    (target / _RULES).write_text(json.dumps(rules.ignored))


def finished(collector: Collector, embedder: Embedder | None) -> Segment:
    """The collector's segment with the embedder's vectors."""
    if embedder is None:
        return collector.finish()
    return collector.finish(embedder.documents(collector.batch()).astype(np.float32, copy=False))


def read(file: Path, size: int) -> bytes | None:
    """A file's content; empty where it is too large, None where it can't be read."""
    if size > chunks.MAX_BYTES:
        return b""
    try:
        return file.read_bytes()
    except OSError:
        return None


def digest(data: bytes) -> bytes:
    """A content hash of 16 bytes."""
    return hashlib.blake2b(data, digest_size=16).digest()
