"""Joining tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sieveql import ast
from sieveql.evaluator import Evaluator
from sieveql.scope import Env, Row, Scope
from sieveql.values import identity


def join(
    left: Iterable[Env], rows: Sequence[Row], step: ast.Join, before: Scope, after: Scope
) -> Iterator[Env]:
    """Join one more table.

    Args:
        left: the rows so far.
        rows: the rows of the new table.
        step: how to join.
        before: scope of the rows so far.
        after: scope with the new table.
    """
    alias = step.ref.alias
    keys, rest = _split(step.on, alias, before, after)
    index: dict[Any, list[Row]] | None = None
    if keys is not None:
        index = defaultdict(list)
        for row in rows:
            value = Evaluator(after, {alias: row}).value(keys[1])
            if value is not None:
                index[identity(value)].append(row)
    for env in left:
        candidates: Sequence[Row] = rows
        if keys is not None and index is not None:
            candidates = index.get(identity(Evaluator(before, env).value(keys[0])), ())
        matched = False
        for row in candidates:
            joined = {**env, alias: row}
            if all(Evaluator(after, joined).condition(part) for part in rest):
                matched = True
                yield joined
        if step.left and not matched:
            yield {**env, alias: {}}


def _split(
    on: ast.Expr, alias: str, before: Scope, after: Scope
) -> tuple[tuple[ast.Expr, ast.Expr] | None, list[ast.Expr]]:
    """The first usable equality as (left column, right column), and the other conditions."""
    parts = list(_conjuncts(on))
    for at, part in enumerate(parts):
        if not (isinstance(part, ast.Binary) and part.op == "="):
            continue
        for mine, theirs in ((part.left, part.right), (part.right, part.left)):
            if not (isinstance(mine, ast.Column) and isinstance(theirs, ast.Column)):
                continue
            if after.resolve(theirs)[0] == alias and after.resolve(mine)[0] != alias:
                return (mine, theirs), parts[:at] + parts[at + 1 :]
    return None, parts


def _conjuncts(expr: ast.Expr) -> Iterator[ast.Expr]:
    if isinstance(expr, ast.Binary) and expr.op == "and":
        yield from _conjuncts(expr.left)
        yield from _conjuncts(expr.right)
    else:
        yield expr
