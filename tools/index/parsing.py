"""Asks a parsing process for the definitions in files; one that crashed or hangs is replaced."""

from __future__ import annotations

from typing import Final

from repodrome.tools.index.definitions import PARSE_SECONDS, Definition
from repodrome.tools.index.languages import language_of
from repodrome.tools.index.process import Worker

MAX_PARSED: Final = 512 << 10
"""Bytes from which a file has no definitions, whatever its language."""
PATIENCE: Final = 4 * PARSE_SECONDS
"""Seconds that an answer may take; a process that takes longer is killed."""

parser: Final = Worker("definitions", patience=PATIENCE)
"""The parsing process that everybody shares."""


def definitions(path: str, data: bytes, worker: Worker = parser) -> list[Definition]:
    """The definitions in a file, outer ones first; none where parsing fails."""
    if language_of(path) is None or len(data) > MAX_PARSED:
        return []
    try:
        answer = worker.ask({"path": path, "size": len(data)}, data)
        return [Definition(*one) for one in answer]
    except (EOFError, TypeError):
        return []
