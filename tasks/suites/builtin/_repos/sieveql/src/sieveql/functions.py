"""Scalar functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sieveql.errors import QueryError
from sieveql.values import equal, kind


@dataclass(frozen=True)
class Function:
    """A scalar function.

    Attributes:
        run: computes it.
        arity: least and most arguments; None is any number.
        sees_null: it is called with null arguments too.
        takes: the kind of each argument; the last one goes on for ever.
    """

    run: Callable[..., Any]
    arity: tuple[int, int | None]
    takes: tuple[str, ...] = ()
    sees_null: bool = False

    def __call__(self, *args: Any) -> Any:
        if self.sees_null:
            return self.run(*args)
        if any(arg is None for arg in args):
            return None
        for arg, wanted in zip(args, self.takes, strict=False):
            if kind(arg) != wanted:
                raise QueryError(f"expected a {wanted}, not a {kind(arg)}")
        return self.run(*args)


def _coalesce(*args: Any) -> Any:
    return next((arg for arg in args if arg is not None), None)


def _nullif(left: Any, right: Any) -> Any:
    return None if equal(left, right) else left


def _substr(text: str, start: int, length: int | None = None) -> str:
    if start < 1 or (length is not None and length < 0):
        raise QueryError("substr counts from 1")
    end = None if length is None else start - 1 + length
    return text[start - 1 : end]


FUNCTIONS: dict[str, Function] = {
    "lower": Function(str.lower, (1, 1), ("string",)),
    "upper": Function(str.upper, (1, 1), ("string",)),
    "length": Function(len, (1, 1), ("string",)),
    "trim": Function(str.strip, (1, 1), ("string",)),
    "abs": Function(abs, (1, 1), ("number",)),
    "round": Function(round, (1, 2), ("number", "number")),
    "coalesce": Function(_coalesce, (1, None), sees_null=True),
    "nullif": Function(_nullif, (2, 2), sees_null=True),
    "substr": Function(_substr, (2, 3), ("string", "number", "number")),
}
