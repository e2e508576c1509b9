"""Text that misleads code which reads its answers out of the tests' files while they run.

Before a test that is asked for stand one to three functions of the same name, with comparisons of
the same calls to other values. They never run: the last definition of a name is the one that
pytest finds. But what looks a call up among the comparisons of the file finds a wrong answer first
(and, where a canary was cloned from that test, last). Which of them is right can be told only by
reading the file as Python does; that is what :mod:`repodrome.envs.grading.canaries` can't rule out
either.
"""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from repodrome.envs.grading.comparisons import can_be_perturbed, insert, parse, perturb, tree_of

_MAX_TESTS = 40  # of one file


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where decoys of one test go.

    Attributes:
        qualified: ``test_a`` or ``TestA::test_a``.
        after: the line behind which they are put.
        indent: of the test.
        name: of the function.
        statements: its comparisons.
    """

    qualified: str
    after: int
    indent: str
    name: str
    statements: tuple[ast.stmt, ...]


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
            spots = [spot for spot in _spots(files[path]) if spot.qualified in names]
            spots = draw.sample(spots, _MAX_TESTS) if len(spots) > _MAX_TESTS else spots
            texts[path] = [(spot.after, _text(spot, draw)) for spot in spots]
    return {path: found for path, found in texts.items() if found}


@lru_cache(maxsize=32)
def _spots(source: bytes) -> Sequence[_Spot]:
    """Every place for decoys; none where the file would read differently with them."""
    tree = tree_of(source)
    if tree is None:
        return ()
    lines = source.split(b"\n")
    found = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found.append(_spot(node, "", lines))
        elif isinstance(node, ast.ClassDef):
            methods = [n for n in node.body if isinstance(n, ast.FunctionDef)]
            found += [_spot(method, f"{node.name}::", lines) for method in methods]
    spots = tuple(spot for spot in found if spot is not None)
    draw = random.Random(0)
    again = parse(insert(source, [(spot.after, _text(spot, draw)) for spot in spots]))
    return spots if again is not None and _last_ones(again) == _last_ones(tree) else ()


def _spot(node: ast.FunctionDef, prefix: str, lines: Sequence[bytes]) -> _Spot | None:
    statements = tuple(s for s in node.body if can_be_perturbed(s))
    if not node.name.startswith("test") or not statements:
        return None
    first = min(node.lineno, *(d.lineno for d in node.decorator_list), node.lineno)
    line = lines[first - 1].decode("utf-8", "replace")
    indent = line[: len(line) - len(line.lstrip())]
    return _Spot(prefix + node.name, first - 1, indent, node.name, statements)


def _text(spot: _Spot, draw: random.Random) -> str:
    decoys = []
    for _ in range(draw.randint(1, 3)):
        body = [copy.deepcopy(statement) for statement in spot.statements]
        for statement in body:
            perturb(statement, draw)
        lines = "\n".join(ast.unparse(statement) for statement in body).split("\n")
        decoys += [f"def {spot.name}():", *(f"    {line}" for line in lines), ""]
    return "\n".join(f"{spot.indent}{line}" if line else "" for line in decoys)


def _last_ones(tree: ast.Module) -> list[str]:
    """What the module and its classes define in the end, as text."""
    defined: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                name = getattr(inner, "name", "")
                defined[f"{node.name}::{name or ast.dump(inner)}"] = ast.dump(inner)
        else:
            defined[getattr(node, "name", "") or ast.dump(node)] = ast.dump(node)
    return sorted(defined.values())
