from itertools import count

import pytest

from quill import Environment


def render(source, **data):
    return Environment().from_string(source).render(**data)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("one", "one"),
        ("one two three", "one two three"),
        ("one two three four", "one two three […]"),
        ("  one\ttwo\n\nthree  ", "one two three"),
        ("one\ntwo\nthree\nfour five", "one two three […]"),
        ("a, b. c! d", "a, b. c! […]"),
    ],
    ids=count(1),
)
def test_three_words(text, expected):
    assert render("{{ text|excerpt(3) }}", text=text) == expected
    assert render("{{ text|excerpt(words=3) }}", text=text) == expected


def test_twenty_five_words_by_default():
    words = [f"w{number}" for number in range(30)]
    assert render("{{ t|excerpt }}", t=" ".join(words[:25])) == " ".join(words[:25])
    assert render("{{ t|excerpt }}", t=" ".join(words)) == " ".join(words[:25]) + " […]"


def test_what_is_no_text():
    assert render("{{ 12|excerpt }}") == "12"
