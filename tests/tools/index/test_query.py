"""Words, ranking, and segments on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from repodrome.tools.index import index as indexes
from repodrome.tools.index.index import Index
from repodrome.tools.index.query import Hit, rank, rank_files
from repodrome.tools.index.segment import Part
from repodrome.tools.index.words import query_terms, term_counts, terms_of

FILES = {
    "src/http/cookies.py": (
        "class CookieJar:\n    def parse_header(self, header):\n        pairs = header.split(';')\n"
        "        return dict(pairs)\n\n    def expire_stale(self, now):\n        for c in self:\n"
        "            if c.deadline < now:\n                self.remove(c)\n"
    ),
    "src/retry.py": (
        "def backoff_delays(attempts):\n    return [2 ** n for n in range(attempts)]\n\n\n"
        "def _private_jitter(delay):\n    return delay\n"
    ),
    "tests/test_retry.py": "def test_backoff_delays():\n    assert backoff_delays(2) == [1, 2]\n",
    "README.md": "# Jar\nKeeps cookies.\n## Retrying\nFailed attempts get a backoff.\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / "tree" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "tree"


def built(tree: Path, target: Path) -> Index:
    target.mkdir()
    indexes.build(tree, target)
    return Index.open(target)


def top(index: Index, query: str, limit: int = 5) -> list[Hit]:
    return rank([Part(index.segment)], query, None, limit)


def test_identifiers_are_split_and_stemmed() -> None:
    assert set(terms_of("parseHeaders")) & set(terms_of("header_parsing"))
    assert len({terms_of("HTTPServer")[:2], terms_of("http_server")[:2]}) == 1
    assert term_counts("retry retries retried") == {terms_of("retry")[0]: 3}
    assert not query_terms("where is the") & term_counts("the is")


def test_finds_by_words_names_and_path(tree: Path, tmp_path: Path) -> None:
    index = built(tree, tmp_path / "index")
    hit = top(index, "parsing of the cookie header")[0]
    assert (hit.path, hit.start, hit.end) == ("src/http/cookies.py", 2, 4)
    assert hit.name == "CookieJar.parse_header" and hit.signature.startswith("def parse_header")
    assert top(index, "exponential backoff between attempts")[0].path == "src/retry.py"
    assert top(index, "CookieJar")[0].name == "CookieJar"
    assert top(index, "what calls `_private_jitter`")[0].name == "_private_jitter"
    assert top(index, "nothing_like_this_xyzzy") == []


def test_tests_rank_lower_unless_asked_for(tree: Path, tmp_path: Path) -> None:
    index = built(tree, tmp_path / "index")
    assert top(index, "backoff delays")[0].path == "src/retry.py"
    assert top(index, "test of backoff delays")[0].path == "tests/test_retry.py"


def test_limit_and_order(tree: Path, tmp_path: Path) -> None:
    index = built(tree, tmp_path / "index")
    hits = top(index, "cookie backoff delay header", 3)
    assert len(hits) == 3
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert top(index, "cookie backoff delay header", 3) == hits


def test_the_same_tree_gives_the_same_index(tree: Path, tmp_path: Path) -> None:
    one, two = built(tree, tmp_path / "one"), built(tree, tmp_path / "two")
    assert np.array_equal(one.segment.terms, two.segment.terms)
    assert np.array_equal(one.segment.impacts, two.segment.impacts)


def test_an_empty_tree_can_be_indexed_and_asked(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    index = built(tmp_path / "tree", tmp_path / "index")
    assert index.files == {} and top(index, "anything") == []


def test_what_is_ignored_binary_or_generated_is_left_out(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name, data in {
        ".gitignore": b"build/\n*.log\n!keep.log\n",
        "build/out.py": b"def built_thing(): pass\n",
        "a.log": b"built thing\n",
        "keep.log": b"built thing kept\n",
        "sub/.gitignore": b"/local.py\n",
        "sub/local.py": b"def built_thing(): pass\n",
        "sub/deep/local.py": b"def built_thing_deep(): pass\n",
        ".git/config.py": b"def built_thing(): pass\n",
        "node_modules/x/index.js": b"function built_thing() {}\n",
        "bin.dat": b"\x00built thing",
        "x.min.js": b"function built_thing() {}\n",
    }.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)
    (tree / "link.py").symlink_to(tree / "build/out.py")
    (tree / "bad\nname \udcff.py").write_bytes(b"def built_thing_oddly(): pass\n")
    index = built(tree, tmp_path / "index")
    found = {hit.path for hit in top(index, "built thing", 20)}
    assert found == {"keep.log", "sub/deep/local.py", "bad\nname \udcff.py"}


def test_a_named_file_comes_first(tree: Path, tmp_path: Path) -> None:
    (tree / "setup.py").write_text("setup(name='jar', install_requires=['six'])\n")
    index = built(tree, tmp_path / "index")
    assert top(index, "setup.py: remove stale requirements of cookies")[0].path == "setup.py"
    assert top(index, "src/retry.py jar keeps cookies")[0].path == "src/retry.py"
    assert top(index, "cookies, e.g. stale ones (p.py)")[0].path == "src/http/cookies.py"


def test_a_file_with_much_that_fits_comes_before_one_with_little(
    tree: Path, tmp_path: Path
) -> None:
    many = "".join(
        f"def {name}_lease(x):\n    return x\n\n\n" for name in ("renew", "drop", "show")
    )
    (tree / "src" / "leases.py").write_text(many)
    (tree / "src" / "a.py").write_text("def lease(x):\n    return x\n")
    hits = top(built(tree, tmp_path / "index"), "renew, drop and show every lease")
    assert [hit.path for hit in hits[:3]] == ["src/leases.py"] * 3


def test_tests_named_in_passing_stay_behind(tree: Path, tmp_path: Path) -> None:
    index = built(tree, tmp_path / "index")
    query = "Keep backoff delays of attempts in range, private jitter later; tests still to come"
    assert top(index, query)[0].path == "src/retry.py"


def files(index: Index, query: str, limit: int = 5) -> list[Hit]:
    return rank_files([Part(index.segment)], query, None, limit)


def test_files_are_ranked_as_wholes_each_with_its_best_place(tree: Path, tmp_path: Path) -> None:
    (tree / "src" / "pool.py").write_text(
        "def acquire(pool):\n    pool.check_idle()\n\n\ndef release(pool):\n    pool.put()\n\n\n"
        "class Idle:\n    limit = 3\n"
    )
    (tree / "src" / "one.py").write_text("def release(lock):\n    lock.release()\n")
    hits = files(built(tree, tmp_path / "index"), "Release idle connections of the pool")
    assert hits[0].path == "src/pool.py"
    assert len({hit.path for hit in hits}) == len(hits)
    assert (hits[0].start, hits[0].end, hits[0].name) == (5, 6, "release")
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_words_that_only_say_that_something_changes_bring_no_file_up(
    tree: Path, tmp_path: Path
) -> None:
    (tree / "src" / "fixes.py").write_text("def add_fix(bug):\n    return fix(bug)\n")
    index = built(tree, tmp_path / "index")
    assert files(index, "Fix bug: add jitter to delays when retrying")[0].path == "src/retry.py"
    assert files(index, "add_fix")[0].path == "src/fixes.py"


def test_the_first_line_of_a_message_says_most(tree: Path, tmp_path: Path) -> None:
    index = built(tree, tmp_path / "index")
    cookies, retry = "Parse header of cookies", "Jitter delays of backoff attempts"
    assert files(index, f"{cookies}\n\n{retry}")[0].path == "src/http/cookies.py"
    assert files(index, f"{retry}\n\n{cookies}")[0].path == "src/retry.py"


def test_prose_and_data_come_after_code_among_files_and_a_named_file_first(
    tree: Path, tmp_path: Path
) -> None:
    (tree / "delays.toml").write_text("[backoff]\nattempts = 3\ndelays = [1, 2]\n")
    index = built(tree, tmp_path / "index")
    found = [hit.path for hit in files(index, "backoff delays between attempts")]
    assert found[:2] == ["src/retry.py", "tests/test_retry.py"] and "delays.toml" in found
    assert files(index, "backoff delays in delays.toml")[0].path == "delays.toml"


def test_code_without_a_grammar_is_no_afterthought(tree: Path, tmp_path: Path) -> None:
    (tree / "speedups.pyx").write_text("cdef int decode_frame(char *raw):\n    return raw[0]\n")
    (tree / "frame.py").write_text("FRAMES = 1\n\n\ndef other():\n    return decode(1)\n")
    assert top(built(tree, tmp_path / "index"), "decode a raw frame")[0].path == "speedups.pyx"


def test_files_of_an_empty_index_and_of_nothing_that_fits(tree: Path, tmp_path: Path) -> None:
    index = built(tree, tmp_path / "index")
    assert files(index, "xyzzy_plugh") == []
    (tmp_path / "bare").mkdir()
    assert files(built(tmp_path / "bare", tmp_path / "none"), "anything") == []
