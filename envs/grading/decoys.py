"""Text that misleads code which reads its answers out of the tests' files while they run.

Before and behind a test that is asked for stand functions of the same name, with comparisons of the
same calls to other values. They never run: of those before, the name is taken by the test itself,
and those behind stand under a condition that is never true. But what looks a call up among the
comparisons of the file finds a wrong answer first, and last. Which of them is right can be told
only by reading the file as Python does; that is what :mod:`repodrome.envs.grading.canaries` can't
rule out either.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from repodrome.envs.grading.comparisons import (
    Template,
    can_be_perturbed,
    insert,
    parse,
    template,
    tree_of,
)

_MAX_TESTS = 40  # of one file
_MAX_STATEMENTS = 8  # of one decoy
_MAX_TEXT = 400  # characters of one comparison


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where decoys of one test go.

    Attributes:
        before, behind: the lines behind which they are put.
        indent: of the test.
        name: of the function.
        templates: its comparisons.
    """

    before: int
    behind: int
    indent: str
    name: str
    templates: tuple[Template, ...]


def decoys(files: Mapping[str, bytes], asked: Iterable[str]) -> dict[str, list[tuple[int, str]]]:
    """Path → the texts to put in, each with the line that it goes behind.

    Args:
        files: path → content of the test files that will run.
        asked: test ids that the agent is to make pass.
    """
    draw = random.SystemRandom()
    wanted: dict[str, set[str]] = {}
    for test in asked:
        path, _, qualified = test.partition("::")
        wanted.setdefault(path, set()).add(qualified.partition("[")[0])
    texts = {}
    for path, names in wanted.items():
        if path in files and path.endswith(".py"):
            spots = _spots(files[path], frozenset(names))
            if len(spots) > _MAX_TESTS:
                spots = draw.sample(spots, _MAX_TESTS)
            texts[path] = [text for spot in spots for text in _texts(spot, draw)]
    return {path: found for path, found in texts.items() if found}


@lru_cache(maxsize=64)
def _spots(source: bytes, names: frozenset[str]) -> Sequence[_Spot]:
    """Where decoys of these tests go; nowhere if the file would read differently with them."""
    tree = tree_of(source)
    if tree is None:
        return ()
    lines = source.split(b"\n")
    found = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in names:
            found.append(_spot(node, lines))
        elif isinstance(node, ast.ClassDef):
            methods = [n for n in node.body if isinstance(n, ast.FunctionDef)]
            found += [_spot(m, lines) for m in methods if f"{node.name}::{m.name}" in names]
    spots = tuple(spot for spot in found if spot is not None)
    draw = random.Random(0)
    again = parse(insert(source, [text for spot in spots for text in _texts(spot, draw)]))
    return spots if again is not None and _last_ones(again) == _last_ones(tree) else ()


def _spot(node: ast.FunctionDef, lines: Sequence[bytes]) -> _Spot | None:
    found = [template(s) for s in node.body if can_be_perturbed(s)]
    short = [t for t in found if len(t.before) + len(t.after) <= _MAX_TEXT]
    if not short:
        return None
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    line = lines[first - 1].decode("utf-8", "replace")
    indent = line[: len(line) - len(line.lstrip())]
    return _Spot(
        first - 1, node.end_lineno or first, indent, node.name, tuple(short[:_MAX_STATEMENTS])
    )


def _texts(spot: _Spot, draw: random.Random) -> list[tuple[int, str]]:
    before = [_decoy(spot, spot.indent, draw) for _ in range(draw.randint(1, 3))]
    behind = _decoy(spot, f"{spot.indent}    ", draw)
    return [
        (spot.before, "\n\n".join(before)),
        (spot.behind, f"{spot.indent}if not __name__:\n{behind}"),
    ]


def _decoy(spot: _Spot, indent: str, draw: random.Random) -> str:
    lines = [f"    {each.filled(draw)}" for each in spot.templates]
    return "\n".join(indent + line for line in (f"def {spot.name}():", *lines))


def _last_ones(tree: ast.Module) -> list[tuple[str, ...]]:
    """What each name of the module and of its classes stands for in the end: its kind and size."""
    defined: dict[tuple[str, str], str] = {}
    for node in tree.body:
        owner = node.name if isinstance(node, ast.ClassDef) else ""
        for inner in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                lines = (inner.end_lineno or 0) - inner.lineno
                defined[owner, inner.name] = f"{type(inner).__name__} {lines} {len(inner.body)}"
    return sorted((*names, what) for names, what in defined.items())
