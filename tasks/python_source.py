"""Python source read into a syntax tree, one at a time."""

from __future__ import annotations

import ast
import os
import threading


class _Turn:
    """A lock that a forked child finds open, whoever held it in the parent."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.lock = threading.Lock()


_TURN = _Turn()


def parse(source: bytes | str) -> ast.Module:
    """The source's syntax tree.

    Two threads that build trees at once share CPython's count of how deep each is (up to 3.12),
    and then one of them gets a SystemError, "AST constructor recursion depth mismatch".

    Raises:
        SyntaxError, ValueError, RecursionError: it is no Python that can be read.
    """
    with _TURN.lock:
        return ast.parse(source)
