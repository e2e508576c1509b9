"""Locations: as tasks name them, and as agents answer them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repodrome.errors import TaskFormatError
from repodrome.tasks.folder import load_task, solution_kind
from repodrome.tasks.locate import MAX_LOCATIONS, Location, by_file, read_answer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("src/a.py", Location("src/a.py")),
        ("src/a.py:7", Location("src/a.py", 7, 7)),
        ("src/a.py:7-12", Location("src/a.py", 7, 12)),
    ],
)
def test_round_trip(text: str, expected: Location) -> None:
    assert Location.parse(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize("text", ["", ":3", "a.py:", "a.py:0", "a.py:5-2", "/a.py:1", "a.py:x"])
def test_what_is_no_location(text: str) -> None:
    with pytest.raises(ValueError, match="path:first-last"):
        Location.parse(text)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("src/a.py:3-5", ["src/a.py:3-5"]),
        ("- `src/a.py:3-5`\n* src/b.py:9\n1. c.py:1", ["src/a.py:3-5", "src/b.py:9", "c.py:1"]),
        ("src/a.py:L3-L5, the parser", ["src/a.py:3-5"]),
        ("src/a.py:1-2,8-9", ["src/a.py:1-2", "src/a.py:8-9"]),
        ("src/a.py:9-3", ["src/a.py:3-9"]),
        ("/workspace/src/a.py:1\n./b.py:2", ["src/a.py:1", "b.py:2"]),
        ("`src/a.py`\nMakefile:3", ["src/a.py", "Makefile:3"]),
        ("I looked at a.py and found:\n\nNothing.\nNote: 3 files", []),
        ("**src/a.py:4-6** – here", ["src/a.py:4-6"]),
        ("a.py:1-2 b.py:3, c.py:4 and more.py:5", ["a.py:1-2", "b.py:3", "c.py:4"]),
        ("a.py:0-2", ["a.py:1-2"]),
        ("", []),
    ],
)
def test_answers(answer: str, expected: list[str]) -> None:
    assert [str(one) for one in read_answer(answer)] == expected


def test_answers_are_bounded() -> None:
    assert len(read_answer("a.py:1\n" * 1000)) == MAX_LOCATIONS
    (one,) = read_answer("a.py:1-99999999999999999999")
    assert one.last < 1 << 40


@given(st.text())
def test_no_answer_is_too_odd(text: str) -> None:
    by_file(read_answer(text))


def test_ranges_are_merged() -> None:
    places = [Location.parse(t) for t in ("a:5-9", "a:1-2", "a:3", "a:7-12", "b", "a:20", "a")]
    assert by_file(places) == {"a": [(1, 3), (5, 12), (20, 20)], "b": []}


def folder(tmp_path: Path, toml: str) -> Path:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "instruction.md").write_text("Where is it?\n")
    (tmp_path / "task.toml").write_text(toml)
    return tmp_path


def test_a_task_that_asks_for_places(tmp_path: Path) -> None:
    task = load_task(folder(tmp_path, '[locate]\ngold = ["a.py:1-3"]\n[limits]\nmax_turns = 6\n'))
    assert (task.limits.max_turns, task.limits.max_calls_per_turn) == (6, 8)
    assert task.tools.read_only and task.verifier.kind == "none"
    assert [reward.name for reward in task.rewards] == ["retrieval"]
    assert solution_kind(task) == "answer" and task.ignored_keys == ()


@pytest.mark.parametrize("gold", ['["/etc/passwd"]', '["a.py:3-1"]', '"a.py"'])
def test_gold_that_makes_no_sense(tmp_path: Path, gold: str) -> None:
    with pytest.raises(TaskFormatError, match=r"locate\.gold"):
        load_task(folder(tmp_path, f"[locate]\ngold = {gold}\n"))
