from quill import DictLoader, Environment


def test_a_child_fills_its_parent():
    env = Environment(
        DictLoader(
            {
                "base": "<{% block title %}base{% endblock %}>{% block body %}{% endblock %}",
                "child": "{% extends 'base' %}{% block body %}hello{% endblock %}",
            }
        )
    )
    assert env.render("child") == "<base>hello"


def test_a_macro():
    env = Environment()
    source = "{% macro hi(name, mark='!') %}Hi {{ name }}{{ mark }}{% endmacro %}{{ hi('Bo') }}"
    assert env.from_string(source).render() == "Hi Bo!"
