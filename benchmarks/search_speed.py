"""How quick semantic search is: making and opening indexes, queries, following changes.

The code searched is copied from Python's own standard library, as much as gives so many chunks.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sysconfig
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path
from time import perf_counter

from benchmarks.timing import SHARE, Row, in_ms, sample, sample_async
from repodrome.harness.directory_search import DirectoryFiles
from repodrome.tools.index.chunks import chunk_file
from repodrome.tools.index.embedder import StaticEmbedder
from repodrome.tools.index.fit import default_key, fit
from repodrome.tools.index.index import Index, build
from repodrome.tools.index.minilm import MiniLM
from repodrome.tools.index.overlay import Overlay
from repodrome.tools.index.query import rank
from repodrome.tools.index.rerank import TOP, ordered, text_of
from repodrome.tools.index.segment import Part

SMALL, LARGE = 2_500, 45_000
QUERIES = (
    "parse the header of a mail message",
    "remove a directory and all that is in it",
    "retry a request after a timeout",
    "where is the maximum recursion depth checked",
    "HTTPConnection",
    "convert a datetime to a string with its time zone",
    "wait for a child process to end and read its output",
    "compare two sequences and show the differences",
)


def run(quick: bool, work: Path) -> Iterator[Row]:
    """The rows of this subject."""
    began = perf_counter()
    embedder = fit(default_key())
    yield in_ms("vectors learnt, once a machine", [perf_counter() - began])
    n = 20 if quick else 100
    for chunks, goal in ((SMALL, 600.0), (LARGE, 10_000.0)):
        tree = _tree(work / f"search-{chunks}", chunks)
        target = work / f"search-{chunks}-index"
        yield in_ms(f"index of {chunks:,} chunks made", _built(tree, target, embedder, quick), goal)
    yield in_ms("– opened", sample(lambda: Index.open(target), n), 10)
    index = Index.open(target)
    yield Row("– chunks", (float(index.segment.size),), "")
    yield in_ms(
        "ripgrep for one word, same files",
        sample(lambda: subprocess.run(["rg", "-c", "timeout", tree], capture_output=True), 10),
        floor=True,
    )
    yield in_ms("– query", _queries(index, embedder, n), 10, 50)
    yield from _reranked(index, embedder, tree, 1 if quick else 3)
    yield from asyncio.run(_changes(index, embedder, tree, n))
    yield from asyncio.run(_overlap(embedder, work))


def _tree(place: Path, chunks: int) -> Path:
    """A copy of as many modules of the standard library as have so many chunks."""
    if not place.is_dir():
        source = Path(sysconfig.get_paths()["stdlib"])
        staged = place.with_suffix(".part")
        shutil.rmtree(staged, ignore_errors=True)
        left = chunks
        for file in sorted(source.rglob("*.py")):
            path = file.relative_to(source)
            if left <= 0:
                break
            if "site-packages" not in path.parts:
                (staged / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, staged / path)
                left -= len(chunk_file(path.as_posix(), file.read_bytes()))
        staged.rename(place)
    return place


def _built(tree: Path, target: Path, embedder: StaticEmbedder, quick: bool) -> list[float]:
    def once() -> None:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        build(tree, target, embedder)

    return sample(once, 2 if quick else 5, warm_up=1)


def _queries(index: Index, embedder: StaticEmbedder, n: int) -> list[float]:
    taken = []
    for query in QUERIES:

        def once(text: str = query) -> None:
            rank([Part(index.segment)], text, embedder.query(text), 10)

        taken += sample(once, n // 4)
    return taken


def _reranked(index: Index, embedder: StaticEmbedder, tree: Path, n: int) -> Iterator[Row]:
    """What re-ranking adds to a query: none of its 30 best was read before, or all were."""
    asked = []
    for query in QUERIES:
        hits = rank([Part(index.segment)], query, embedder.query(query), TOP)
        texts = [text_of(hit, (tree / hit.path).read_text().split("\n")) for hit in hits]
        asked.append((query, hits, texts))
    loads, unread, read = [], [], []
    for _ in range(n):
        with closing(MiniLM.installed()) as model:
            loads.append(_seconds(lambda: model.query("")))
            for again in (unread, read):
                again += [_seconds(partial(ordered, model, *one)) for one in asked]
    yield in_ms("minilm loaded, once a process", loads)
    yield in_ms("– 30 results read again, none known", unread)
    yield in_ms("– 30 results read again, all known", read)


def _seconds(call: Callable[[], object]) -> float:
    began = perf_counter()
    call()
    return perf_counter() - began


async def _changes(index: Index, embedder: StaticEmbedder, tree: Path, n: int) -> Iterator[Row]:
    """An overlay that follows one changed file, and what it holds in memory."""
    files, rows = DirectoryFiles(tree), []
    # Of middling size, so that it stands for the files that get edited.
    path = sorted(index.paths, key=lambda one: index.files[one][1].size)[len(index.paths) * 2 // 3]
    original = (tree / path).read_bytes()
    overlay = Overlay(index, embedder)

    async def ask() -> None:
        await overlay.search(files, QUERIES[0], 10, changed=[path])

    async def changed() -> None:
        (tree / path).write_bytes(original + b"\n\ndef added_%d(): pass\n" % next(numbers))
        await ask()

    numbers = count(1)
    try:
        rows.append(in_ms("– query, nothing new", await sample_async(ask, n), 10, 50))
        rows.append(in_ms("– one changed file, and query", await sample_async(changed, n), 10, 50))
        held = []
        for _ in range(5):
            tracemalloc.start()
            kept = Overlay(index, embedder)
            await kept.search(files, QUERIES[0], 10, changed=[path])
            held.append(tracemalloc.get_traced_memory()[0] / (1 << 20))
            tracemalloc.stop()
        rows.append(Row("memory of an episode with a changed file", tuple(held), "MB", goal=1))
    finally:
        (tree / path).write_bytes(original)
    return iter(rows)


async def _overlap(embedder: StaticEmbedder, work: Path) -> Iterator[Row]:
    """The first ten results of an overlay beside those of an index made anew."""
    tree = work / "search-changing"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(work / f"search-{SMALL}", tree)
    places = [work / f"search-changing-{when}" for when in ("before", "after")]
    for place in places:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
    build(tree, places[0], embedder)
    before = Index.open(places[0])
    paths = before.paths[::20]
    for number, path in enumerate(paths):
        file = tree / path
        if number % 3:
            file.write_bytes(file.read_bytes().replace(b"self", b"this"))
        else:
            file.unlink()
    build(tree, places[1], embedder)
    overlay, anew = Overlay(before, embedder), Overlay(Index.open(places[1]), embedder)
    same = total = 0
    for query in QUERIES:
        found = []
        for one, changed in ((overlay, paths), (anew, [])):
            hits = await one.search(DirectoryFiles(tree), query, 10, changed=changed)
            found.append({(hit.path, hit.start) for hit in hits})
        same, total = same + len(found[0] & found[1]), total + len(found[1])
    return iter([Row("overlay's ten best that a new index has", (same / total,), SHARE, goal=0.99)])
