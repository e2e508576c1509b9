"""Hidden tests of ours: a span must cover the text that its field matched."""

import parse
import pytest


@pytest.mark.parametrize(
    ("template", "text", "pieces"),
    [
        ("{:ti} {}", "2011-02-01T10:00:00 end", ["2011-02-01T10:00:00", "end"]),
        ("{:tt}, {:d}, {}", "10:21:36 PM, 7, x", ["10:21:36 PM", "7", "x"]),
        ("{:g} {:g} {}", "1.5e3 2.25 z", ["1.5e3", "2.25", "z"]),
        ("{:n} of {:n}", "1,234 of 5,678", ["1,234", "5,678"]),
    ],
    ids=["iso", "time", "float", "number"],
)
def test_positional_spans_cover_their_text(template, text, pieces):
    result = parse.parse(template, text)
    assert [text[slice(*result.spans[i])] for i in range(len(pieces))] == pieces


def test_named_field_between_positional_ones():
    text = "2011-02-01 key 12"
    result = parse.parse("{:ti} {name} {:d}", text)
    assert text[slice(*result.spans[0])] == "2011-02-01"
    assert text[slice(*result.spans["name"])] == "key"
    assert text[slice(*result.spans[1])] == "12"


def test_positional_field_after_a_named_date():
    text = "2011-02-01 12"
    result = parse.parse("{day:ti} {:d}", text)
    assert text[slice(*result.spans["day"])] == "2011-02-01"
    assert text[slice(*result.spans[0])] == "12"


def test_plain_fields_keep_their_spans():
    assert parse.parse("{} {}", "ab cd").spans == {0: (0, 2), 1: (3, 5)}
