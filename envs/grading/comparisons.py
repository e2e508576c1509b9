"""Comparisons in the source of tests, found and made certain to fail; text put into source."""

from __future__ import annotations

import ast
import random
from collections.abc import Sequence
from functools import lru_cache

_LENIENT = ("approx", "any", "mock", "match")


@lru_cache(maxsize=32)
def tree_of(source: bytes) -> ast.Module | None:
    """A module as parsed; to be read, never changed."""
    return parse(source)


def insert(source: bytes, texts: Sequence[tuple[int, str]]) -> bytes:
    """Source with each text put behind its line; of texts at one place the indented ones first."""
    lines = source.split(b"\n")
    for after, text in sorted(texts, reverse=True):
        lines[after:after] = [b"", *text.encode("utf-8", "surrogatepass").split(b"\n"), b""]
    return b"\n".join(lines)


def parse(source: bytes) -> ast.Module | None:
    """A module, None where the source can't be read."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None


def sides_of(statement: ast.stmt) -> list[ast.expr] | None:
    """Both sides of ``assert x == y`` or ``self.assertEqual(x, y)``, if the statement is that."""
    if isinstance(statement, ast.Assert) and isinstance(statement.test, ast.Compare):
        test = statement.test
        if len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
            return [test.left, test.comparators[0]]
    elif (
        isinstance(statement, ast.Expr)
        and isinstance(call := statement.value, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "assertEqual"
        and len(call.args) >= 2
    ):
        return call.args[:2]
    return None


def is_fixed(side: ast.expr) -> bool:
    """Made of literals only, so that it is the expected side."""
    allowed = (ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.UnaryOp)
    return all(isinstance(n, allowed) for n in ast.walk(side) if isinstance(n, ast.expr))


def can_be_perturbed(statement: ast.stmt) -> bool:
    """A comparison that is certain to fail once its expected side is a random value."""
    sides = sides_of(statement)
    if sides is None or all(map(is_fixed, sides)):
        return False
    return not any(word in ast.unparse(statement).lower() for word in _LENIENT)


def perturb(statement: ast.stmt, draw: random.Random) -> None:
    """Compare with something far from what was expected, so that no honest mistake gives it."""
    sides = sides_of(statement)
    assert sides is not None
    which = 0 if is_fixed(sides[0]) else 1
    old = sides[which]
    value = old.value if isinstance(old, ast.Constant) else None
    new = ast.Constant(
        value + draw.randrange(10_007, 999_983)
        if type(value) is int
        else f"{value if isinstance(value, str) else ''}{draw.getrandbits(40):010x}"
    )
    if isinstance(statement, ast.Assert) and isinstance(statement.test, ast.Compare):
        if which:
            statement.test.comparators[0] = new
        else:
            statement.test.left = new
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        statement.value.args[which] = new
