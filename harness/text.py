"""Agent-controlled text made fit for a person's terminal."""

from __future__ import annotations

import unicodedata

# Cc: control; Cf: invisible and direction-changing; Cs: lone surrogates; Zl/Zp: line separators
# that some terminals obey.
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _escape(char: str) -> str:
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def safe(text: str) -> str:
    """``text`` with everything that could steer a terminal shown as an escape.

    Newlines and tabs stay; carriage returns, ANSI sequences, direction overrides, zero-width
    characters and lone surrogates become ``\\x1b``, ``\\u202e`` and the like.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) not in _HIDDEN else _escape(char)
        for char in text
    )


def shorten(text: str, *, lines: int, width: int = 200) -> str:
    """At most ``lines`` lines of at most ``width`` characters, saying what was left out."""
    rows = text.splitlines()
    cut = [row if len(row) <= width else f"{row[:width]} … (+{len(row) - width})" for row in rows]
    if len(cut) > lines:
        cut = [*cut[:lines], f"… {len(rows) - lines} more lines"]
    return "\n".join(cut)
