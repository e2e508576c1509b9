"""Text that is known to be safe."""

from __future__ import annotations

from typing import Any

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;"})


class Markup(str):
    """Text that needs no escaping."""

    __slots__ = ()


def to_text(value: Any) -> str:
    """A value as it is printed: none as nothing, Markup stays Markup."""
    if value is None:
        return ""
    return value if isinstance(value, str) else str(value)


def escape(value: Any) -> Markup:
    """A value as Markup, escaped unless it is Markup already."""
    text = to_text(value)
    return text if isinstance(text, Markup) else Markup(text.translate(_ESCAPES))


def concat(left: Any, right: Any) -> str:
    """What ``~`` does."""
    if isinstance(left, Markup) or isinstance(right, Markup):
        return Markup(str(escape(left)) + str(escape(right)))
    return to_text(left) + to_text(right)
