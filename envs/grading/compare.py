"""Is what a program printed what it should have printed?"""

from __future__ import annotations

import json
import re
from decimal import Decimal, DecimalException
from itertools import zip_longest
from typing import Any, Literal

Comparison = Literal["exact", "lines", "numbers", "json"]

# What a program prints as a number; Python's own reading would also take "1_0" or " inf ".
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,6})?\Z")
_SHOWN = 200  # characters of a line


def equal(expected: bytes, printed: bytes, how: Comparison, tolerance: float = 0.0) -> bool:
    """Whether two outputs are the same.

    Args:
        how: ``exact``: the same bytes. ``lines``: the same lines, but for white space at their ends
            and empty lines at the end. ``numbers``: the same words between white space, numbers by
            value. ``json``: the same JSON value, whatever its layout and the order of its keys.
        tolerance: for ``numbers`` and ``json``: how far a number may be off the expected one, in
            units where that is below 1, else as a share of it:
            ``|printed - expected| <= tolerance * max(1, |expected|)``.
    """
    if expected == printed:
        return True
    if how == "lines":
        return _lines(expected) == _lines(printed)
    if how == "numbers":
        ours, theirs = expected.split(), printed.split()
        return len(ours) == len(theirs) and all(
            _same_word(a, b, tolerance) for a, b in zip(ours, theirs, strict=True)
        )
    if how == "json":
        return _same_json(expected, printed, tolerance)
    return False


def difference(expected: bytes, printed: bytes) -> str:
    """The first line that differs, for people."""
    lines = zip_longest(expected.split(b"\n"), printed.split(b"\n"))
    for number, (ours, theirs) in enumerate(lines, 1):
        if ours != theirs:
            return f"line {number} is {_shown(theirs)}, expected {_shown(ours)}"
    return "the same text"


def _shown(line: bytes | None) -> str:
    if line is None:
        return "missing"
    text = line.decode("utf-8", "replace")
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")


def _lines(text: bytes) -> list[bytes]:
    lines = [line.rstrip() for line in text.split(b"\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _same_word(expected: bytes, printed: bytes, tolerance: float) -> bool:
    if expected == printed:
        return True
    if not (_NUMBER.match(expected) and _NUMBER.match(printed)):
        return False
    return _near(Decimal(expected.decode()), Decimal(printed.decode()), tolerance)


def _near(expected: Decimal, printed: Decimal, tolerance: float) -> bool:
    if expected == printed:
        return True
    if not tolerance:
        return False
    try:
        return abs(printed - expected) <= Decimal(repr(tolerance)) * max(Decimal(1), abs(expected))
    except DecimalException:  # out of any range
        return False


def _same_json(expected: bytes, printed: bytes, tolerance: float) -> bool:
    try:
        return _same_value(_parsed(expected), _parsed(printed), tolerance)
    except (ValueError, RecursionError, DecimalException):
        return False


def _parsed(text: bytes) -> Any:
    return json.loads(text, parse_int=Decimal, parse_float=Decimal, parse_constant=_refuse)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _same_value(expected: Any, printed: Any, tolerance: float) -> bool:
    if type(expected) is not type(printed):  # True is no 1
        return False
    if isinstance(expected, Decimal):
        return _near(expected, printed, tolerance)
    if isinstance(expected, dict):
        return expected.keys() == printed.keys() and all(
            _same_value(value, printed[key], tolerance) for key, value in expected.items()
        )
    if isinstance(expected, list):
        return len(expected) == len(printed) and all(
            _same_value(a, b, tolerance) for a, b in zip(expected, printed, strict=True)
        )
    return bool(expected == printed)
