"""Faults put into source: each is one, where it is asked for, and only there."""

from __future__ import annotations

import ast

import pytest

from repodrome.harness.authoring.mutation import mutants

SOURCE = b'''\
"""Doc."""


def clamp(x: int, low: int = 0) -> int:
    """Inner doc."""
    if x < low and not x == 3:
        raise ValueError(f"{x + 1} is low")
    while True:
        x += 1
        break
    return x * 2
'''


def test_every_mutant_differs_by_one_line_that_was_asked_for() -> None:
    lines = range(1, 12)
    found = mutants(SOURCE, lines, most=1000)
    assert len(found) > 8
    for mutant in found:
        differing = [
            number
            for number, (old, new) in enumerate(
                zip(SOURCE.split(b"\n"), mutant.source.split(b"\n"), strict=True), 1
            )
            if old != new
        ]
        assert differing == [mutant.line]
        ast.parse(mutant.source)


@pytest.mark.parametrize(
    "text",
    ["(x <= low)", "(x * 2", "return None", "pass", "continue", "(x != 3)", "or not", "False"],
)
def test_operators(text: str) -> None:
    if text == "(x * 2":
        text = "(x + 2)"
    assert any(text in mutant.source.decode() for mutant in mutants(SOURCE, range(20), most=1000))


def test_docstrings_types_and_f_strings_stay() -> None:
    for mutant in mutants(SOURCE, range(20), most=1000):
        assert b'"""Inner doc."""' in mutant.source
        assert b"x: int" in mutant.source
        assert b'{x + 1} is low"' in mutant.source or b"pass" in mutant.source


def test_lines_most_and_seed() -> None:
    assert mutants(SOURCE, [2], most=10) == []
    few = mutants(SOURCE, range(20), most=3, seed=1)
    assert len(few) == 3
    assert few == mutants(SOURCE, range(20), most=3, seed=1)
    assert few != mutants(SOURCE, range(20), most=3, seed=2)
    assert mutants(b"def (", [1], most=3) == ()
