"""The fitted embedder, the optional ones, and re-ranking."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from repodrome.errors import SetupError, UnknownNameError, UsageError
from repodrome.tools.index import fit as fitting
from repodrome.tools.index.chunks import chunk_file
from repodrome.tools.index.embedder import Embedder, StaticEmbedder
from repodrome.tools.index.embedders import get_embedder
from repodrome.tools.index.endpoint import EndpointEmbedder
from repodrome.tools.index.query import Hit
from repodrome.tools.index.rerank import reranked
from repodrome.tools.index.segment import Collector, FileFacts
from tests.fakes.local_workspace import LocalWorkspace

SUBJECTS = (
    "file user cache token route event queue table image order lock page mail node job frame patch "
    "theme shard brand plan stamp crane drone"
)
VERBS = {"remove": "unlink", "fetch": "download", "build": "make", "check": "verify"}


def documented(tree: Path) -> Path:
    """Functions whose docstrings say with other words what their code does."""
    lines = []
    for number in range(16):
        for subject in SUBJECTS.split():
            for said, done in VERBS.items():
                lines += [
                    f"def {done}_{subject}_{number}(store):",
                    f'    """{said.title()} the given {subject} from the store {number}."""',
                    f"    handle = store.{subject}_handle({number})",
                    f"    return handle.{done}()",
                    "",
                ]
    (tree / "code").mkdir()
    (tree / "code" / "all.py").write_text("\n".join(lines))
    return tree / "code"


def vectors(embedder: Embedder, *sources: str) -> np.ndarray:
    collector = Collector()
    for number, source in enumerate(sources):
        name = f"f{number}.py"
        collector.add(FileFacts(name, 0, 0, bytes(16)), chunk_file(name, source.encode()))
    return embedder.documents(collector.batch())


def test_learns_which_words_in_questions_mean_which_in_code(tmp_path: Path) -> None:
    embedder = fitting.fit("k", [documented(tmp_path)])
    assert isinstance(embedder, Embedder)
    rows = vectors(
        embedder, "def g(x):\n    return x.unlink()\n", "def g(x):\n    return x.download()\n"
    )
    close = rows @ embedder.query("remove it")
    assert close[0] > close[1] + 0.2
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3)


def test_is_the_same_every_time_and_survives_the_disk(tmp_path: Path) -> None:
    code = documented(tmp_path)
    one, two = fitting.fit("k", [code]), fitting.fit("k", [code])
    assert np.array_equal(one.code, two.code)
    (tmp_path / "kept").mkdir()
    one.save(tmp_path / "kept")
    kept = StaticEmbedder.open(tmp_path / "kept", "k")
    assert np.allclose(kept.query("remove the file"), one.query("remove the file"), atol=1e-3)


def test_says_nothing_where_there_is_too_little_to_learn_from(tmp_path: Path) -> None:
    embedder = fitting.fit("k", [tmp_path])
    assert not vectors(embedder, "def f(): pass\n").any()
    assert not embedder.query("remove").any()


def test_the_key_is_a_plain_name() -> None:
    assert fitting.default_key() == fitting.default_key()
    assert fitting.default_key().replace("-", "").isalnum()


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """Embeds a text as its counts of two words; answers in reverse order, as it may."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            rows = [
                {"index": at, "embedding": [text.count("red") + 0.01, text.count("blue") + 0.01]}
                for at, text in enumerate(asked["input"])
            ]
            fails = asked["model"] == "broken" or self.path != "/v1/embeddings"
            data = b"{}" if fails else json.dumps({"data": rows[::-1]}).encode()
            self.send_response(400 if fails else 200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


def endpoint(server: ThreadingHTTPServer, model: str = "m") -> EndpointEmbedder:
    return EndpointEmbedder(f"http://127.0.0.1:{server.server_port}/v1", model)


def test_an_endpoint_embeds(server: ThreadingHTTPServer) -> None:
    embedder = endpoint(server)
    assert isinstance(embedder, Embedder)
    rows = vectors(embedder, *(f"def {name}(): pass\n" for name in ["red", "blue"] * 40))
    assert rows.shape == (80, 2)
    assert (np.argmax(rows, axis=1) == np.tile([0, 1], 40)).all()
    assert np.argmax(embedder.query("blue things")) == 1
    assert embedder.key != endpoint(server, "other").key


def test_an_endpoint_that_fails_is_the_machines_fault(server: ThreadingHTTPServer) -> None:
    with pytest.raises(SetupError, match="no embeddings from"):
        endpoint(server, "broken").query("x")


def test_unknown_and_unset_embedders_name_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "MODEL", "KEY"):
        monkeypatch.delenv(f"REPODROME_EMBEDDINGS_{name}", raising=False)
    with pytest.raises(UnknownNameError, match="openai"):
        get_embedder("openia")
    with pytest.raises(UsageError, match="REPODROME_EMBEDDINGS_URL"):
        get_embedder("openai")
    with pytest.raises(UsageError, match="REPODROME_EMBEDDINGS_MODEL"):
        get_embedder("sentence-transformers")


@pytest.mark.anyio
async def test_reranking_reads_the_files_as_they_are(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REPODROME_EMBEDDINGS_URL", endpoint(server).url)
    monkeypatch.setenv("REPODROME_EMBEDDINGS_MODEL", "m")
    (tmp_path / "a.py").write_text("def a():\n    blue()\n")
    (tmp_path / "b.py").write_text("def b():\n    red()\n")
    hits = [Hit(f"{name}.py", 1, 2, name, f"def {name}():", 1.0) for name in ("a", "b", "gone")]
    try:
        found = await reranked(LocalWorkspace(tmp_path), "red", hits, "openai")
    finally:
        get_embedder.cache_clear()
    assert found[0].name == "b" and len(found) == 3
    assert await reranked(LocalWorkspace(tmp_path), "red", [], "openai") == []
