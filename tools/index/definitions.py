"""Finds the definitions in a file with tree-sitter; runs as a process of its own.

Grammars are C code and some can be crashed by a file that is made for it, so no process that
matters parses. :mod:`repodrome.tools.index.parsing` is the other end.

Protocol: a line of JSON ``{"path": …, "size": N}`` and N bytes come in; a line of JSON goes out, a
list with a ``[start, end, line, kind, name]`` for each definition.
"""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import astuple, dataclass
from time import monotonic
from typing import BinaryIO, Literal, cast

from repodrome.tools.index.languages import grammar, language_of

PARSE_SECONDS = 2.0
"""Longest that a file is parsed."""
MAX_NAME = 200
MEMORY = 2 << 30
"""Bytes of address space that parsing may take."""

Kind = Literal["function", "class", "block", "section", "entry"]

_WRAPPERS = frozenset(
    {"decorated_definition", "export_statement", "template_declaration", "linkage_specification"}
)


@dataclass(slots=True)
class Definition:
    """A definition; lines count from 0.

    Attributes:
        start: its first line.
        end: its last line.
        line: where it is named, below its comments and decorators.
        kind: what it is.
        name: its own name.
    """

    start: int
    end: int
    line: int
    kind: Kind
    name: str


def parsed(path: str, data: bytes) -> list[Definition]:
    """The definitions in a file, outer ones first; none where it can't be parsed in time."""
    language = language_of(path)
    if language is None:
        return []
    import tree_sitter

    loaded, query = grammar(language)
    deadline = monotonic() + PARSE_SECONDS
    try:
        # Only a parser that is fed piece by piece can be stopped.
        tree = tree_sitter.Parser(loaded).parse(
            lambda byte, _: data[byte : byte + (1 << 16)],
            progress_callback=lambda *_: monotonic() > deadline,
        )
    except ValueError:  # stopped
        return []
    cursor = tree_sitter.QueryCursor(query, match_limit=4096)
    found: dict[tuple[int, int], Definition] = {}
    for _, captures in cursor.matches(tree.root_node):
        (name,) = captures.pop("name")[:1]
        for kind, (node, *_) in captures.items():
            outer = node.parent
            whole = outer if outer is not None and outer.type in _WRAPPERS else node
            end = whole.end_point
            last = end.row - (end.column == 0 and end.row > whole.start_point.row)
            text = data[name.start_byte : name.end_byte].decode("utf-8", "replace")
            text = text[:MAX_NAME].strip().strip("\"'`")
            key = (whole.start_point.row, last)
            line = name.start_point.row
            found.setdefault(key, Definition(*key, line, cast(Kind, kind), text))
    return sorted(found.values(), key=lambda one: (one.start, -one.end))


def main() -> None:
    """Answer until there are no more questions."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    questions: BinaryIO = sys.stdin.buffer
    answers: BinaryIO = sys.stdout.buffer
    for line in questions:
        asked = json.loads(line)
        data = questions.read(asked["size"])
        found = [astuple(one) for one in parsed(asked["path"], data)]
        answers.write(json.dumps(found).encode() + b"\n")
        answers.flush()
