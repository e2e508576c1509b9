"""Tags in comments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pennyledger.errors import LedgerError

_PLAIN = re.compile(r"#([\w-]+)(?=[\s,]|$)")
_VALUED = re.compile(r"(?:^|(?<=[\s,]))([\w-]+):(?=\s|$)([^,]*)")


def parse_tags(comment: str) -> dict[str, str]:
    """All tags in a comment, names in lower case."""
    tags: dict[str, str] = {}
    for clause in comment.split(","):
        valued = _VALUED.search(clause)
        plain = clause if valued is None else clause[: valued.start()]
        for match in _PLAIN.finditer(plain):
            if match.start() == 0 or plain[match.start() - 1].isspace():
                tags[match.group(1).lower()] = ""
        if valued is not None:
            tags[valued.group(1).lower()] = valued.group(2).strip()
    return tags


def format_tags(tags: Mapping[str, str]) -> str:
    """The canonical form of tags; empty if there are none."""
    plain = [f"#{name}" for name in sorted(tags) if not tags[name]]
    valued = [f"{name}: {tags[name]}" for name in sorted(tags) if tags[name]]
    return ", ".join(plain + valued)


def read_filters(texts: Sequence[str]) -> list[tuple[str, str | None]]:
    """Read ``NAME`` and ``NAME=VALUE``; None stands for any value."""
    filters = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise LedgerError(f"not a tag: {text!r}")
        filters.append((name.lower(), value if equals else None))
    return filters


def matches(tags: Mapping[str, str], filters: Sequence[tuple[str, str | None]]) -> bool:
    """Are all of them there?"""
    return all(
        name in tags and (value is None or tags[name] == value) for name, value in filters
    )
