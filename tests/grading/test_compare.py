"""When two outputs are the same."""

from __future__ import annotations

import pytest

from repodrome.envs.grading.compare import Comparison, difference, equal


@pytest.mark.parametrize(
    ("how", "expected", "printed", "same"),
    [
        ("exact", b"a\n", b"a\n", True),
        ("exact", b"a\n", b"a", False),
        ("lines", b"a\nb\n", b"a  \r\nb\n\n\n", True),
        ("lines", b"a\nb\n", b"a\n\nb\n", False),
        ("lines", b" a", b"a", False),
        ("numbers", b"x 1.50\n2\n", b"x  1.5 2e0", True),
        ("numbers", b"1", b"1.001", False),
        ("numbers", b"1 2", b"1 2 3", False),
        ("numbers", b"10", b"1_0", False),
        ("numbers", b"9007199254740993", b"9007199254740992", False),
        ("numbers", b"nan", b"nan", True),
        ("numbers", b"1", b"nan", False),
        ("json", b'{"a": [1, 2.0], "b": null}', b'{"b":null,"a":[1.0,2]}\n', True),
        ("json", b"[1, 2]", b"[2, 1]", False),
        ("json", b"true", b"1", False),
        ("json", b'"1"', b"1", False),
        ("json", b"[1]", b"[1", False),
        ("json", b"1", b"NaN", False),
        ("json", b"[]", b"[" * 100_000, False),
        ("json", b"1", b"9" * 100_000, False),
        ("json", b"1", b"\xff", False),
    ],
)
def test_equal(how: Comparison, expected: bytes, printed: bytes, same: bool) -> None:
    assert equal(expected, printed, how) is same


@pytest.mark.parametrize("how", ["numbers", "json"])
def test_a_tolerance_is_absolute_below_one_and_a_share_above(how: Comparison) -> None:
    assert equal(b"0", b"0.009", how, 0.01)
    assert not equal(b"0", b"0.011", how, 0.01)
    assert equal(b"1000", b"1009", how, 0.01)
    assert not equal(b"1000", b"1011", how, 0.01)
    assert not equal(b"1", b"1e999999", how, 0.01)


def test_the_first_difference_is_shown() -> None:
    assert difference(b"a\nb\n", b"a\nc\n") == "line 2 is 'c', expected 'b'"
    assert difference(b"a\nb", b"a") == "line 2 is missing, expected 'b'"
    assert len(difference(b"a", b"x" * 10_000)) < 300
