from itertools import count

import pytest

from quill import DictLoader, Environment, TemplateError, TemplateNotFound, TemplateSyntaxError, UndefinedError


def render(source, /, **names):
    return Environment().from_string(source).render(names)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ 1 + 2 * 3 }}", "7"),
        ("{{ (1 + 2) * 3 }}", "9"),
        ("{{ -2 + 5 }}", "3"),
        ("{{ 'a' ~ 1 }}", "a1"),
        ("{{ not false and 3 > 2 }}", "True"),
        ("{{ 2 in [1, 2] }} {{ 2 not in [1, 2] }}", "True False"),
        ("{{ user.name }} {{ user['name'] }} {{ items[1] }}", "Ana Ana y"),
        ("{{ missing|default('-') }}", "-"),
        ("{{ '}}' }}", "}}"),
    ],
    ids=count(1),
)
def test_expressions(source, expected):
    assert render(source, user={"name": "Ana"}, items=["x", "y"]) == expected


def test_escaping():
    assert render("{{ x }} {{ x|safe }}", x="<b>'&'</b>") == (
        "&lt;b&gt;&#39;&amp;&#39;&lt;/b&gt; <b>'&'</b>"
    )


def test_if():
    source = "{% if n > 1 %}many{% elif n == 1 %}one{% else %}none{% endif %}"
    assert [render(source, n=n) for n in (2, 1, 0)] == ["many", "one", "none"]


def test_for():
    source = "{% for k, v in pairs %}{{ loop.index }}{{ k }}{{ v }}{% if not loop.last %},{% endif %}{% else %}-{% endfor %}"
    assert render(source, pairs=[("a", 1), ("b", 2)]) == "1a1,2b2"
    assert render(source, pairs=[]) == "-"


def test_nested_loops_know_their_parent():
    source = "{% for x in 'ab' %}{% for y in 'cd' %}{{ loop.parent.index }}{{ loop.index }} {% endfor %}{% endfor %}"
    assert render(source) == "11 12 21 22 "


def test_a_loop_keeps_its_names():
    assert render("{% set x = 1 %}{% for i in [5] %}{% set x = i %}{% endfor %}{{ x }}") == "1"


def test_whitespace():
    assert render("a  {%- if true -%}  b  {%- endif %}  c") == "ab  c"


def test_one_newline_behind_a_tag_goes():
    assert render("{% if true %}\nx\n\n{% endif %}\ny") == "x\n\ny"


def test_include():
    env = Environment(DictLoader({"a": "[{% include 'b' %}]", "b": "{{ x }}"}))
    assert env.render("a", x=5) == "[5]"


def test_unknown_names():
    with pytest.raises(UndefinedError):
        render("{{ nobody }}")
    assert Environment(strict=False).from_string("[{{ nobody }}]").render() == "[]"


def test_unknown_template():
    with pytest.raises(TemplateNotFound):
        Environment(DictLoader({})).render("a")


@pytest.mark.parametrize("source", ["{% if x %}", "{{ 1 +", "{{ 1 1 }}", "{% nope %}", "{% endif %}", "{{ }}"], ids=count(1))
def test_bad_syntax(source):
    with pytest.raises(TemplateSyntaxError):
        Environment().from_string(source)


def test_errors_say_where():
    with pytest.raises(TemplateError) as caught:
        render("a\nb\n{{ 1 / 0 }}")
    assert caught.value.line == 3
