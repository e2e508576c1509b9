"""What a query is made of. Everything is frozen and compares by structure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Expr:
    """Base of all expressions."""

    def children(self) -> Iterator[Expr]:
        """Direct subexpressions, in order."""
        for field in fields(self):
            yield from _expressions(getattr(self, field.name))

    def walk(self) -> Iterator[Expr]:
        """This expression and everything in it."""
        yield self
        for child in self.children():
            yield from child.walk()


def _expressions(value: Any) -> Iterator[Expr]:
    if isinstance(value, Expr):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _expressions(item)


@dataclass(frozen=True, eq=False)
class Literal(Expr):
    """A constant. Unlike in Python, 1 and TRUE are different ones."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[type, Any]:
        return type(self.value), self.value


@dataclass(frozen=True)
class Column(Expr):
    """``name`` or ``table.name``."""

    name: str
    table: str | None = None


@dataclass(frozen=True)
class Unary(Expr):
    """``-x`` or ``NOT x``."""

    op: str
    operand: Expr


@dataclass(frozen=True)
class Binary(Expr):
    """``a op b``; ``op`` is lower case."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True)
class InList(Expr):
    """``x IN (…)``."""

    operand: Expr
    items: tuple[Expr, ...]


@dataclass(frozen=True)
class Between(Expr):
    """``x BETWEEN low AND high``."""

    operand: Expr
    low: Expr
    high: Expr


@dataclass(frozen=True)
class IsNull(Expr):
    """``x IS NULL``."""

    operand: Expr


@dataclass(frozen=True)
class Case(Expr):
    """``CASE WHEN … THEN … ELSE … END``."""

    branches: tuple[tuple[Expr, Expr], ...]
    otherwise: Expr


@dataclass(frozen=True)
class Call(Expr):
    """A function call."""

    name: str
    args: tuple[Expr, ...]


@dataclass(frozen=True)
class Aggregate(Expr):
    """An aggregate; no argument means ``count(*)``."""

    name: str
    args: tuple[Expr, ...]
    distinct: bool = False


@dataclass(frozen=True)
class SelectItem:
    """One result column."""

    expr: Expr
    name: str
    has_alias: bool = False


@dataclass(frozen=True)
class TableRef:
    """A table and the name by which the query knows it."""

    table: str
    alias: str


@dataclass(frozen=True)
class Join:
    """A joined table."""

    ref: TableRef
    on: Expr
    left: bool = False


@dataclass(frozen=True)
class OrderItem:
    """One sort key."""

    expr: Expr
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True)
class Query:
    """A whole query; ``items`` is None for ``SELECT *``."""

    items: tuple[SelectItem, ...] | None
    table: TableRef
    joins: tuple[Join, ...] = ()
    where: Expr | None = None
    group_by: tuple[Expr, ...] = ()
    having: Expr | None = None
    order_by: tuple[OrderItem, ...] = ()
    limit: int | None = None
    offset: int = 0
    distinct: bool = False
