"""Cutting files into chunks, in every language, whatever they hold."""

from __future__ import annotations

import random
import time

import pytest

from repodrome.tools.index.chunks import MAX_BYTES, Chunk, chunk_file
from repodrome.tools.index.languages import LANGUAGES, grammar

EXAMPLES: dict[str, tuple[str, dict[str, tuple[int, int]]]] = {
    "a.py": (
        "import os\n\n\nclass A(B):\n    x = 1\n\n    # Says so.\n    @property\n"
        "    def one(self):\n        def inner():\n            pass\n        return 1\n\n\n"
        "async def two():\n    return 2\n",
        {"A": (4, 12), "A.one": (7, 12), "two": (15, 16)},
    ),
    "a.js": (
        "// Adds.\nexport function add(a, b) {\n  return a + b;\n}\nclass C {\n  m() {\n"
        "    return 1;\n  }\n}\nconst f = async (x) => {\n  return x;\n};\n",
        {"add": (1, 4), "C": (5, 9), "C.m": (6, 8), "f": (10, 12)},
    ),
    "a.ts": (
        "export interface Opt {\n  a: string;\n}\n"
        "abstract class K<T> {\n  go(x: T): void {\n  }\n}\nenum E {\n  One,\n}\n",
        {"Opt": (1, 3), "K": (4, 7), "K.go": (5, 6), "E": (8, 10)},
    ),
    "a.tsx": ("const V = (p: P) => {\n  return <b>{p.x}</b>;\n};\n", {"V": (1, 3)}),
    "a.go": (
        "package p\n\n// Get gets.\nfunc (s *S) Get(k string) int {\n\treturn 1\n}\n\n"
        "type S struct {\n\ta int\n}\n",
        {"Get": (3, 6), "S": (8, 10)},
    ),
    "a.rs": (
        "/// A point.\n#[derive(Debug)]\nstruct P {\n    x: i32,\n}\nimpl P {\n"
        "    fn new() -> Self {\n        P { x: 1 }\n    }\n}\n",
        {"P": (6, 10), "P.new": (7, 9)},
    ),
    "A.java": (
        "class A {\n  /** Doc. */\n  int f(int x) {\n    return x;\n  }\n  A() {\n  }\n}\n",
        {"A": (1, 8), "A.f": (2, 5), "A.A": (6, 7)},
    ),
    "a.c": (
        "struct s {\n  int a;\n};\nstatic char *dup(const char *p)\n{\n  return 0;\n}\n",
        {"s": (1, 3), "dup": (4, 7)},
    ),
    "a.cpp": (
        "namespace n {\ntemplate <class T>\nclass A {\n  int f() { return 1; }\n};\n}\n"
        "int A::g(int y) {\n  return y;\n}\n",
        {"n": (1, 6), "n.A": (2, 5), "n.A.f": (4, 4), "A::g": (7, 9)},
    ),
    "a.rb": (
        "module M\n  class C\n    def run(x)\n      x\n    end\n"
        "    def self.make\n    end\n  end\nend\n",
        {"M": (1, 9), "M.C": (2, 8), "M.C.run": (3, 5), "M.C.make": (6, 7)},
    ),
    "a.sh": ("#!/bin/sh\nset -e\nclean() {\n  rm -f x\n}\nclean\n", {"clean": (3, 5)}),
    "a.md": (
        "# Top\nintro here\n## Usage\nrun it\n```\n# no heading\n```\n## Other\nwords\n",
        {"Top": (1, 2), "Usage": (3, 7), "Other": (8, 9)},
    ),
    "a.toml": ('[tool.x]\na = "one"\nb = 2\nc = 3\n', {"tool.x": (1, 4)}),
    "a.yaml": ("jobs:\n  test:\n    runs-on: x\n    steps: []\non: push\n", {"jobs": (1, 4)}),
    "a.json": (
        '{\n  "name": "x",\n  "scripts": {\n    "build": "a",\n    "test": "b"\n  }\n}\n',
        {"scripts": (3, 6)},
    ),
}


