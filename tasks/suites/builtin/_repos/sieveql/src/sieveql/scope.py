"""Which column a name means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sieveql import ast
from sieveql.errors import QueryError

Row = Mapping[str, Any]
Env = dict[str, Row]  # alias -> the current row of that table


@dataclass(frozen=True)
class Scope:
    """The tables of a query: alias → column names, in order."""

    tables: Mapping[str, Sequence[str]]

    def resolve(self, column: ast.Column) -> tuple[str, str]:
        """The alias and name that a column means.

        Raises:
            QueryError: unknown or ambiguous.
        """
        if column.table is not None:
            if column.table not in self.tables:
                raise QueryError(f"unknown table {column.table!r}")
            if column.name not in self.tables[column.table]:
                raise QueryError(f"unknown column {column.table}.{column.name}")
            return column.table, column.name
        homes = [alias for alias, names in self.tables.items() if column.name in names]
        if not homes:
            raise QueryError(f"unknown column {column.name!r}")
        if len(homes) > 1:
            raise QueryError(f"ambiguous column {column.name!r}: in {', '.join(homes)}")
        return homes[0], column.name

    def has(self, name: str) -> bool:
        """Does any table have a column of that name?"""
        return any(name in names for names in self.tables.values())

    def aliases_in(self, expr: ast.Expr) -> set[str]:
        """The tables that an expression uses."""
        return {self.resolve(e)[0] for e in expr.walk() if isinstance(e, ast.Column)}

    def star(self) -> list[ast.SelectItem]:
        """What ``SELECT *`` stands for."""
        items: dict[str, ast.SelectItem] = {}
        for alias, names in self.tables.items():
            for name in names:
                items.setdefault(name, ast.SelectItem(ast.Column(name, alias), name))
        return list(items.values())


def columns_of(rows: Iterable[Row]) -> list[str]:
    """All keys, in order of first occurrence."""
    return list(dict.fromkeys(key for row in rows for key in row))
