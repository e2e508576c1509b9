"""Pieces to nodes."""

from __future__ import annotations

from collections.abc import Callable

from quill.errors import TemplateSyntaxError
from quill.expressions import Expression, Reader
from quill.lexer import Piece, split
from quill.nodes import For, If, Include, Node, Print, Set, Text

Handler = Callable[["Parser", Reader, int], Node]
_HANDLERS: dict[str, Handler] = {}


def tag(name: str) -> Callable[[Handler], Handler]:
    """Register what reads ``{% name … %}``; it is given the rest of the tag and its line."""

    def register(handler: Handler) -> Handler:
        _HANDLERS[name] = handler
        return handler

    return register


class Parser:
    """Reads one template."""

    def __init__(self, source: str, name: str | None = None) -> None:
        self.name = name
        self._pieces: list[Piece] = list(split(source, name))
        self._at = 0

    def parse(self) -> list[Node]:
        """The whole template."""
        return self.body((), "", 1)[0]

    def fail(self, message: str, line: int) -> TemplateSyntaxError:
        """An error, to be raised."""
        return TemplateSyntaxError(message, self.name, line)

    def body(self, ends: tuple[str, ...], opened: str, line: int) -> tuple[list[Node], str, Reader]:
        """Read nodes up to one of the tags ``ends``, which is taken too.

        Args:
            ends: names of closing tags; none means the end of the template.
            opened: the tag that is being closed, for messages.
            line: where that one began.

        Returns:
            The nodes, the closing tag's name, and the rest of that tag.
        """
        nodes: list[Node] = []
        while self._at < len(self._pieces):
            piece = self._pieces[self._at]
            self._at += 1
            if piece.kind == "text":
                nodes.append(Text(piece.content))
                continue
            reader = Reader(piece.content, self.name, piece.line)
            if piece.kind == "print":
                nodes.append(Print(self.only(reader), piece.line))
                continue
            word = reader.identifier() if reader.peek() else ""
            if word in ends:
                return nodes, word, reader
            if word not in _HANDLERS:
                raise self.fail(f"unexpected tag {word!r}", piece.line)
            nodes.append(_HANDLERS[word](self, reader, piece.line))
        if ends:
            raise self.fail(f"{opened!r} isn't closed", line)
        return nodes, "", Reader("", self.name, line)

    @staticmethod
    def only(reader: Reader) -> Expression:
        """An expression behind which nothing follows."""
        expression = reader.expression()
        reader.end()
        return expression


@tag("if")
def _if(parser: Parser, reader: Reader, line: int) -> Node:
    branches = []
    end = "elif"
    while end == "elif":
        condition = parser.only(reader)
        body, end, reader = parser.body(("elif", "else", "endif"), "if", line)
        branches.append((condition, body))
    otherwise: list[Node] = []
    if end == "else":
        reader.end()
        otherwise, _, reader = parser.body(("endif",), "if", line)
    reader.end()
    return If(branches, otherwise)


@tag("for")
def _for(parser: Parser, reader: Reader, line: int) -> Node:
    targets = [reader.identifier()]
    while reader.take(","):
        targets.append(reader.identifier())
    reader.expect("in")
    items = parser.only(reader)
    body, end, reader = parser.body(("else", "endfor"), "for", line)
    otherwise: list[Node] = []
    if end == "else":
        reader.end()
        otherwise, _, reader = parser.body(("endfor",), "for", line)
    reader.end()
    return For(targets, items, body, otherwise, line)


@tag("set")
def _set(parser: Parser, reader: Reader, line: int) -> Node:
    name = reader.identifier()
    reader.expect("=")
    return Set(name, parser.only(reader), line)


@tag("include")
def _include(parser: Parser, reader: Reader, line: int) -> Node:
    return Include(parser.only(reader), line)
