"""Comparisons in the source of tests, found and made certain to fail; text put into source."""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from repodrome.tasks import python_source

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
        return python_source.parse(source)
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


@dataclass(frozen=True, slots=True)
class Template:
    """The text of a comparison with a gap for its expected side.

    Attributes:
        before, after: the gap.
        old: the expected value where it is a plain one, else None.
    """

    before: str
    after: str
    old: object

    def filled(self, draw: random.Random) -> str:
        """The comparison with something far from what was expected."""
        return f"{self.before}{far_from(self.old, draw)!r}{self.after}"


def template(statement: ast.stmt) -> Template:
    """The text of a statement that :func:`can_be_perturbed`, made once and filled often."""
    gap = "_gap_to_be_filled_"
    copied = copy.deepcopy(statement)
    old = _replace_expected(copied, ast.Name(gap))
    before, _, after = ast.unparse(copied).partition(gap)
    return Template(before, after, old)


def perturb(statement: ast.stmt, draw: random.Random) -> None:
    """Compare with something far from what was expected, so that no honest mistake gives it."""
    new = ast.Constant(None)
    new.value = far_from(_replace_expected(statement, new), draw)


def far_from(old: object, draw: random.Random) -> int | str:
    """Another value, of the same kind where that is a number or text."""
    if type(old) is int:
        return old + draw.randrange(10_007, 999_983)
    return f"{old if isinstance(old, str) else ''}{draw.getrandbits(40):010x}"


def _replace_expected(statement: ast.stmt, new: ast.expr) -> object:
    """Put something in the place of the expected side.

    Returns:
        The old value where it was a constant, else None.
    """
    sides = sides_of(statement)
    assert sides is not None
    which = 0 if is_fixed(sides[0]) else 1
    old = sides[which]
    if isinstance(statement, ast.Assert) and isinstance(statement.test, ast.Compare):
        if which:
            statement.test.comparators[0] = new
        else:
            statement.test.left = new
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        statement.value.args[which] = new
    return old.value if isinstance(old, ast.Constant) else None
