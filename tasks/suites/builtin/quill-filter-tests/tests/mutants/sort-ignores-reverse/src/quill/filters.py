"""The standard filters. The reference is docs/filters.md."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from quill.context import Context
from quill.markup import Markup, escape, to_text

FILTERS: dict[str, Callable[..., Any]] = {}
_UNITS = ("kB", "MB", "GB", "TB", "PB")


def _register(func: Callable[..., Any]) -> Callable[..., Any]:
    FILTERS[func.__name__.rstrip("_")] = func
    return func


def _part(item: Any, name: Any) -> Any:
    """An item of mappings and sequences, an attribute of everything else."""
    if isinstance(item, (Mapping, Sequence)) and not isinstance(item, str):
        return item[name]
    return getattr(item, name)


def _sort_key(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


@_register
def upper(value: Any) -> str:
    """Upper case."""
    return to_text(value).upper()


@_register
def lower(value: Any) -> str:
    """Lower case."""
    return to_text(value).lower()


@_register
def title(value: Any) -> str:
    """Each word's first letter upper, the rest lower."""
    return re.sub(
        r"[^\W\d_]+(?:['’][^\W\d_]+)*", lambda m: m.group().capitalize(), to_text(value)
    )


@_register
def trim(value: Any) -> str:
    """Without whitespace at the ends."""
    return to_text(value).strip()


@_register
def length(value: Any) -> int:
    """Number of items or characters."""
    return len(value)


@_register
def first(value: Iterable[Any]) -> Any:
    """The first item or none."""
    return next(iter(value), None)


@_register
def last(value: Iterable[Any]) -> Any:
    """The last item or none."""
    items = list(value)
    return items[-1] if items else None


@_register
def join(context: Context, value: Iterable[Any], sep: str = "") -> str:
    """The items as text."""
    if context.environment.autoescape:
        return Markup(str(escape(sep)).join(str(escape(item)) for item in value))
    return sep.join(to_text(item) for item in value)


join.takes_context = True  # type: ignore[attr-defined]


@_register
def default(value: Any, other: Any, falsy: bool = False) -> Any:
    """``other`` for what is missing."""
    if value is None or (falsy and not value):
        return other
    return value


default.takes_undefined = True  # type: ignore[attr-defined]


@_register
def safe(value: Any) -> Markup:
    """Text as Markup."""
    return Markup(to_text(value))


@_register
def escape_(value: Any) -> Markup:
    """Escaped text."""
    return escape(value)


@_register
def truncate(value: Any, length: int = 80, end: str = "…") -> str:
    """At most ``length`` characters, cut at a space if there is one."""
    text = to_text(value)
    if len(text) <= length:
        return text
    room = max(0, length - len(end))
    # The word ends here already if a space comes next.
    cut = text[: room + 1].rfind(" ")
    return text[: cut if cut > 0 else room].rstrip() + end


@_register
def wordwrap(value: Any, width: int = 79) -> str:
    """Lines of at most ``width``."""
    wrapped: list[str] = []
    for line in to_text(value).split("\n"):
        current = ""
        for word in line.split():
            if current and len(current) + 1 + len(word) > width:
                wrapped.append(current)
                current = word
            else:
                current = f"{current} {word}" if current else word
        wrapped.append(current)
    return "\n".join(wrapped)


@_register
def round_(value: float, digits: int = 0) -> float:
    """Half away from zero."""
    exact = Decimal(str(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return int(exact) if digits == 0 else float(exact)


@_register
def filesize(value: int) -> str:
    """Bytes for people."""
    if value < 1000:
        return "1 byte" if value == 1 else f"{value} bytes"
    size = float(value)
    for unit in _UNITS:
        size /= 1000
        if round(size, 1) < 1000 or unit == _UNITS[-1]:
            return f"{size:.1f} {unit}"
    raise AssertionError("the last unit takes everything")


@_register
def sort(value: Iterable[Any], by: Any = None, reverse: bool = False) -> list[Any]:
    """Sorted, text regardless of case."""
    return sorted(
        value,
        key=lambda item: _sort_key(item if by is None else _part(item, by)),
    )


@_register
def unique(value: Iterable[Any]) -> list[Any]:
    """The first of each."""
    return list(dict.fromkeys(value))


@_register
def batch(value: Iterable[Any], size: int, fill: Any = None) -> list[list[Any]]:
    """Lists of ``size`` items."""
    items = list(value)
    batches = [items[at : at + size] for at in range(0, len(items), size)]
    if batches and fill is not None:
        batches[-1] += [fill] * (size - len(batches[-1]))
    return batches


@_register
def groupby(value: Iterable[Any], by: Any) -> list[list[Any]]:
    """``[value, items]`` pairs."""
    groups: dict[Any, list[Any]] = {}
    for item in value:
        groups.setdefault(_part(item, by), []).append(item)
    return [[key, groups[key]] for key in sorted(groups)]


@_register
def slice_(value: Sequence[Any], start: int, stop: int | None = None) -> Sequence[Any]:
    """A part."""
    return value[start:stop]


@_register
def indent(value: Any, width: int = 4, first: bool = False) -> str:
    """Lines moved to the right."""
    lines = to_text(value).split("\n")
    moved = [" " * width + line if line.strip() else line for line in lines]
    return "\n".join(moved if first else [lines[0], *moved[1:]])


@_register
def plural(value: Any, one: str = "", many: str = "s") -> str:
    """An ending."""
    number = value if isinstance(value, (int, float)) else len(value)
    return one if number == 1 else many
