"""Arithmetic that keeps rewards bounded, and checks of their parameters."""

from __future__ import annotations

import math


def falling(amount: float, half: float) -> float:
    """``half / (half + amount)``: 1 at 0, 1/2 at ``half``, towards 0 beyond."""
    return half / (half + max(0.0, amount))


def clamp(value: float, low: float, high: float) -> float:
    """The nearest value within the bounds."""
    return min(high, max(low, value))


def check(name: str, value: float, *, above: float = -math.inf, least: float = -math.inf) -> None:
    """Refuse a parameter.

    Raises:
        ValueError: it is no finite number, not above ``above``, or less than ``least``.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}; give a finite number")
    if value <= above:
        raise ValueError(f"{name} is {value}; give more than {above:g}")
    if value < least:
        raise ValueError(f"{name} is {value}; give {least:g} or more")


def plural(number: int, word: str) -> str:
    """``1 line``, ``2 lines``."""
    return f"{number} {word}{'' if number == 1 else 's'}"
