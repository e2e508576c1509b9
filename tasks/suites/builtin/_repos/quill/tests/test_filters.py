import pytest

from quill import Environment


@pytest.mark.parametrize(
    ("source", "expected"),
    [("{{ 'ab'|upper }}", "AB"), ("{{ [3, 1]|sort|join(',') }}", "1,3"), ("{{ 2.5|round }}", "3")],
)
def test_filters(source, expected):
    assert Environment().from_string(source).render() == expected
