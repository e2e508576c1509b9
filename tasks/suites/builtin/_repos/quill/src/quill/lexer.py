"""Templates to pieces: text, tags and expressions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from quill.errors import TemplateSyntaxError

_OPEN = re.compile(r"\{([{%#])(-?)")
_KINDS = {"{": "print", "%": "tag", "#": "comment"}
_STRING = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", re.DOTALL)


@dataclass(frozen=True)
class Piece:
    """A part of a template: ``kind`` is text, print or tag; ``line`` is where it begins."""

    kind: str
    content: str
    line: int


def _find_close(source: str, start: int, mark: str, name: str | None, line: int) -> int:
    """Where the closing mark is; strings may hold it."""
    at = start
    while at < len(source):
        if source.startswith(mark, at):
            return at
        string = _STRING.match(source, at) if mark != "#}" else None
        at = string.end() if string else at + 1
    raise TemplateSyntaxError(f"{mark!r} is missing", name, line)


def split(source: str, name: str | None = None) -> Iterator[Piece]:
    """The pieces of a template, in order, without comments."""
    at = 0
    strip_next = drop_newline = False
    while at < len(source):
        match = _OPEN.search(source, at)
        text = source[at : match.start() if match else len(source)]
        text_line = source.count("\n", 0, at) + 1
        if strip_next:
            shorter = text.lstrip()
            text_line += text[: len(text) - len(shorter)].count("\n")
            text = shorter
        elif drop_newline and text.startswith("\n"):
            text, text_line = text[1:], text_line + 1
        if match and match.group(2):
            text = text.rstrip()
        if text:
            yield Piece("text", text, text_line)
        if match is None:
            return
        kind = _KINDS[match.group(1)]
        mark = {"print": "}}", "tag": "%}", "comment": "#}"}[kind]
        line = source.count("\n", 0, match.start()) + 1
        end = _find_close(source, match.end(), mark, name, line)
        content = source[match.end() : end]
        strip_next = content.endswith("-")
        drop_newline = kind != "print"
        if kind != "comment":
            yield Piece(kind, content[:-1].strip() if strip_next else content.strip(), line)
        at = end + 2
