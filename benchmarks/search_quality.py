"""How well semantic search finds, on real projects, beside ripgrep and BM25.

Docstring → function: five pinned sdists from your package index, every docstring taken out first.
Commit message → files: the histories of the same five projects, and of those of the suite ``pypi``
(but boltons, one of the five, and sqlparse), each asked at the commit's parent. They are taken from
the directory that ``REPODROME_BENCH_HISTORIES`` names (``NAME`` or ``NAME.git``), else cloned. No
project here had a part in choosing the ranking's constants; of click the vectors were learnt, too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.docstrings import Question, stripped
from benchmarks.histories import Commit, History
from benchmarks.timing import SHARE, Row
from benchmarks.whole_files import Text, by_plain_words, by_words
from repodrome.tasks.pypi import fetch_sdist
from repodrome.tasks.unpack import unpack
from repodrome.tools.index import index as indexes
from repodrome.tools.index.chunks import chunk_file
from repodrome.tools.index.embedder import StaticEmbedder
from repodrome.tools.index.embedders import get_embedder
from repodrome.tools.index.fit import default_key, fit
from repodrome.tools.index.query import Hit, rank, rank_files
from repodrome.tools.index.rerank import TOP, ordered, text_of
from repodrome.tools.index.segment import Collector, FileFacts, Part, Segment
from repodrome.tools.index.walk import Rules

SDISTS = {
    "boltons 26.2.0": "d39cfd15c1a1c3bd4d705c82252fa9edb8e4f5e8cc039f8e39afac7b1b47e92c",
    "celery 5.7.0": "6a5dfcf6662287204f009a02002b9e66c83d4105e47ebabdc7079108772fc6f0",
    "scrapy 2.19.0": "34130726582b64c91531162ab277c4053e558876d49ba219cb43679e71d80a87",
    "tornado 6.6.1": "28e6311402af59c8b02e3fa0f5e7d8eb465b25081381803b127d97e6a4395d5a",
    "werkzeug 3.1.9": "55ca7c70a75689be937aa27f8ff4b018f06ff4838fc73045560bf0f5a1291060",
}
HISTORIES = {
    "boltons": "https://github.com/mahmoud/boltons",
    "celery": "https://github.com/celery/celery",
    "scrapy": "https://github.com/scrapy/scrapy",
    "tornado": "https://github.com/tornadoweb/tornado",
    "werkzeug": "https://github.com/pallets/werkzeug",
}
SUITE_HISTORIES = {
    "cachetools": "https://github.com/tkem/cachetools",
    "click": "https://github.com/pallets/click",
    "jsonpatch": "https://github.com/stefankoegl/python-json-patch",
    "lark": "https://github.com/lark-parser/lark",
    "marshmallow": "https://github.com/marshmallow-code/marshmallow",
    "mistune": "https://github.com/lepture/mistune",
    "more-itertools": "https://github.com/more-itertools/more-itertools",
    "parse": "https://github.com/r1chardj0n3s/parse",
    "toolz": "https://github.com/pytoolz/toolz",
}
RERANKED = "re-ranked by minilm"
GOALS = {"default": 0.57, RERANKED: 0.61}
"""MRR@10, docstring → function."""
QUESTIONS = 400
"""At most, of each project."""
COMMITS = 80

Search = Callable[[str], list[Hit]]


def run(quick: bool, work: Path) -> Iterator[Row]:
    """The rows of this subject."""
    embedder = fit(default_key())
    yield from _functions(QUESTIONS // 4 if quick else QUESTIONS, work / "sdists", embedder)
    most = COMMITS // 4 if quick else COMMITS
    yield from _files("commit message → ", HISTORIES, most, work / "histories", embedder)
    yield from _files("suite pypi, message → ", SUITE_HISTORIES, most, work / "histories", embedder)


# -- docstring → function -------------------------------------------------------------------------


def _functions(most: int, place: Path, embedder: StaticEmbedder) -> Iterator[Row]:
    ways = ("ripgrep", "BM25, plain words", "lexical (BM25F)", "default", RERANKED)
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for pin, sha256 in SDISTS.items():
        source = _unpacked(pin, sha256, place)
        with TemporaryDirectory() as scratch:
            tree, target = Path(scratch, "tree"), Path(scratch, "index")
            questions = stripped(source, tree, most)
            target.mkdir()
            indexes.build(tree, target, embedder)
            segment = indexes.Index.open(target).segment
            searches = (
                _ripgrep(tree, segment),
                _plain(tree, segment),
                _ours(segment, None),
                _ours(segment, embedder),
                _reranked(tree, segment, embedder),
            )
            for way, search in zip(ways, searches, strict=True):
                found[way].append(_measured(search, questions))
    for way, values in found.items():
        for kind, shares in zip(("MRR@10", "recall@10"), zip(*values, strict=True), strict=True):
            goal = GOALS.get(way) if kind == "MRR@10" else None
            yield from _rows(f"docstring → function, {kind}", way, goal, shares, SDISTS)


def _rows(
    figure: str,
    way: str,
    goal: float | None,
    shares: Sequence[float],
    projects: Iterable[str],
) -> Iterator[Row]:
    """The mean over the projects; of what is measured here, each of them as well."""
    ours = way in ("default", RERANKED, "files")
    mean = float(np.mean(shares))
    yield Row(f"{figure}, {way}", (mean,), SHARE, goal=goal if ours else None, floor=not ours)
    if ours:
        for project, share in zip(projects, shares, strict=True):
            yield Row(f"– {project}", (share,), SHARE)


def _unpacked(pin: str, sha256: str, place: Path) -> Path:
    target = place / pin.replace(" ", "-")
    if not target.is_dir():
        place.mkdir(parents=True, exist_ok=True)
        archive = fetch_sdist(*pin.split(), sha256, place)
        staged = place / f"{target.name}.part"
        shutil.rmtree(staged, ignore_errors=True)
        unpack(archive, staged)
        staged.rename(target)
    return target


def _measured(search: Search, questions: list[Question]) -> tuple[float, float]:
    """Mean reciprocal rank and recall, both at 10."""
    ranks = []
    for question in questions:
        places = [place for place, hit in enumerate(search(question.text)[:10], 1)
                  if _answers(hit, question)]  # fmt: skip
        ranks.append(places[0] if places else 0)
    return (
        sum(1 / place for place in ranks if place) / len(ranks),
        sum(place > 0 for place in ranks) / len(ranks),
    )


def _answers(hit: Hit, question: Question) -> bool:
    return (
        hit.path == question.path
        and hit.name.rpartition(".")[2] == question.name
        and hit.start <= question.end
        and hit.end >= question.start
    )


def _hits(segment: Segment, scores: np.ndarray) -> list[Hit]:
    best = [chunk for chunk in np.argsort(-scores, kind="stable")[:10] if scores[chunk] > 0]
    return [
        Hit(
            segment.path(int(segment.files[chunk])),
            *map(int, segment.lines[chunk]),
            *segment.label(chunk),
            float(scores[chunk]),
        )
        for chunk in best
    ]


def _ours(segment: Segment, embedder: StaticEmbedder | None) -> Search:
    def search(text: str) -> list[Hit]:
        return rank([Part(segment)], text, embedder.query(text) if embedder else None, 10)

    return search


def _reranked(tree: Path, segment: Segment, embedder: StaticEmbedder) -> Search:
    model = get_embedder("minilm")

    @cache
    def lines(path: str) -> list[str]:
        return (tree / path).read_text("utf-8", "replace").split("\n")

    def search(text: str) -> list[Hit]:
        hits = rank([Part(segment)], text, embedder.query(text), TOP)
        texts = [text_of(hit, lines(hit.path)) for hit in hits]
        return ordered(model, text, hits, texts) if hits else []

    return search


def _ripgrep(tree: Path, segment: Segment) -> Search:
    """Chunks by how many of the question's words they hold, then by how many lines match."""
    owners: dict[tuple[str, int], int] = {}
    paths = segment.file_paths()
    # Outer chunks first, so that a line belongs to the innermost.
    sizes = segment.lines[:, 1] - segment.lines[:, 0]
    for chunk in np.argsort(-sizes, kind="stable"):
        first, last = segment.lines[chunk]
        for line in range(first, last + 1):
            owners[paths[segment.files[chunk]], line] = int(chunk)

    def search(text: str) -> list[Hit]:
        words = sorted({word.lower() for word in re.findall(r"[A-Za-z]{3,}", text)})
        options = ["--no-config", "--line-number", "--only-matching", "--ignore-case", "--null"]
        done = subprocess.run(
            ["rg", *options, "--with-filename", "--hidden", "|".join(words) or "$^", "."],
            cwd=tree,
            capture_output=True,
            check=False,
        )
        seen: dict[int, Counter[str]] = {}
        for row in done.stdout.decode("utf-8", "replace").split("\n"):
            path, _, rest = row.partition("\0")
            line, _, word = rest.partition(":")
            if line.isdigit():
                owner = owners.get((path.removeprefix("./"), int(line)))
                if owner is not None:
                    seen.setdefault(owner, Counter())[word.lower()] += 1
        scores = np.zeros(segment.size)
        for owner, counts in seen.items():
            scores[owner] = len(counts) + min(0.99, counts.total() / 1000)
        return _hits(segment, scores)

    return search


