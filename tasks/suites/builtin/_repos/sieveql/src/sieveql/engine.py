"""Running queries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cmp_to_key
from typing import Any

from sieveql import ast
from sieveql.errors import QueryError
from sieveql.evaluator import Evaluator
from sieveql.grouping import Groups, check_placement, is_grouped
from sieveql.joins import join
from sieveql.parser import parse
from sieveql.scope import Env, Row, Scope, columns_of
from sieveql.values import compare, identity

Entry = tuple[dict[str, Any], list[Any]]  # a result row and its sort keys


class Database:
    """Named tables and the queries over them."""

    def __init__(self) -> None:
        self._tables: dict[str, list[Row]] = {}
        self._columns: dict[str, list[str]] = {}

    def add(
        self, name: str, rows: Iterable[Row], columns: Sequence[str] | None = None
    ) -> None:
        """Add or replace a table; give ``columns`` for one that may be empty."""
        self._tables[name] = list(rows)
        self._columns[name] = list(columns or columns_of(self._tables[name]))

    def tables(self) -> list[str]:
        """The names of all tables."""
        return sorted(self._tables)

    def query(self, text: str) -> list[dict[str, Any]]:
        """Run a query.

        Raises:
            QueryError: it can't be read or run.
        """
        return self.run(parse(text))

    def run(self, query: ast.Query) -> list[dict[str, Any]]:
        """Run a query that was parsed before."""
        check_placement(query)
        rows, scope = self._rows(query)
        items = list(query.items) if query.items is not None else scope.star()
        aliases = {item.name: item.expr for item in items if item.has_alias}
        sort_exprs = [_without_alias(item.expr, aliases) for item in query.order_by]
        if is_grouped(query):
            entries = _grouped(query, items, sort_exprs, rows, scope)
        else:
            entries = [
                _entry(Evaluator(scope, env), items, sort_exprs) for env in rows
            ]
        results = [row for row, _ in _sorted(entries, query.order_by)]
        if query.distinct:
            seen: dict[Any, dict[str, Any]] = {}
            for row in results:
                seen.setdefault(tuple(map(identity, row.values())), row)
            results = list(seen.values())
        end = None if query.limit is None else query.offset + query.limit
        return results[query.offset : end]

    def _rows(self, query: ast.Query) -> tuple[list[Env], Scope]:
        """The rows after FROM, JOIN and WHERE."""
        alias = query.table.alias
        scope = Scope({alias: self._columns_of(query.table)})
        rows: Iterable[Env] = ({alias: row} for row in self._tables[query.table.table])
        for step in query.joins:
            if step.ref.alias in scope.tables:
                raise QueryError(f"two tables are called {step.ref.alias!r}")
            wider = Scope({**scope.tables, step.ref.alias: self._columns_of(step.ref)})
            rows = join(rows, self._tables[step.ref.table], step, scope, wider)
            scope = wider
        if query.where is not None:
            where = query.where
            rows = (env for env in rows if Evaluator(scope, env).condition(where))
        return list(rows), scope

    def _columns_of(self, ref: ast.TableRef) -> list[str]:
        if ref.table not in self._tables:
            raise QueryError(f"unknown table {ref.table!r}")
        return self._columns[ref.table]


def _without_alias(expr: ast.Expr, aliases: dict[str, ast.Expr]) -> ast.Expr:
    if isinstance(expr, ast.Column) and expr.table is None:
        return aliases.get(expr.name, expr)
    return expr


def _entry(evaluator: Evaluator, items: list[ast.SelectItem], keys: list[ast.Expr]) -> Entry:
    row = {item.name: evaluator.value(item.expr) for item in items}
    return row, [evaluator.value(key) for key in keys]


def _grouped(
    query: ast.Query,
    items: list[ast.SelectItem],
    sort_exprs: list[ast.Expr],
    rows: list[Env],
    scope: Scope,
) -> list[Entry]:
    """The entries of a grouped query, after HAVING."""
    groups = Groups.of(query, scope)
    items = [ast.SelectItem(groups.prepare(item.expr), item.name) for item in items]
    keys = [groups.prepare(expr) for expr in sort_exprs]
    having = None if query.having is None else groups.prepare(query.having)
    outputs = [*(item.expr for item in items), *keys, *([] if having is None else [having])]
    return [
        _entry(evaluator, items, keys)
        for evaluator in groups.evaluators(rows, outputs)
        if having is None or evaluator.condition(having)
    ]


def _sorted(entries: list[Entry], order: Sequence[ast.OrderItem]) -> list[Entry]:
    def by(left: Entry, right: Entry) -> int:
        for item, a, b in zip(order, left[1], right[1], strict=True):
            if a is None or b is None:
                if (a is None) == (b is None):
                    continue
                return -1 if (a is None) == item.nulls_first else 1
            if compare("=", a, b):
                continue
            return -1 if bool(compare("<", a, b)) != item.descending else 1
        return 0

    return sorted(entries, key=cmp_to_key(by)) if order else entries
