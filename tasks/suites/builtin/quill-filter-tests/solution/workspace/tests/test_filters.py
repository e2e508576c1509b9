from itertools import count

import pytest

from quill import Environment


def render(source, /, **names):
    return Environment().from_string(source).render(names)


def plain(source, /, **names):
    return Environment(autoescape=False).from_string(source).render(names)


class User:
    def __init__(self, name, age):
        self.name, self.age = name, age

    def __repr__(self):
        return f"{self.name}{self.age}"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ 'aB'|upper }}{{ 'aB'|lower }}", "ABab"),
        ("{{ 'hELLO wORLD'|title }}", "Hello World"),
        ("{{ \"don't o'neill\"|title }}", "Don't O'neill"),
        ("[{{ ' a b '|trim }}]", "[a b]"),
        ("{{ [1, 2]|length }}{{ 'abc'|length }}", "23"),
        ("{{ [1, 2]|first }}{{ [1, 2]|last }}", "12"),
        ("[{{ []|first }}{{ []|last }}]", "[]"),
        ("{{ [1, none, 'a']|join('-') }}", "1--a"),
        ("{{ [1, 2]|join }}", "12"),
    ],
    ids=count(1),
)
def test_simple_ones(source, expected):
    assert plain(source) == expected


def test_join_escapes():
    assert render("{{ ['<', '&'|safe]|join('<br>'|safe) }}") == "&lt;<br>&"
    assert render("{{ ['a', 'b']|join('<') }}") == "a&lt;b"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ nobody|default('x') }}", "x"),
        ("{{ none|default('x') }}", "x"),
        ("{{ 0|default('x') }}", "0"),
        ("[{{ ''|default('x') }}]", "[]"),
        ("{{ 0|default('x', true) }}", "x"),
        ("{{ ''|default('x', falsy=true) }}", "x"),
        ("{{ 1|default('x', true) }}", "1"),
    ],
    ids=count(1),
)
def test_default(source, expected):
    assert render(source) == expected


def test_safe_and_escape():
    assert render("{{ '<'|safe }}{{ '<'|escape }}{{ '<'|safe|escape }}") == "<&lt;<"
    assert plain("{{ '<'|escape }}") == "&lt;"


@pytest.mark.parametrize(
    ("text", "length", "expected"),
    [
        ("hello", 5, "hello"),
        ("hello world", 11, "hello world"),
        ("hello world", 10, "hello…"),
        ("hello world", 6, "hello…"),
        ("hello world", 5, "hell…"),
        ("hello my world", 9, "hello my…"),
        ("abcdefgh", 4, "abc…"),
    ],
)
def test_truncate(text, length, expected):
    assert plain("{{ text|truncate(length) }}", text=text, length=length) == expected


def test_truncate_with_another_end():
    assert plain("{{ 'hello big world'|truncate(12, '...') }}") == "hello big..."


def test_truncate_by_default():
    assert plain("{{ text|truncate }}", text="x" * 80) == "x" * 80
    assert plain("{{ text|truncate }}", text="x" * 81) == "x" * 79 + "…"


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("aa bb cc", 5, "aa bb\ncc"),
        ("aa bb cc", 4, "aa\nbb\ncc"),
        ("aa\n\nbb cc", 9, "aa\n\nbb cc"),
        ("a longword b", 4, "a\nlongword\nb"),
    ],
    ids=count(1),
)
def test_wordwrap(text, width, expected):
    assert plain("{{ text|wordwrap(width) }}", text=text, width=width) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ 2.5|round }}", "3"),
        ("{{ (-2.5)|round }}", "-3"),
        ("{{ 3.5|round }}", "4"),
        ("{{ 1.25|round(1) }}", "1.3"),
        ("{{ 2.675|round(2) }}", "2.68"),
        ("{{ 7|round }}", "7"),
    ],
)
def test_round(source, expected):
    assert plain(source) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (2, "2 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (1500, "1.5 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (1_500_000, "1.5 MB"),
        (10**9, "1.0 GB"),
        (10**19, "10000.0 PB"),
    ],
)
def test_filesize(size, expected):
    assert plain("{{ size|filesize }}", size=size) == expected


def test_sort():
    assert plain("{{ ['b', 'A', 'C']|sort|join }}") == "AbC"
    assert plain("{{ [1, 3, 2]|sort(reverse=true)|join }}") == "321"
    users = [User("b", 2), User("a", 2), User("C", 1)]
    assert plain("{{ users|sort('age')|join }}", users=users) == "C1b2a2"
    assert plain("{{ users|sort('name')|join }}", users=users) == "a2b2C1"
    rows = [{"n": 2}, {"n": 1}]
    assert plain("{% for r in rows|sort('n') %}{{ r.n }}{% endfor %}", rows=rows) == "12"


def test_unique():
    assert plain("{{ [3, 1, 3, 2, 1]|unique|join }}") == "312"


def test_batch():
    assert plain("{{ [1, 2, 3]|batch(2) }}") == "[[1, 2], [3]]"
    assert plain("{{ [1, 2, 3, 4]|batch(3, 0) }}") == "[[1, 2, 3], [4, 0, 0]]"
    assert plain("{{ [1, 2]|batch(2, 0) }}{{ []|batch(2, 0) }}") == "[[1, 2]][]"


def test_groupby():
    users = [User("b", 2), User("c", 1), User("a", 2)]
    assert plain("{{ users|groupby('age') }}", users=users) == "[[1, [c1]], [2, [b2, a2]]]"


def test_slice():
    assert plain("{{ [1, 2, 3]|slice(1) }}{{ 'abcd'|slice(1, 3) }}{{ 'abcd'|slice(-2) }}") == "[2, 3]bccd"


def test_indent():
    text = "a\nb\n\nc"
    assert plain("{{ text|indent }}", text=text) == "a\n    b\n\n    c"
    assert plain("{{ text|indent(2, true) }}", text=text) == "  a\n  b\n\n  c"


@pytest.mark.parametrize(
    ("value", "expected"), [(0, "s"), (1, ""), (2, "s"), (1.0, ""), ([], "s"), (["a"], ""), ([1, 2], "s")]
)
def test_plural(value, expected):
    assert plain("{{ value|plural }}", value=value) == expected


def test_plural_with_other_endings():
    assert plain("{{ 1|plural('y', 'ies') }}{{ 2|plural('y', 'ies') }}") == "yies"
