"""GROUP BY, HAVING and aggregates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from sieveql import ast
from sieveql.aggregates import AGGREGATES
from sieveql.errors import QueryError
from sieveql.evaluator import Evaluator
from sieveql.scope import Env, Scope
from sieveql.values import identity


def uses_aggregates(expr: ast.Expr | None) -> bool:
    """Is there an aggregate in it?"""
    return expr is not None and any(isinstance(e, ast.Aggregate) for e in expr.walk())


def is_grouped(query: ast.Query) -> bool:
    """Does the query give groups instead of rows?"""
    outputs = [item.expr for item in query.items or ()]
    outputs += [item.expr for item in query.order_by]
    return bool(query.group_by) or any(map(uses_aggregates, [*outputs, query.having]))


def check_placement(query: ast.Query) -> None:
    """Refuse aggregates, stars and HAVING where they can't stand."""
    for where, exprs in (
        ("WHERE", [query.where]),
        ("ON", [step.on for step in query.joins]),
        ("GROUP BY", query.group_by),
    ):
        if any(map(uses_aggregates, exprs)):
            raise QueryError(f"aggregates can't stand in {where}")
    outputs = [item.expr for item in query.items or ()]
    outputs += [item.expr for item in query.order_by]
    if query.having is not None:
        outputs.append(query.having)
    for output in outputs:
        for found in output.walk():
            if isinstance(found, ast.Aggregate) and any(map(uses_aggregates, found.args)):
                raise QueryError("aggregates can't be nested")
    if query.items is None and is_grouped(query):
        raise QueryError("SELECT * can't be grouped")
    if query.having is not None and not is_grouped(query):
        raise QueryError("HAVING needs GROUP BY or an aggregate")


def qualify(expr: ast.Expr, scope: Scope) -> ast.Expr:
    """The same expression with every column naming its table, so that equal ones look equal."""
    if isinstance(expr, ast.Column):
        table, name = scope.resolve(expr)
        return ast.Column(name, table)
    changed = {
        field.name: _qualify_value(getattr(expr, field.name), scope) for field in fields(expr)
    }
    return replace(expr, **changed)


def _qualify_value(value: Any, scope: Scope) -> Any:
    if isinstance(value, ast.Expr):
        return qualify(value, scope)
    if isinstance(value, tuple):
        return tuple(_qualify_value(item, scope) for item in value)
    return value


@dataclass(frozen=True)
class Groups:
    """A grouped query, ready to run.

    Attributes:
        keys: the grouping expressions, qualified.
        scope: of the rows that are grouped.
    """

    keys: tuple[ast.Expr, ...]
    scope: Scope

    @classmethod
    def of(cls, query: ast.Query, scope: Scope) -> Groups:
        """Read the grouping expressions, aliases included."""
        aliases = {item.name: item.expr for item in query.items or () if item.has_alias}
        keys = []
        for expr in query.group_by:
            if isinstance(expr, ast.Column) and expr.table is None and not scope.has(expr.name):
                expr = aliases.get(expr.name, expr)
            if uses_aggregates(expr):
                raise QueryError("aggregates can't stand in GROUP BY")
            keys.append(qualify(expr, scope))
        return cls(tuple(keys), scope)

    def prepare(self, expr: ast.Expr) -> ast.Expr:
        """Qualify an output expression and check that it has one value for a whole group."""
        qualified = qualify(expr, self.scope)
        self._check(qualified)
        return qualified

    def _check(self, expr: ast.Expr) -> None:
        if expr in self.keys or isinstance(expr, ast.Aggregate):
            return
        if isinstance(expr, ast.Column):
            raise QueryError(f"{expr.table}.{expr.name} must be grouped by or aggregated")
        for child in expr.children():
            self._check(child)

    def evaluators(self, rows: Iterable[Env], outputs: Sequence[ast.Expr]) -> Iterator[Evaluator]:
        """One evaluator a group, which knows the group's keys and aggregates."""
        wanted = {e for output in outputs for e in output.walk() if isinstance(e, ast.Aggregate)}
        groups: dict[tuple[Any, ...], tuple[list[Any], list[Env]]] = {}
        if not self.keys:
            groups[()] = ([], [])
        for env in rows:
            found = [Evaluator(self.scope, env).value(key) for key in self.keys]
            _, members = groups.setdefault(tuple(map(identity, found)), (found, []))
            members.append(env)
        for found, members in groups.values():
            known: dict[ast.Expr, Any] = dict(zip(self.keys, found, strict=True))
            for aggregate in wanted:
                known[aggregate] = self._aggregate(aggregate, members)
            yield Evaluator(self.scope, {}, known)

    def _aggregate(self, call: ast.Aggregate, members: Sequence[Env]) -> Any:
        if not call.args:
            return len(members)
        evaluators = [Evaluator(self.scope, env) for env in members]
        first, *others = call.args
        collected = [evaluator.value(first) for evaluator in evaluators]
        extra = [evaluators[0].value(other) if evaluators else None for other in others]
        return AGGREGATES[call.name](collected, *extra, distinct=call.distinct)