def _plain(tree: Path, segment: Segment) -> Search:
    """BM25 (k1 = 1.2, b = 0.75) over lower-case words as they stand."""
    paths = segment.file_paths()
    texts: dict[str, list[str]] = {}
    bags = []
    for chunk in range(segment.size):
        path = paths[segment.files[chunk]]
        if path not in texts:
            texts[path] = (tree / path).read_text("utf-8", "replace").split("\n")
        first, last = segment.lines[chunk]
        bags.append(Counter(re.findall(r"\w+", "\n".join(texts[path][first - 1 : last]).lower())))
    lengths = np.array([bag.total() for bag in bags], float)
    scale = 1.2 * (0.25 + 0.75 * lengths / lengths.mean())
    postings: dict[str, list[tuple[int, int]]] = {}
    for chunk, bag in enumerate(bags):
        for word, count in bag.items():
            postings.setdefault(word, []).append((chunk, count))

    def search(text: str) -> list[Hit]:
        scores = np.zeros(segment.size)
        for word in re.findall(r"\w+", text.lower()):
            held = postings.get(word, [])
            rarity = np.log(1 + (len(bags) - len(held) + 0.5) / (len(held) + 0.5))
            for chunk, count in held:
                scores[chunk] += rarity * 2.2 * count / (count + scale[chunk])
        return _hits(segment, scores)

    return search