def named(chunks: list[Chunk]) -> dict[str, tuple[int, int]]:
    return {chunk.name: (chunk.start, chunk.end) for chunk in chunks if chunk.name}


@pytest.mark.parametrize("name", EXAMPLES)
def test_definitions_of_every_language(name: str) -> None:
    source, expected = EXAMPLES[name]
    found = named(chunk_file(name, source.encode()))
    assert found == {**found, **expected}
    assert set(found) == set(expected)


def test_every_query_fits_its_grammar() -> None:
    assert len(LANGUAGES) == len({language.name for language in LANGUAGES}) >= 15
    for language in LANGUAGES:
        grammar(language)


def test_a_chunk_says_what_it_is() -> None:
    method, *_ = [c for c in chunk_file("a.py", EXAMPLES["a.py"][0].encode()) if c.name == "A.one"]
    assert method.kind == "function" and method.signature == "def one(self):"
    assert method.text.startswith("    # Says so.") and "inner" in method.text


def test_every_line_is_in_one_chunk_and_a_class_has_only_its_own() -> None:
    source = EXAMPLES["a.py"][0]
    chunks = chunk_file("a.py", source.encode())
    lines = [line for chunk in chunks for line in chunk.text.split("\n") if line.strip()]
    assert sorted(lines) == sorted(line for line in source.split("\n") if line.strip())
    (whole,) = [chunk for chunk in chunks if chunk.name == "A"]
    assert "return 1" not in whole.text and "x = 1" in whole.text


def test_files_without_a_grammar_are_cut_into_windows() -> None:
    chunks = chunk_file("notes.txt", b"some words here\n" * 120)
    assert [(c.start, c.end) for c in chunks] == [(1, 50), (51, 100), (101, 120)]
    assert {chunk.kind for chunk in chunks} == {"block"}


def test_long_functions_are_cut_and_keep_their_name() -> None:
    source = "def long():\n" + "    call()\n" * 400
    chunks = chunk_file("a.py", source.encode())
    assert len(chunks) == 3 and {chunk.name for chunk in chunks} == {"long"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n  \n",
        b"\x00\x01binary",
        b"\x89PNG\r\n\x1a\n" + b"words and words" * 50,
        b"def f(): pass\n" * (MAX_BYTES // 10),
        b"x=1;" * 5000,
        b"# Code generated by a tool. DO NOT EDIT.\ndef f():\n    pass\n",
        "def f(): pass".encode("utf-16"),
    ],
    ids=["empty", "blank", "nul", "png", "huge", "minified", "generated", "utf-16"],
)
def test_what_holds_nothing_worth_finding_is_left_out(data: bytes) -> None:
    assert chunk_file("a.py", data) == []


@pytest.mark.parametrize("name", ["a.py", "a.cpp", "a.yaml", "a.md", "a.json", "x", "a\nb.py"])
def test_hostile_bytes_only_ever_give_chunks(name: str) -> None:
    chance = random.Random(name)
    noise = bytes(
        chance.choice(b"(){}[]<>:;,=\"'`#@/*\\ \n\tabdefclassifn0\xc3\xff") for _ in range(20_000)
    )
    for data in (
        noise,
        b"(" * 100_000,
        b"class A:\n def f(self):\n  " * 500,
        b"".join(b" " * n + b"class A:\n" for n in range(300)),
        b"{\n" * 5000,
        b"\xff\xfe\xff" * 1000,
        b"namespace a {" * 5000,
    ):
        began = time.monotonic()
        lines = data.count(b"\n") + 1
        for chunk in chunk_file(name, data):
            assert 1 <= chunk.start <= chunk.end <= lines
            assert "\n" not in chunk.signature
        assert time.monotonic() - began < 30  # bounded, not quick
