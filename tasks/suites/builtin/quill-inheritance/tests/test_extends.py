from itertools import count

import pytest

from quill import DictLoader, Environment, TemplateError, TemplateNotFound, TemplateSyntaxError


def render(_name, /, _options=None, **sources_and_names):
    names = sources_and_names.pop("names", {})
    return Environment(DictLoader(sources_and_names), **(_options or {})).render(_name, **names)


BASE = "<{% block title %}base{% endblock %}|{% block body %}-{% endblock body %}>"


@pytest.mark.parametrize(
    ("child", "expected"),
    [
        ("{% extends 'base' %}", "<base|->"),
        ("{% extends 'base' %}{% block body %}x{% endblock %}", "<base|x>"),
        ("{% extends 'base' %}ignored{% block title %}{{ super() }}!{% endblock %}", "<base!|->"),
        (" \n{# note #}{% extends 'ba' ~ 'se' %}{% block body %}{{ super() }}{{ super() }}{% endblock %}", "<base|-->"),
        ("{% extends parent %}", "<base|->"),
        ("{% extends 'base' %}{% block other %}never{% endblock %}", "<base|->"),
    ],
    ids=count(1),
)
def test_children(child, expected):
    assert render("child", child=child, base=BASE, names={"parent": "base"}) == expected


def test_text_outside_blocks_is_not_even_run():
    child = "{% extends 'base' %}{{ 1 / 0 }}{% if nobody %}x{% endif %}{% block body %}x{% endblock %}"
    assert render("child", child=child, base=BASE) == "<base|x>"


def test_super_goes_all_the_way_up():
    sources = {
        "a": "{% block x %}a{% endblock %}",
        "b": "{% extends 'a' %}{% block x %}b{{ super() }}{% endblock %}",
        "c": "{% extends 'b' %}",
        "d": "{% extends 'c' %}{% block x %}d{{ super() }}{% endblock %}",
    }
    assert render("d", **sources) == "dba"
    assert render("c", **sources) == "ba"


def test_super_without_anything_above():
    with pytest.raises(TemplateError):
        render("a", a="{% block x %}{{ super() }}{% endblock %}")
    with pytest.raises(TemplateError):
        render(
            "b",
            a="{% block y %}{% endblock %}",
            b="{% extends 'a' %}{% block y %}{% block x %}{{ super() }}{% endblock %}{% endblock %}",
        )


def test_nested_blocks():
    base = "{% block outer %}({% block inner %}i{% endblock %}){% endblock %}"
    assert render("c", base=base, c="{% extends 'base' %}{% block inner %}I{% endblock %}") == "(I)"
    assert render("c", base=base, c="{% extends 'base' %}{% block outer %}O{% endblock %}") == "O"
    both = "{% extends 'base' %}{% block outer %}[{{ super() }}]{% endblock %}{% block inner %}{{ super() }}I{% endblock %}"
    assert render("c", base=base, c=both) == "[(iI)]"


def test_blocks_in_loops_and_conditions():
    base = "{% for n in ns %}{% if n > 1 %}{% block item %}{{ n }}{% endblock %}{% endif %}{% endfor %}"
    child = "{% extends 'base' %}{% block item %}<{{ super() }}:{{ loop.index }}>{% endblock %}"
    assert render("c", base=base, c=child, names={"ns": [1, 2, 3]}) == "<2:2><3:3>"


def test_names_set_in_a_block_are_gone_after_it():
    source = "{% set x = 1 %}{% block a %}{% set x = 2 %}{{ x }}{% endblock %}{{ x }}"
    assert render("a", a=source) == "21"


def test_top_level_sets_of_children_come_first():
    base = "{% block t %}{{ title }}{% endblock %}:{{ title|default('none') }}"
    child = "{% extends 'base' %}{% set title = 'A' %}{% block t %}{{ super() }}{{ title }}{% endblock %}"
    assert render("c", base=base, c=child) == "AA:A"


def test_macros_and_imports_of_children_are_there_in_blocks():
    sources = {
        "base": "{% block b %}{% endblock %}",
        "forms": "{% macro field(n) %}[{{ n }}]{% endmacro %}",
        "c": "{% extends 'base' %}{% import 'forms' as f %}{% macro hi(n) %}hi {{ n }}{% endmacro %}"
        "{% block b %}{{ hi(1) }}{{ f.field(2) }}{% endblock %}",
    }
    assert render("c", **sources) == "hi 1[2]"


def test_self():
    base = "{% block t %}{{ x }}<{% endblock %}/{{ self.t() }}"
    child = "{% extends 'base' %}{% block t %}&amp;{{ super() }}{% endblock %}"
    assert render("base", base=base, names={"x": "<"}) == "&lt;</&lt;<"
    assert render("c", base=base, c=child, names={"x": "b"}) == "&amp;b</&amp;b<"


def test_super_is_not_escaped_twice():
    base = "{% block t %}{{ x }}{% endblock %}"
    child = "{% extends 'base' %}{% block t %}<b>{{ super() }}</b>{% endblock %}"
    assert render("c", base=base, c=child, names={"x": "<&>"}) == "<b>&lt;&amp;&gt;</b>"


def test_included_templates_have_blocks_of_their_own():
    sources = {
        "base": "{% block x %}base{% endblock %} {% include 'part' %}",
        "part": "{% block x %}part{% endblock %}",
        "c": "{% extends 'base' %}{% block x %}child{% endblock %}",
    }
    assert render("c", **sources) == "child part"


@pytest.mark.parametrize(
    "source",
    [
        "{% block a %}{% endblock %}{% block a %}{% endblock %}",
        "{% block a %}{% block a %}{% endblock %}{% endblock %}",
        "{% block a %}{% endblock b %}",
        "{% block a %}",
        "{% block %}{% endblock %}",
        "{% extends 'x' %}{% extends 'y' %}",
        "{% set a = 1 %}{% extends 'x' %}",
        "{% if true %}{% extends 'x' %}{% endif %}",
        "{% block a b %}{% endblock %}",
    ],
    ids=count(1),
)
def test_bad_syntax(source):
    with pytest.raises(TemplateSyntaxError):
        Environment().from_string(source)


def test_circles():
    with pytest.raises(TemplateError):
        render("a", a="{% extends 'a' %}")
    with pytest.raises(TemplateError):
        render("a", a="{% extends 'b' %}", b="{% extends 'c' %}", c="{% extends 'b' %}")


def test_a_parent_that_is_not_there():
    with pytest.raises(TemplateNotFound):
        render("a", a="{% extends 'nobody' %}")


def test_errors_in_a_parents_block_name_the_parent():
    base = "1\n{% block x %}\n{{ 1 / 0 }}{% endblock %}"
    child = "{% extends 'base' %}\n\n\n\n{% block x %}{{ super() }}{% endblock %}"
    with pytest.raises(TemplateError) as caught:
        render("c", base=base, c=child)
    assert (caught.value.name, caught.value.line) == ("base", 3)
