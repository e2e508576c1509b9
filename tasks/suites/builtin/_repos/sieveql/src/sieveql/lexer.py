"""Text to tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sieveql.errors import QuerySyntaxError

KEYWORDS = frozenset(
    "select distinct from as left join on where group by having order asc desc nulls first last "
    "limit offset and or not in between is null like true false case when then else end".split()
)

_PATTERN = re.compile(
    r"""
    (?P<space>\s+|--[^\n]*)
  | (?P<number>\d+(?:\.\d+)?)
  | (?P<string>'(?:[^']|'')*')
  | (?P<quoted>"[^"]+")
  | (?P<word>[A-Za-z_][A-Za-z_0-9]*)
  | (?P<op><>|!=|<=|>=|\|\||[-+*/%=<>(),.])
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class Token:
    """One token: ``kind`` is keyword, name, number, string, op or end."""

    kind: str
    value: str
    start: int
    end: int


def tokenize(text: str) -> list[Token]:
    """All tokens of a query, with an ``end`` token behind."""
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        match = _PATTERN.match(text, at)
        if match is None:
            raise QuerySyntaxError(f"unexpected {text[at]!r}", at)
        kind, value = match.lastgroup or "", match.group()
        if kind == "word":
            is_keyword = value.lower() in KEYWORDS
            kind, value = ("keyword", value.lower()) if is_keyword else ("name", value)
        elif kind == "quoted":
            kind, value = "name", value[1:-1]
        elif kind == "string":
            value = value[1:-1].replace("''", "'")
        if kind != "space":
            tokens.append(Token(kind, value, at, match.end()))
        at = match.end()
    tokens.append(Token("end", "", len(text), len(text)))
    return tokens
