"""The process that parses: crashes and forks don't reach the one that asks."""

from __future__ import annotations

import os
import signal

from repodrome.tools.index import parsing
from repodrome.tools.index.parsing import MAX_PARSED, PATIENCE, definitions
from repodrome.tools.index.process import Worker

CODE = b"def f():\n    return 1\n"
CRASHER = b"".join(b" " * depth + b"class A:\n" for depth in range(300))
"""Ends tree-sitter-yaml 0.7 with a segmentation fault."""


def new_parser() -> Worker:
    return Worker("definitions", patience=PATIENCE)


def names(parser: Worker, path: str = "a.py", data: bytes = CODE) -> list[str]:
    return [one.name for one in definitions(path, data, parser)]


def test_answers_and_is_started_again_when_it_is_gone() -> None:
    parser = new_parser()
    try:
        assert names(parser) == ["f"]
        assert parser._process is not None
        os.kill(parser._process.pid, signal.SIGKILL)
        parser._process.wait()
        assert names(parser) == ["f"]
        parser.close()
        assert names(parser) == ["f"]
    finally:
        parser.close()


def test_a_file_that_crashes_the_grammar_has_no_definitions() -> None:
    parser = new_parser()
    try:
        names(parser, "a.yaml", CRASHER)
        assert names(parser) == ["f"]
    finally:
        parser.close()


def test_what_is_not_parsed_starts_nothing() -> None:
    parser = new_parser()
    assert names(parser, "a.txt") == []
    assert names(parser, "a.py", CODE * (MAX_PARSED // len(CODE) + 1)) == []
    assert parser._process is None


def test_a_forked_child_asks_a_process_of_its_own() -> None:
    shared = parsing.parser
    assert names(shared) == ["f"]
    assert shared._process is not None
    mine = shared._process.pid
    child = os.fork()
    if child == 0:
        status = 1
        try:
            found = names(shared)
            assert shared._process is not None
            status = 0 if found == ["f"] and shared._process.pid != mine else 2
            shared.close()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert names(shared) == ["f"]
    assert shared._process is not None and shared._process.pid == mine
