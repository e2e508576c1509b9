from itertools import count

import pytest

from quill import DictLoader, Environment, TemplateError, TemplateSyntaxError


def render(source, /, **names):
    return Environment().from_string(source).render(names)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a \n\n {%- if true %}b{% endif %}", "ab"),
        ("a{% if true -%} \n\t\n b{% endif %}", "ab"),
        ("a\n{{- 'x' -}}\nb", "axb"),
        ("a\n{{ 'x' }}\nb", "a\nx\nb"),
        ("a \n {#- note #} b", "a b"),
        ("a {# note -#} \n b", "a b"),
        ("a \n{#- note -#}\n b", "ab"),
        ("a\n{# note #}\nb", "a\nb"),
        ("a\n{# one #}\n{# two #}\n\nb", "a\n\nb"),
        ("{% set x = 1 %}\n\n{{ x }}", "\n1"),
        ("a {# it's #} b {# isn't it #} c", "a  b  c"),
        ('a {# say "hi #} b', "a  b"),
        ("{{ 1 }} \n {%- if true -%} \n {{ 2 }} \n {%- endif -%} \n {{ 3 }}", "123"),
        ("\n\n{%- if true %}x{% endif %}\n", "x"),
    ],
    ids=count(1),
)
def test_stripping(source, expected):
    assert render(source) == expected


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("{{ 1 / 0 }}", 1),
        ("a\nb\nc {{ 1 / 0 }}", 3),
        ("{% if true %}\n\na\n{{ 1 / 0 }}{% endif %}", 4),
        ("a\n\n{%- if true -%}\n\n{{ 1 / 0 }}{% endif %}", 5),
        ("{# one\ntwo\n#}\n\n{{ 1 / 0 }}", 5),
        ("{{ 'a\n\nb' }}\n{{ 1 / 0 }}", 4),
        ("x\n{{\n 1 / 0\n}}", 2),
        ("{% for i in [1] %}\na\nb\n{{ i / 0 }}\n{% endfor %}", 4),
    ],
    ids=count(1),
)
def test_errors_name_the_line(source, line):
    with pytest.raises(TemplateError) as caught:
        render(source)
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("a\nb\n{% if x %}\nc", 3),
        ("a\n\n\n{% nope %}", 4),
        ("a\n{{ 1 +", 2),
        ("a\n\n{# never closed", 3),
        ("a\n{% if x %}\nb\n{% endif y %}", 4),
    ],
    ids=count(1),
)
def test_syntax_errors_name_the_line(source, line):
    with pytest.raises(TemplateSyntaxError) as caught:
        Environment().from_string(source)
    assert caught.value.line == line


def test_included_templates_count_their_own_lines():
    env = Environment(DictLoader({"a": "1\n2\n3\n{% include 'b' %}", "b": "1\n{{ 1 / 0 }}"}))
    with pytest.raises(TemplateError) as caught:
        env.render("a")
    assert (caught.value.name, caught.value.line) == ("b", 2)