# -- commit message → files -----------------------------------------------------------------------


def _files(
    figure: str, projects: Mapping[str, str], most: int, place: Path, embedder: StaticEmbedder
) -> Iterator[Row]:
    """Recall of the code files, then of all source files, that the commits changed."""
    found: dict[str, list[np.ndarray]] = {}
    for name, url in projects.items():
        history = History(_history(name, url, place))
        trees = _Trees(history, embedder)
        recalls: dict[str, list[list[float]]] = {}
        for commit in history.commits(most):
            for way, files in _orders(trees, commit, embedder).items():
                recalls.setdefault(way, []).append(
                    [
                        len(wanted.intersection(files[:n])) / len(wanted)
                        for wanted in (commit.code, commit.files)
                        for n in (5, 10)
                    ]
                )
        for way, values in recalls.items():
            found.setdefault(way, []).append(np.mean(values, axis=0))
    kinds = [
        ("code files, recall@5", 0.80),
        ("code files, recall@10", 0.87),
        ("code files and tests, recall@5", None),
        ("code files and tests, recall@10", None),
    ]
    for place_of, (kind, goal) in enumerate(kinds):
        for way, means in found.items():
            shares = [float(mean[place_of]) for mean in means]
            yield from _rows(f"{figure}{kind}", way, goal, shares, projects)


def _orders(trees: _Trees, commit: Commit, embedder: StaticEmbedder) -> dict[str, list[str]]:
    """The files that each way finds, best first."""
    parts = [Part(trees.segment(commit.parent))]
    texts = trees.texts(commit.parent)
    vector = embedder.query(commit.text)
    answers = {
        "lexical (BM25F), files": rank_files(parts, commit.text, None, 10),
        "default, chunks": rank(parts, commit.text, vector, 200),
        "files": rank_files(parts, commit.text, vector, 10),
    }
    return {
        "number of words, as ripgrep counts": by_words(texts, commit.text),
        "BM25 of files, plain words": by_plain_words(texts, commit.text),
        **{way: list(dict.fromkeys(hit.path for hit in hits)) for way, hits in answers.items()},
    }


def _history(name: str, url: str, place: Path) -> Path:
    given = os.environ.get("REPODROME_BENCH_HISTORIES")
    for kept in [Path(given, name), Path(given, f"{name}.git")] if given else []:
        if kept.is_dir():
            return kept / ".git" if (kept / ".git").is_dir() else kept
    target = place / f"{name}.git"
    if not target.is_dir():
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "clone", "--quiet", "--bare", url, target], check=True)
    return target


class _Trees:
    """Segments of a repository's commits; each version of a file is cut and embedded once."""

    def __init__(self, history: History, embedder: StaticEmbedder) -> None:
        self._history = history
        self._embedder = embedder
        self._files: dict[tuple[str, str], tuple[Collector, np.ndarray]] = {}
        self._texts: dict[tuple[str, str], Text] = {}
        self._averages: np.ndarray | None = None

    def texts(self, commit: str) -> dict[str, Text]:
        """What the files of a segment made before say."""
        wanted = [one for one in self._history.tree(commit) if Rules().wants(one[0])]
        return {path: self._texts[path, blob] for path, blob in wanted}

    def segment(self, commit: str) -> Segment:
        wanted = [one for one in self._history.tree(commit) if Rules().wants(one[0])]
        new = [one for one in wanted if one not in self._files]
        contents = list(self._history.contents([blob for _, blob in new]))
        cut = [
            (path, blob, chunk_file(path, data))
            for (path, blob), data in zip(new, contents, strict=True)
        ]
        if self._averages is None:
            whole = Collector()
            for path, _, chunks in cut:
                whole.add(FileFacts(path, 0, 0, bytes(16)), chunks)
            self._averages = whole.averages()
        for (path, blob, chunks), data in zip(cut, contents, strict=True):
            one = Collector(self._averages)
            one.add(FileFacts(path, 0, 0, bytes(16)), chunks)
            self._files[path, blob] = one, self._embedder.documents(one.batch())
            one.drop_texts()
            self._texts[path, blob] = Text.of(data if chunks else b"")
        together = Collector(self._averages)
        for key in wanted:
            together.extend(self._files[key][0])
        return together.finish(np.concatenate([self._files[key][1] for key in wanted]))
