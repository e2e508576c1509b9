from itertools import count

import pytest

from quill import Environment


@pytest.mark.parametrize(
    ("source", "expected"),
    [("{{ 'ab'|upper }}", "AB"), ("{{ [3, 1]|sort|join(',') }}", "1,3"), ("{{ 2.4|round }}", "2")],
    ids=count(1),
)
def test_filters(source, expected):
    assert Environment().from_string(source).render() == expected
