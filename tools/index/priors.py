"""What is likelier to be looked for, before any query: code, not tests; functions, not the rest.

The numbers were chosen with those of :mod:`repodrome.tools.index.segment`.
"""

from __future__ import annotations

import re
from typing import Final

from repodrome.tools.index.chunks import Chunk
from repodrome.tools.index.languages import is_code, language_of

TEST: Final = 0.2
"""Of a chunk in a test file, unless the query asks for tests."""

_TEST_FILE: Final = re.compile(
    r"(?:^|/)(?:tests?|testing|specs?|__tests__|fixtures?|conftest\.py)(?:/|$)"
    r"|(?:^|/)test_[^/]*$|[_.](?:test|spec)\.[^/.]+$",
    re.IGNORECASE,
)
_ASIDE: Final = re.compile(
    r"(?:^|/)(?:docs?|examples?|benchmarks?|vendor|third_party)(?:/|$)", re.I
)
_KIND: Final = {"function": 1.0, "class": 0.6, "block": 0.3, "section": 0.4, "entry": 0.5}
_WINDOW: Final = 0.8
"""Of lines of code in a language that isn't cut at its definitions."""
_MAGIC: Final = 0.5
_ASIDE_PRIOR: Final = 0.65
_NO_CODE_FILE: Final = 0.2
"""Of a whole file that is no code, or not the project's own."""


def is_test(path: str) -> bool:
    """Whether a file is a test, or there for tests, by its path."""
    return _TEST_FILE.search(path) is not None


def prior(path: str, chunk: Chunk) -> float:
    """What the chunk's score is multiplied with, at most 1; tests not yet lowered."""
    value = _KIND[chunk.kind]
    if chunk.kind == "block" and language_of(path) is None and is_code(path):
        value = _WINDOW
    if _ASIDE.search(path) and not is_test(path):
        value *= _ASIDE_PRIOR
    if chunk.name.rpartition(".")[2].startswith("__"):
        value *= _MAGIC
    return value


def file_prior(path: str) -> float:
    """What a whole file's score is multiplied with, at most 1; tests not yet lowered."""
    aside = _ASIDE.search(path) is not None and not is_test(path)
    return 1.0 if is_code(path) and not aside else _NO_CODE_FILE
