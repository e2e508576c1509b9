"""Comparing and combining values, null included."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from sieveql.errors import QueryError


def kind(value: Any) -> str:
    """``null``, ``boolean``, ``number``, ``string``, or the Python type's name."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return "string" if isinstance(value, str) else type(value).__name__


def identity(value: Any) -> tuple[str, Any]:
    """A key under which values are the same if the language says so; null equals null here."""
    return kind(value), value


def equal(left: Any, right: Any) -> bool | None:
    """``=``."""
    if left is None or right is None:
        return None
    return kind(left) == kind(right) and bool(left == right)


_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def compare(op: str, left: Any, right: Any) -> bool | None:
    """``= != < <= > >=``."""
    if op == "=":
        return equal(left, right)
    if op == "!=":
        return negate(equal(left, right))
    if left is None or right is None:
        return None
    if kind(left) != kind(right):
        raise QueryError(f"can't compare a {kind(left)} with a {kind(right)}")
    return _ORDER[op](left, right)


def truth(value: Any) -> bool | None:
    """A condition's value; only booleans and null are conditions."""
    if value is None or isinstance(value, bool):
        return value
    raise QueryError(f"a {kind(value)} isn't a condition")


def negate(value: bool | None) -> bool | None:
    """``NOT``."""
    return None if value is None else not value


def both(left: bool | None, right: bool | None) -> bool | None:
    """``AND``."""
    if left is False or right is False:
        return False
    return None if left is None or right is None else True


def either(left: bool | None, right: bool | None) -> bool | None:
    """``OR``."""
    if left is True or right is True:
        return True
    return None if left is None or right is None else False


def arithmetic(op: str, left: Any, right: Any) -> Any:
    """``+ - * / % ||``."""
    if left is None or right is None:
        return None
    wanted = "string" if op == "||" else "number"
    for value in (left, right):
        if kind(value) != wanted:
            raise QueryError(f"{op} needs a {wanted}, not a {kind(value)}")
    if op in "/%" and right == 0:
        return None
    return _ARITHMETIC[op](left, right)


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": operator.mod,
    "||": operator.add,
}


def like(value: Any, pattern: Any) -> bool | None:
    """``LIKE``."""
    if value is None or pattern is None:
        return None
    if not isinstance(value, str) or not isinstance(pattern, str):
        raise QueryError("LIKE needs strings")
    return _like_regex(pattern).fullmatch(value) is not None


@lru_cache(maxsize=256)
def _like_regex(pattern: str) -> re.Pattern[str]:
    parts = {"%": ".*", "_": "."}
    return re.compile("".join(parts.get(c) or re.escape(c) for c in pattern), re.DOTALL)
