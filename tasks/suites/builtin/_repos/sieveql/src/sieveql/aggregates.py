"""Aggregate functions: many values to one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sieveql.errors import QueryError
from sieveql.values import compare, identity, kind


@dataclass(frozen=True)
class AggregateFunction:
    """An aggregate.

    Attributes:
        run: computes it from values that aren't null, at least one, and the further arguments.
        arity: number of arguments.
        empty: its value over nothing.
    """

    run: Callable[..., Any]
    arity: int = 1
    empty: Any = None

    def __call__(self, values: Iterable[Any], *extra: Any, distinct: bool = False) -> Any:
        kept = [value for value in values if value is not None]
        if distinct:
            kept = list({identity(value): value for value in kept}.values())
        return self.run(kept, *extra) if kept else self.empty


def _numbers(values: list[Any]) -> list[Any]:
    for value in values:
        if kind(value) != "number":
            raise QueryError(f"expected numbers, not a {kind(value)}")
    return values


def _average(values: list[Any]) -> float:
    return sum(_numbers(values)) / len(values)


def _extreme(op: str) -> Callable[[list[Any]], Any]:
    def find(values: list[Any]) -> Any:
        best = values[0]
        for value in values[1:]:
            if compare(op, value, best):
                best = value
        return best

    return find


def _string_agg(values: list[Any], separator: Any) -> str:
    for value in (*values, separator):
        if not isinstance(value, str):
            raise QueryError(f"string_agg needs strings, not a {kind(value)}")
    return separator.join(values)


AGGREGATES: dict[str, AggregateFunction] = {
    "count": AggregateFunction(len, empty=0),
    "sum": AggregateFunction(lambda values: sum(_numbers(values))),
    "avg": AggregateFunction(_average),
    "min": AggregateFunction(_extreme("<")),
    "max": AggregateFunction(_extreme(">")),
    "string_agg": AggregateFunction(_string_agg, arity=2),
}
