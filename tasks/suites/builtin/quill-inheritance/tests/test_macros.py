from itertools import count

import pytest

from quill import DictLoader, Environment, TemplateError, TemplateSyntaxError, UndefinedError


def render(source, /, _options=None, _sources=None, **names):
    env = Environment(DictLoader(_sources or {}), **(_options or {}))
    return env.from_string(source).render(names)


TAG = "{% macro tag(name, text='-', mark=name) %}<{{ name }}:{{ text }}:{{ mark }}>{% endmacro %}"


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("tag('a')", "<a:-:a>"),
        ("tag('a', 'b')", "<a:b:a>"),
        ("tag(name='a', mark='m')", "<a:-:m>"),
        ("tag('a', mark=1 + 1, text=none)", "<a::2>"),
    ],
    ids=count(1),
)
def test_arguments(call, expected):
    assert render(TAG + "{{ " + call + " }}") == expected


@pytest.mark.parametrize("call", ["tag()", "tag('a', 'b', 'c', 'd')", "tag('a', nope=1)", "tag('a', name='b')"], ids=count(1))
def test_wrong_arguments_name_the_macro(call):
    with pytest.raises(TemplateError, match="tag"):
        render(TAG + "{{ " + call + " }}")


@pytest.mark.parametrize(
    "source",
    [
        "{% macro m(a=1, b) %}{% endmacro %}",
        "{% macro m(a, a) %}{% endmacro %}",
        "{% macro m(a) %}",
        "{% macro m %}{% endmacro %}",
        "{% macro (a) %}{% endmacro %}",
        "{% call 1 + 1 %}{% endcall %}",
        "{% import 'a' %}",
        "{% from 'a' import %}",
    ],
    ids=count(1),
)
def test_bad_syntax(source):
    with pytest.raises(TemplateSyntaxError):
        Environment().from_string(source)


def test_defaults_are_made_at_each_call():
    source = "{% set n = 1 %}{% macro m(x=n) %}{{ x }}{% endmacro %}{{ m() }}{% set n = 2 %}{{ m() }}"
    assert render(source) == "12"


def test_results_are_markup():
    source = "{% macro b(x) %}<b>{{ x }}</b>{% endmacro %}{{ b('<') }}{{ b(b('&')) }}"
    assert render(source) == "<b>&lt;</b><b><b>&amp;</b></b>"
    assert render(source, _options={"autoescape": False}) == "<b><</b><b><b>&</b></b>"


def test_macros_do_not_see_the_place_of_the_call():
    source = "{% macro m() %}{{ i|default('-') }}{{ x }}{% endmacro %}{% for i in [1, 2] %}{{ m() }}{% endfor %}"
    assert render(source, x="!") == "-!-!"


def test_names_set_in_a_macro_stay_there():
    source = "{% set x = 1 %}{% macro m() %}{% set x = 2 %}{{ x }}{% endmacro %}{{ m() }}{{ x }}"
    assert render(source) == "21"


def test_recursion():
    source = (
        "{% macro tree(n) %}{{ n.name }}{% if n.kids %}({% for k in n.kids %}{{ tree(k) }}{% endfor %}){% endif %}"
        "{% endmacro %}{{ tree(root) }}"
    )
    leaf = {"name": "c", "kids": []}
    root = {"name": "a", "kids": [{"name": "b", "kids": [leaf]}, leaf]}
    assert render(source, root=root) == "a(b(c)c)"


def test_call():
    source = (
        "{% macro box(title) %}[{{ title }}: {{ caller() }}{{ caller() }}]{% endmacro %}"
        "{% for x in '<b' %}{% call box(x) %}{{ x }}{{ loop.index }}{% endcall %}{% endfor %}"
    )
    assert render(source) == "[&lt;: &lt;1&lt;1][b: b2b2]"


def test_call_bodies_do_not_see_the_macro():
    source = "{% macro m(inner) %}{{ caller() }}{% endmacro %}{% call m(1) %}{{ inner|default('-') }}{% endcall %}"
    assert render(source) == "-"


def test_caller_belongs_to_one_call():
    source = "{% macro m() %}{{ caller() }}{% endmacro %}"
    with pytest.raises(UndefinedError):
        render(source + "{{ m() }}")
    optional = "{% macro m() %}{{ caller|default('no') }}{% endmacro %}"
    assert render(optional + "{{ m() }}") == "no"


def test_nested_calls():
    source = (
        "{% macro a() %}a{{ caller() }}{% endmacro %}{% macro b() %}b{{ caller() }}{% endmacro %}"
        "{% call a() %}{% call b() %}x{% endcall %}{% endcall %}"
    )
    assert render(source) == "abx"


FORMS = "out{{ 'put' }}{% set kind = 'text' %}{% macro field(n) %}<{{ kind }} {{ n }}>{% endmacro %}{% macro area(n) %}({{ n }}){{ field(n) }}{% endmacro %}"


def test_import():
    source = "{% import 'forms' as f %}{{ f.field('a') }}{{ f.area('b') }}{{ f.kind }}"
    assert render(source, _sources={"forms": FORMS}) == "<text a>(b)<text b>text"


def test_from():
    source = "{% from 'forms' import field, area as big %}{{ field(1) }}{{ big(2) }}"
    assert render(source, _sources={"forms": FORMS}) == "<text 1>(2)<text 2>"


def test_from_without_that_name():
    with pytest.raises(TemplateError):
        render("{% from 'forms' import nothing %}", _sources={"forms": FORMS})


def test_imported_templates_do_not_see_the_importer():
    forms = "{% macro m() %}{{ secret|default('-') }}{% endmacro %}"
    source = "{% set secret = 1 %}{% import 'forms' as f %}{{ f.m() }}"
    assert render(source, _sources={"forms": forms}, secret=2) == "-"


def test_imported_in_a_loop():
    source = "{% for n in [1, 2] %}{% from 'forms' import area %}{{ area(n) }}{% endfor %}"
    assert render(source, _sources={"forms": FORMS}) == "(1)<text 1>(2)<text 2>"


def test_call_of_an_imported_macro():
    sources = {"m": "{% macro box() %}[{{ caller() }}]{% endmacro %}"}
    assert render("{% import 'm' as m %}{% call m.box() %}{{ x }}{% endcall %}", _sources=sources, x=1) == "[1]"
