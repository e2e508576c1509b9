"""Small faults put into Python source, one at a time: what a task's tests ought to notice.

The operators are the usual ones of mutation testing (relational, logical, arithmetic and constant
replacement, negated conditions, dropped statements and values); see DeMillo, Lipton and Sayward,
"Hints on Test Data Selection", Computer 11(4), 1978. Only the mutated expression's text changes.
Some mutants do the same as the original, so no score need be 1.
"""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from repodrome.tasks.python_source import parse

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault.

    Attributes:
        line: where it is, from 1.
        what: original and replacement, for people.
        source: the whole module with it.
    """

    line: int
    what: str
    source: bytes


def mutants(source: bytes, lines: Collection[int], *, most: int, seed: int = 0) -> Sequence[Mutant]:
    """At most ``most`` mutants of the given lines, chosen by the seed, in the order of the file.

    Args:
        source: a module; what can't be read has none.
        lines: numbers, from 1.
    """
    try:
        tree = parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return ()
    skipped = _skipped(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.expr | ast.stmt) and node.lineno in lines and node not in skipped:
            found += [_made(source, node, text) for text in _replacements(node)]
    possible = [mutant for mutant in found if _compiles(mutant.source)]
    if len(possible) > most:
        possible = random.Random(seed).sample(possible, most)
    return sorted(possible, key=lambda mutant: (mutant.line, mutant.what))


def _skipped(tree: ast.Module) -> set[ast.AST]:
    """What is no code, or whose place in the text isn't known: docstrings, types, f-strings."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        inner: list[ast.AST | None] = []
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text or isinstance(node, ast.JoinedStr):
            inner = [node]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = [node.returns]
        elif isinstance(node, ast.arg | ast.AnnAssign):
            inner = [node.annotation]
        for each in inner:
            if each is not None:
                skipped.update(ast.walk(each))
    return skipped


def _replacements(node: ast.expr | ast.stmt) -> Iterator[str]:
    """Other texts for a node."""
    other = copy.deepcopy(node)
    if isinstance(other, ast.Compare) and len(other.ops) == 1:
        other.ops = [_COMPARED[type(other.ops[0])]()]
        yield f"({ast.unparse(other)})"
    elif isinstance(other, ast.BoolOp):
        other.op = ast.Or() if isinstance(other.op, ast.And) else ast.And()
        yield f"({ast.unparse(other)})"
    elif isinstance(other, ast.BinOp) and type(other.op) in _COMPUTED:
        other.op = _COMPUTED[type(other.op)]()
        yield f"({ast.unparse(other)})"
    elif isinstance(other, ast.UnaryOp) and isinstance(other.op, ast.Not):
        yield f"({ast.unparse(other.operand)})"
    elif isinstance(other, ast.Constant):
        yield from _constants(other.value)
    elif isinstance(other, ast.IfExp):
        yield f"({ast.unparse(other.orelse)})"
    elif isinstance(other, ast.Return) and other.value is not None:
        yield "return None"
    elif _is_droppable(other):
        yield "pass"
    elif isinstance(other, ast.Break):
        yield "continue"
    elif isinstance(other, ast.Continue):
        yield "break"


def _is_droppable(node: ast.expr | ast.stmt) -> bool:
    """A statement that Python can do without; whether the program can is the question."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    return isinstance(node, ast.Assign | ast.AugAssign | ast.Raise | ast.Delete)


def _constants(value: object) -> Iterator[str]:
    if isinstance(value, bool):
        yield repr(not value)
    elif isinstance(value, int | float):
        yield f"({value + 1!r})"
    elif isinstance(value, str) and value:
        yield repr(value + "x")


def _made(source: bytes, node: ast.expr | ast.stmt, text: str) -> Mutant:
    """The source with a node's text replaced; columns are bytes, as :mod:`ast` counts them."""
    lines = source.splitlines(keepends=True)
    assert node.end_lineno is not None and node.end_col_offset is not None
    start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset
    old = " ".join(source[start:end].decode("utf-8", "replace").split())
    made = source[:start] + text.encode() + source[end:]
    return Mutant(node.lineno, f"{_short(old)} → {_short(text)}", made)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"


def _compiles(source: bytes) -> bool:
    try:
        compile(source, "mutant", "exec")
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True
