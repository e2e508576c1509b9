"""Hostile text on a person's terminal, and the human agent's arguments."""

from __future__ import annotations

import pytest

from repodrome.harness.agents.human import read_arguments
from repodrome.harness.text import safe, shorten

SCHEMA = {
    "name": "t",
    "parameters": {
        "properties": {
            "path": {"type": "string"},
            "limit": {"type": "integer"},
            "all": {"type": "boolean"},
            "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        }
    },
}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\tb\nc", "a\tb\nc"),
        ("Grüße 🎵 日本", "Grüße 🎵 日本"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\r", "\\x0d"),
        ("\x9b1m", "\\x9b1m"),
        ("\u202e\u200b\u2028", "\\u202e\\u200b\\u2028"),
        ("\udcff", "\\udcff"),
        ("\x07\x00\x7f", "\\x07\\x00\\x7f"),
    ],
)
def test_safe(text, shown):
    assert safe(text) == shown


def test_shorten_says_what_is_left_out():
    assert shorten("a\nb\nc", lines=2) == "a\nb\n… 1 more lines"
    assert shorten("x" * 12, lines=1, width=10) == "x" * 10 + " … (+2)"


def test_arguments_take_the_types_the_tool_wants(tmp_path):
    (tmp_path / "f").write_text("two\nlines")
    text = f"path=12 limit=12 all=true maybe=1 other=@{tmp_path}/f"
    assert read_arguments(text, SCHEMA) == {
        "path": "12",
        "limit": 12,
        "all": True,
        "maybe": "1",
        "other": "two\nlines",
    }
    assert read_arguments('{"path": "a b"}', SCHEMA) == {"path": "a b"}
    assert read_arguments('path="a b"', SCHEMA) == {"path": "a b"}


@pytest.mark.parametrize("text", ["word", 'path="x', "{bad", "path=@/no/such/file"])
def test_bad_arguments_are_refused(text):
    with pytest.raises(ValueError):
        read_arguments(text, SCHEMA)
