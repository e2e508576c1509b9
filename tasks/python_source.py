"""Python source read into a syntax tree, one at a time."""

from __future__ import annotations

import ast
import os
import threading
from contextlib import suppress


class _Turn:
    """A lock that a forked child finds open, whoever held it in the parent."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.lock = threading.Lock()


_TURN = _Turn()
_TRIES = 20


def parse(source: bytes | str) -> ast.Module:
    """The source's syntax tree.

    Two threads that build trees at once share CPython's count of how deep each is (up to 3.12),
    and then one of them gets a SystemError, "AST constructor recursion depth mismatch". Ours wait
    for each other; a library's or a trainer's own threads don't, so it is tried again.

    Raises:
        SyntaxError, ValueError, RecursionError: it is no Python that can be read.
    """
    with _TURN.lock:
        for _ in range(_TRIES):
            with suppress(SystemError):
                return ast.parse(source)
        return ast.parse(source)


def literal(text: str) -> object:
    """The value of a Python literal.

    Raises:
        SyntaxError, ValueError: it is none.
    """
    body = parse(text.strip()).body
    if len(body) != 1 or not isinstance(body[0], ast.Expr):
        raise ValueError(f"no literal: {text!r}")
    return ast.literal_eval(body[0].value)
