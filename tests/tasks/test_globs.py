"""The globs of task folders."""

from __future__ import annotations

import pytest

from repodrome.tasks.globs import covers


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("tests", "tests/deep/test_a.py", True),
        ("tests/", "tests/a.py", True),
        ("tests/**", "tests/a.py", True),
        ("tests", "src/tests/a.py", False),
        ("*.py", "a.py", True),
        ("*.py", "pkg/a.py", False),
        ("**/*.py", "a.py", True),
        ("**/*.py", "x/y/a.py", True),
        ("**/tests", "x/tests/a/b.txt", True),
        ("src/**/data", "src/data/f", True),
        ("src/*/data", "src/x/y/data", False),
        ("test_?.py", "test_a.py", True),
        ("test_[ab].py", "test_b.py", True),
        ("test_[!ab].py", "test_b.py", False),
        ("a[!x]b", "a/b", False),
        ("[]x]", "]", True),
        ("a[", "a[", True),
        ("a+(b)", "a+(b)", True),
        ("./a", "a", True),
        ("**", "anything/at/all", True),
        ("a\n*", "a\nb", True),
    ],
)
def test_covers(pattern: str, path: str, expected: bool) -> None:
    assert covers([pattern], path) is expected
